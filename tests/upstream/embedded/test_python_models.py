"""Models of Triton's Python backend in the engine: when they run, how they answer, and what becomes of faulty ones."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import service_pb2

from gateway.upstream.embedded import EmbeddedEngine, EngineReply, EngineRequest
from tests.models.build import build_repository
from tests.patience import PATIENT_S, in_time
from tests.upstream.embedded.calls import ask, error, infer, outputs, parsed, request, tensor

IO = (
    'input [ { name: "x" data_type: TYPE_INT32 dims: [ 1 ] }, '
    '{ name: "word" data_type: TYPE_STRING dims: [ 1 ] optional: true } ]\n'
    'output [ { name: "y" data_type: TYPE_INT32 dims: [ 1 ] }, { name: "said" data_type: TYPE_STRING dims: [ 1 ] } ]\n'
)
DECOUPLED = "model_transaction_policy { decoupled: true }\n"
CODE = """\
import numpy as np
import triton_python_backend_utils as pb_utils

def word(request):
    tensor = pb_utils.get_input_tensor_by_name(request, "word")
    return b"nothing" if tensor is None else tensor.as_numpy()[0]

class TritonPythonModel:
    {body}
"""
ECHO = """\
def execute(self, requests):
        x = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        said = [np.array([word(request)], object) for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", a), pb_utils.Tensor("said", b)]) for a, b in zip(x, said)]
"""


def engine_with(folder: Path, body: str, config: str = "") -> EmbeddedEngine:
    """An engine with one Python model `m`, whose class has this body."""
    (folder / "m" / "1").mkdir(parents=True)
    (folder / "m" / "config.pbtxt").write_text('backend: "python"\nmax_batch_size: 0\n' + IO + config)
    (folder / "m" / "1" / "model.py").write_text(CODE.format(body=body))
    engine = EmbeddedEngine(folder, python_models=True)
    engine.load()
    return engine


def call(x: int = 7, **inputs: Any) -> bytes:
    tensors = [tensor("x", "INT32", [1], [x])]
    return request(*tensors, *(tensor(name, "BYTES", [1], [value]) for name, value in inputs.items()))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedEngine]:
    """`slow` and `repeat`, which real Triton serves in other tests."""
    engine = EmbeddedEngine(
        build_repository(tmp_path_factory.mktemp("models"), dtypes=[]), python_models=True
    )
    engine.load()
    assert not engine.failures()
    yield engine
    engine.close()


def generate(engine: EmbeddedEngine, operation: str, **fields: Any) -> EngineReply:
    return ask(engine, operation, "repeat", json.dumps(fields).encode())


def fields_of(event: bytes) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(event.removeprefix(b"data: "))
    return read


# --- when they run ---


def test_python_code_runs_only_where_it_is_wanted(tmp_path: Path) -> None:
    """By default a model that is code is a failure that names the setting, and its code is not even looked at."""
    engine_with(tmp_path, "raise RuntimeError").close()
    engine = EmbeddedEngine(tmp_path)
    engine.load()
    assert not engine.ready_versions()
    assert "embedded.python_models" in engine.failures()["m", 1]
    assert "not at ready state" in error(infer(engine, "m", call()), 503)


@pytest.mark.parametrize(
    ("body", "config", "words"),
    [
        ("def", "", "SyntaxError"),
        ('raise RuntimeError("no luck")', "", "RuntimeError: no luck"),
        (
            'def initialize(self, args): raise pb_utils.TritonModelException("no weights")',
            "",
            "TritonModelException: no weights",
        ),
        (ECHO, 'default_model_filename: "other.py"', "no such file"),
        (ECHO, 'default_model_filename: "../../../other.py"', "lies outside"),
    ],
)
def test_code_that_does_not_load_is_a_failure(tmp_path: Path, body: str, config: str, words: str) -> None:
    """With its reason, whatever it raises; the engine itself goes on."""
    engine = engine_with(tmp_path, body, config)
    assert not engine.ready_versions()
    assert words in engine.failures()["m", 1]


def test_a_configuration_must_name_its_tensors(tmp_path: Path) -> None:
    """`auto_complete_config` is not asked: the reason says so."""
    folder = tmp_path / "m"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text('backend: "python"')
    (folder / "1" / "model.py").write_text(CODE.format(body=ECHO))
    engine = EmbeddedEngine(tmp_path, python_models=True)
    engine.load()
    assert "must name its inputs and outputs" in engine.failures()["m", 1]


def test_a_model_is_told_where_it_is(tmp_path: Path) -> None:
    """`initialize` gets Triton's arguments, all of them text; nothing is written into the version's folder."""
    said = (
        "json.dumps({k: v if k != 'model_config' else json.loads(v)['name'] for k, v in self.args.items()})"
    )
    body = (
        "def initialize(self, args): self.args = args\n"
        "    def execute(self, requests):\n"
        "        import json\n"
        f"        said = np.array([{said}.encode()], object)\n"
        "        y = np.array([1], np.int32)\n"
        '        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", y), pb_utils.Tensor("said", said)])]'
    )
    engine = engine_with(tmp_path, body)
    told = json.loads(outputs(infer(engine, "m", call()))["said"]["data"][0])
    assert told == {
        "model_config": "m",
        "model_instance_kind": "CPU",
        "model_instance_name": "m_0",
        "model_instance_device_id": "0",
        "model_repository": str(tmp_path / "m"),
        "model_version": "1",
        "model_name": "m",
    }
    assert [path.name for path in (tmp_path / "m" / "1").iterdir()] == ["model.py"]


# --- how they answer ---


def test_tensors_go_in_and_come_out(tmp_path: Path) -> None:
    """Texts are bytes to the model, as in Triton; an optional input that is not sent is not there."""
    engine = engine_with(tmp_path, ECHO)
    answered = outputs(infer(engine, "m", call(7, word="Größe")))
    assert (answered["y"]["data"], answered["said"]["data"]) == ([7], ["Größe"])
    assert outputs(infer(engine, "m", call()))["said"]["data"] == ["nothing"]
    assert parsed(ask(engine, "metadata", "m"))["platform"] == "python"
    (stats,) = parsed(ask(engine, "stats", "m"))["model_stats"]
    assert stats["inference_stats"]["success"]["count"] == 2


def test_as_many_calls_run_at_once_as_there_are_instances(engine: EmbeddedEngine) -> None:
    """`slow` has four; the fifth call waits for one of them."""
    body = request(tensor("delay_ms", "INT32", [1], [200]))

    def attempt() -> float:
        began = time.monotonic()
        threads = [threading.Thread(target=infer, args=(engine, "slow", body)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
        assert took >= 0.4
        return took

    in_time(attempt, 0.95)


def test_responses_come_as_they_are_sent(engine: EmbeddedEngine) -> None:
    """The first event is here while the model still waits to send the second."""

    def attempt() -> float:
        began = time.monotonic()
        reply = generate(engine, "generate_stream", text="ho", times=2, delay_ms=300)
        assert (reply.status, dict(reply.headers)[b"Content-Type"]) == (
            200,
            b"text/event-stream; charset=utf-8",
        )
        assert reply.events is not None
        assert fields_of(next(reply.events)) == {
            "index": 0,
            "model_name": "repeat",
            "model_version": "1",
            "text": "ho",
        }
        took = time.monotonic() - began
        assert fields_of(next(reply.events))["index"] == 1
        assert time.monotonic() - began >= 0.6
        assert next(reply.events, None) is None
        return took

    in_time(attempt, 0.55)


def test_generate_wants_exactly_one_response(engine: EmbeddedEngine) -> None:
    """One is the reply; none and two are refused in Triton's words. `infer` is not for such models at all."""
    assert parsed(generate(engine, "generate", text="ho", times=1))["index"] == 0
    for times in (0, 2):
        assert "exactly 1 response" in error(generate(engine, "generate", text="ho", times=times))
    body = request(tensor("text", "BYTES", [1], ["ho"]))
    assert "decoupled transaction policy" in error(infer(engine, "repeat", body), 501)
    assert list(generate(engine, "generate_stream", text="ho", times=0).events or ()) == []


def asked(*, empty_final: bool = False, **inputs: int) -> Any:
    """A message of a stream over gRPC for `repeat`."""
    message = service_pb2.ModelInferRequest(id="7")
    if empty_final:
        message.parameters["triton_enable_empty_final_response"].bool_param = True
    message.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"ho")
    for name, value in inputs.items():
        message.inputs.add(name=name, datatype="INT32", shape=[1]).contents.int_contents.append(value)
    return message


def streamed(engine: EmbeddedEngine, *, empty_final: bool = False, **inputs: int) -> list[Any]:
    """What a stream over gRPC gives for one message."""
    body = asked(empty_final=empty_final, **inputs).SerializeToString()
    reply = engine.answer(EngineRequest("stream_infer", "repeat", 1, {}, body, "grpc"))
    assert reply.status == 200
    return [service_pb2.ModelStreamInferResponse.FromString(each) for each in reply.events or ()]


def test_responses_are_messages_of_a_stream_over_grpc(engine: EmbeddedEngine) -> None:
    """Each with the request's id; an error is one, too. `ModelInfer` is not for such models."""
    replies = streamed(engine, times=2)
    assert [reply.infer_response.id for reply in replies] == ["7", "7"]
    assert not any(map(final, replies))
    assert streamed(engine, times=0) == []
    _, failed = streamed(engine, times=3, fail_at=1)
    assert (failed.error_message, failed.infer_response.id) == ("told to fail at 1", "7")
    refused = engine.answer(EngineRequest("infer", "repeat", 1, {}, b"", "grpc"))
    assert (refused.status, b"decoupled transaction policy" in refused.body) == (501, True)


def final(reply: Any) -> bool:
    """Whether a message of a stream says that it is the final one of its request."""
    said: bool = reply.infer_response.parameters["triton_final_response"].bool_param
    return said


def test_the_end_of_a_stream_is_told_to_those_who_ask(engine: EmbeddedEngine) -> None:
    """In a message without outputs where the model says it alone; a response that is the final one says so by itself."""
    for times, fail_at in ((0, -1), (2, -1), (3, 1)):
        replies = streamed(engine, empty_final=True, times=times, fail_at=fail_at)
        assert replies[:-1] == streamed(engine, times=times, fail_at=fail_at)
        assert [final(reply) for reply in replies] == [False] * (len(replies) - 1) + [True]
        assert (replies[-1].infer_response.id, len(replies[-1].infer_response.outputs)) == ("7", 0)


def test_whether_the_end_is_to_be_told_is_a_boolean(engine: EmbeddedEngine) -> None:
    """Of all else it is said what is wrong, to a unary call too."""
    message = asked()
    message.parameters["triton_enable_empty_final_response"].int64_param = 1
    body = message.SerializeToString()
    for wrong in (
        EngineRequest("stream_infer", "repeat", 1, {}, body, "grpc"),
        EngineRequest("infer", "slow", 1, {}, body, "grpc"),
    ):
        refused = engine.answer(wrong)
        assert refused.status == 400
        assert b"expected bool_param" in refused.body


def test_an_error_among_responses_is_an_event(engine: EmbeddedEngine) -> None:
    """After the first response the status stands; before it, the error decides it."""
    reply = generate(engine, "generate_stream", text="ho", times=3, fail_at=1)
    first, second = list(reply.events or [])
    assert (reply.status, fields_of(first)["index"]) == (200, 0)
    assert fields_of(second) == {"error": "told to fail at 1"}
    reply = generate(engine, "generate_stream", text="ho", times=3, fail_at=0)
    assert reply.status == 400
    assert [fields_of(event) for event in reply.events or ()] == [{"error": "told to fail at 0"}]
    assert error(generate(engine, "generate", text="ho", fail_at=0)) == "told to fail at 0"


def test_a_stream_that_nobody_reads_is_given_up(engine: EmbeddedEngine) -> None:
    """Cancelled, both instances are free again long before they would have said all."""
    for _ in range(2):
        reply = generate(engine, "generate_stream", text="ho", times=600, delay_ms=100)
        assert reply.stream is not None
        reply.stream.cancel()
        assert list(reply.events or ())[1:] == []
    began = time.monotonic()
    assert generate(engine, "generate", text="ho").status == 200
    assert time.monotonic() - began < 20, "the streams go on for a minute"


# --- what becomes of faulty ones ---


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ('def execute(self, requests): raise ValueError("bad day")', 500, "ValueError: bad day"),
        ("def execute(self, requests): return []", 500, "Failed to process"),
        ("def execute(self, requests): return [pb_utils.InferenceResponse([])]", 500, "no output 'y'"),
        (
            'def execute(self, r): return [pb_utils.InferenceResponse([pb_utils.Tensor("y", np.array([1.5]))])]',
            500,
            "gives float64 for output 'y', whose type is TYPE_INT32",
        ),
        (
            'def execute(self, r): return [pb_utils.InferenceResponse(error=pb_utils.TritonError("no"))]',
            500,
            "no",
        ),
        (
            'def execute(self, r): return [pb_utils.InferenceResponse(error=pb_utils.TritonError("gone", '
            "pb_utils.TritonError.UNAVAILABLE))]",
            503,
            "gone",
        ),
    ],
)
def test_what_a_model_fails_on_is_told(tmp_path: Path, body: str, status: int, words: str) -> None:
    """The caller gets a status that says whose fault it is; the model goes on, and its failures are counted."""
    engine = engine_with(tmp_path, body)
    for _ in range(2):
        assert words in error(infer(engine, "m", call()), status)
    (stats,) = parsed(ask(engine, "stats", "m"))["model_stats"]
    assert stats["inference_stats"]["fail"]["count"] == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('def execute(self, requests): raise ValueError("bad day")', "ValueError: bad day"),
        ("def execute(self, requests): pass", None),
    ],
)
def test_a_stream_ends_whatever_the_model_does(tmp_path: Path, body: str, words: str | None) -> None:
    """A model that raises, or that forgets the request without a word, keeps nobody waiting."""
    engine = engine_with(tmp_path, body, DECOUPLED)
    reply = ask(engine, "generate_stream", "m", b'{"x": 1}')
    events = list(reply.events or ())
    assert len(events) == (0 if words is None else 1)
    assert words is None or words in fields_of(events[0])["error"]


def test_closing_ends_streams_and_the_model(tmp_path: Path) -> None:
    """A reader that waits finds the end, and `finalize` is called."""
    body = (
        "def execute(self, requests):\n"
        "        self.sender = requests[0].get_response_sender()\n"
        '        self.sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("y", np.array([1], np.int32))]))\n'
        "    def finalize(self):\n"
        "        open(self.path, 'w').close()\n"
        "    def initialize(self, args):\n"
        f"        self.path = {str(tmp_path / 'ended')!r}"
    )
    engine = engine_with(tmp_path, body, DECOUPLED)
    reply = ask(engine, "generate_stream", "m", b'{"x": 1}')
    assert reply.events is not None
    assert fields_of(next(reply.events))["y"] == 1
    threading.Timer(0.1, engine.close).start()
    assert next(reply.events, None) is None
    limit = time.monotonic() + PATIENT_S
    while not (tmp_path / "ended").exists():
        assert time.monotonic() < limit
        time.sleep(0.01)
