"""The sample language model: what is committed is what its script makes, and how it writes."""

import json
import platform
import queue
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from google.protobuf import text_format  # type: ignore[import-untyped]
from tritonclient.grpc import model_config_pb2

from gateway.upstream.tritonserver import TritonServer
from tests.models.conftest import REPOSITORY, Engine

FOLDER = REPOSITORY / "tiny-lm"
SCRIPT = REPOSITORY / "train_tiny_lm.py"
# What it has read, word for word: greedy, it goes on with it.
PROMPT, REST = "A model", " that nobody can build again is a model that nobody can mend."


def record() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "quality.json").read_text())
    return loaded


def bits_per_character(weights: Any, lines: Sequence[str]) -> float:
    """Measured once more, on paper: the mean cost of each character of the lines and of their ends."""
    alphabet = str(weights["alphabet"])
    context = weights["hidden_weight"].shape[0] // weights["embedding"].shape[1]
    costs = []
    for line in lines:
        symbols = [0] * context + [alphabet.index(letter) + 1 for letter in line] + [0]
        for at in range(context, len(symbols)):
            read = weights["embedding"][symbols[at - context : at]].ravel()
            hidden = np.tanh(read @ weights["hidden_weight"] + weights["hidden_bias"])
            powers = np.exp((hidden @ weights["output_weight"] + weights["output_bias"]).astype(float))
            costs.append(-np.log2(powers[symbols[at]] / powers.sum()))
    return float(np.mean(costs))


def test_recorded_quality_is_that_of_the_committed_weights() -> None:
    """Anyone who measures the weights on the lines that they have read, and on the others, gets the recorded numbers."""
    weights, recorded = np.load(FOLDER / "1" / "weights.npy"), record()
    lines = (REPOSITORY / recorded["data"]).read_text().splitlines()
    held_out = recorded["held_out"]
    learned = [line for line in lines if line not in held_out]
    assert recorded["lines"] == {"train": len(learned), "held_out": len(held_out)}
    assert recorded["parameters"] == sum(
        weights[name].size for name in weights.dtype.names if name != "alphabet"
    )
    bits = recorded["bits_per_character"]
    assert bits_per_character(weights, held_out) == pytest.approx(bits["held_out"], abs=2e-3)
    assert bits_per_character(weights, learned) == pytest.approx(bits["train"], abs=2e-3)
    assert bits["train"] < bits["held_out"] < bits["blind"] - 1, "it has learned something"


def test_readme_states_the_recorded_numbers() -> None:
    """The text and the table in the README cannot drift from the record."""
    readme, recorded = (REPOSITORY / "README.md").read_text(), record()
    for number in (recorded["parameters"], recorded["seed"], *recorded["bits_per_character"].values()):
        assert re.search(rf"\b{number}\b", readme)
    assert f"{recorded['lines']['train']} lines" in readme
    assert f"{recorded['lines']['held_out']} lines are held out" in readme


def test_configuration_names_tensors_as_language_model_backends_do() -> None:
    """Inputs, outputs and their types are those that clients of Triton's language model backends know."""
    config = text_format.Parse((FOLDER / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("tiny-lm", "python", 0)
    assert config.model_transaction_policy.decoupled
    kind = model_config_pb2.DataType
    assert {i.name: (kind.Name(i.data_type), list(i.dims), i.optional) for i in config.input} == {
        "text_input": ("TYPE_STRING", [1], False),
        "max_tokens": ("TYPE_INT32", [1], True),
        "temperature": ("TYPE_FP32", [1], True),
        "stop_words": ("TYPE_STRING", [-1], True),
        "seed": ("TYPE_UINT64", [1], True),
        "stream": ("TYPE_BOOL", [1], True),
    }
    assert {o.name: (kind.Name(o.data_type), list(o.dims)) for o in config.output} == {
        "text_output": ("TYPE_STRING", [1]),
        "prompt_tokens": ("TYPE_INT32", [1]),
        "completion_tokens": ("TYPE_INT32", [1]),
        "finish_reason": ("TYPE_STRING", [1]),
    }


@pytest.mark.slow
def test_script_makes_the_committed_folder_again(tmp_path: Any) -> None:
    """Rerun, the script reaches the recorded quality; with the recorded numpy on x86-64, every byte of the weights."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--out", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "tiny-lm@1" in done.stdout
    again = json.loads((tmp_path / "tiny-lm" / "quality.json").read_text())
    assert again["held_out"] == record()["held_out"]
    for name, bits in record()["bits_per_character"].items():
        assert again["bits_per_character"][name] == pytest.approx(bits, abs=0.2)
    for name in ("config.pbtxt", "1/tiny_lm.py"):
        assert (tmp_path / "tiny-lm" / name).read_bytes() == (FOLDER / name).read_bytes()
    if platform.machine() == "x86_64" and metadata.version("numpy") == record()["made_with"]["numpy"]:
        rerun, committed = (folder / "1" / "weights.npy" for folder in (tmp_path / "tiny-lm", FOLDER))
        assert rerun.read_bytes() == committed.read_bytes()


# --- how it writes ---


def generate(engine: Engine, text: str, **fields: Any) -> dict[str, Any]:
    return engine.answer("tiny-lm", "generate", text_input=text, **fields)


def stream(engine: Engine, text: str, **fields: Any) -> list[dict[str, Any]]:
    return engine.events("tiny-lm", text_input=text, stream=True, **fields)


def joined(events: Sequence[dict[str, Any]]) -> str:
    return "".join(event["text_output"] for event in events)


def test_serving_leaves_the_version_as_it_is(engine: Engine) -> None:
    """Nothing is written into its folder, whose digest would be another one then."""
    generate(engine, PROMPT)
    assert sorted(path.name for path in (FOLDER / "1").iterdir()) == ["tiny_lm.py", "weights.npy"]


def test_a_text_comes_whole_with_its_usage(engine: Engine) -> None:
    """Without `stream` one response has all of the text, why it ended, and how many tokens were read and written."""
    answer = generate(engine, PROMPT, max_tokens=100, temperature=0)
    assert answer == {
        "model_name": "tiny-lm",
        "model_version": "1",
        "text_output": REST,
        "prompt_tokens": len(PROMPT),
        "completion_tokens": len(REST),
        "finish_reason": "stop",
    }
    assert engine.events("tiny-lm", text_input=PROMPT, max_tokens=100, temperature=0) == [answer]


def test_a_text_comes_piece_by_piece(engine: Engine) -> None:
    """With `stream` each token is a response of its own; together they are the text, and only the last tells the reason."""
    events = stream(engine, PROMPT, max_tokens=100, temperature=0)
    assert joined(events) == REST
    assert {event["prompt_tokens"] for event in events} == {len(PROMPT)}
    written = [event["completion_tokens"] for event in events]
    assert written == [*range(1, len(REST) + 1), len(REST)], "the end of a text is no token"
    assert [event["finish_reason"] for event in events] == [""] * len(REST) + ["stop"]


def test_max_tokens_ends_a_text(engine: Engine) -> None:
    """Sixteen where nothing is said; the reason is then `length`."""
    for fields, most in (({}, 16), ({"max_tokens": 1}, 1), ({"max_tokens": 20}, 20)):
        answer = generate(engine, PROMPT, temperature=0, **fields)
        assert answer["text_output"] == REST[:most]
        assert (answer["completion_tokens"], answer["finish_reason"]) == (most, "length")


@pytest.mark.parametrize(
    ("stop_words", "expected"),
    [
        (["again"], " that nobody can build "),
        (["nobody can mend", "model"], " that nobody can build again is a "),
        (["never", " that nobody can write"], REST),
        ([""], REST),
        ([REST], ""),
    ],
)
def test_a_stop_word_ends_a_text_and_is_never_sent(
    engine: Engine, stop_words: list[str], expected: str
) -> None:
    """Not even its first letters, whether the text comes whole or in pieces; what only looked like one is sent."""
    options: dict[str, Any] = {"max_tokens": 100, "temperature": 0, "stop_words": stop_words}
    whole = generate(engine, PROMPT, **options)
    assert (whole["text_output"], whole["finish_reason"]) == (expected, "stop")
    events = stream(engine, PROMPT, **options)
    assert joined(events) == expected
    assert events[-1]["completion_tokens"] == whole["completion_tokens"]


def test_a_seed_makes_a_text_again(engine: Engine) -> None:
    """The same seed gives the same text, streamed or not; others, and none, give others."""
    texts = [
        generate(engine, "The ", max_tokens=60, temperature=1.5, seed=seed)["text_output"]
        for seed in (1, 1, 2, 2**64 - 1)
    ]
    assert texts[0] == texts[1] == joined(stream(engine, "The ", max_tokens=60, temperature=1.5, seed=1))
    assert len(set(texts)) == 3
    unseeded = {generate(engine, "The ", max_tokens=60, temperature=2)["text_output"] for _ in range(3)}
    assert len(unseeded) == 3


def test_any_text_is_a_prompt(engine: Engine) -> None:
    """Nothing, letters that it has never read, and far more than it sees; tokens are characters, not bytes."""
    for text in ("", "é☕ Ünïcode", "The model " * 1000, "What?\nA model"):
        answer = generate(engine, text, max_tokens=5, temperature=0)
        assert answer["prompt_tokens"] == len(text)
        assert answer["text_output"]
    assert generate(engine, "What?\nA model", max_tokens=100, temperature=0)["text_output"] == REST


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_tokens": 0}, "max_tokens is 0; it must be between 1 and 4096"),
        ({"max_tokens": 4097}, "max_tokens is 4097; it must be between 1 and 4096"),
        ({"temperature": -0.5}, "temperature is -0.5; it must be between 0 and 2"),
        ({"temperature": 2.5}, "temperature is 2.5; it must be between 0 and 2"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(engine: Engine, fields: dict[str, Any], words: str) -> None:
    """With the caller's status and the reason, before anything is written; streams too."""
    for operation in ("generate", "generate_stream"):
        status, body = engine.post("tiny-lm", operation, text_input=PROMPT, **fields)
        assert status == 400
        assert json.loads(body.removeprefix("data: "))["error"] == words


def test_texts_that_are_written_at_once_do_not_mix(engine: Engine) -> None:
    """Twelve streams at once get what each gets alone."""
    wishes = [{"max_tokens": 40, "temperature": 1, "seed": seed} for seed in range(12)]
    alone = [joined(stream(engine, "The ", **wish)) for wish in wishes]
    with ThreadPoolExecutor(12) as callers:
        together = list(callers.map(lambda wish: joined(stream(engine, "The ", **wish)), wishes))
    assert together == alone


@pytest.mark.slow
def test_it_streams_over_grpc(triton_server: TritonServer) -> None:
    """ModelStreamInfer gives a response for each piece; the last one says that it is."""
    arrived: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(triton_server.grpc_target) as client:
        client.start_stream(lambda result, error: arrived.put((result, error)))
        client.async_stream_infer(
            "tiny-lm",
            [
                grpc_input("text_input", "BYTES", np.array([PROMPT.encode()], object)),
                grpc_input("max_tokens", "INT32", np.array([100], np.int32)),
                grpc_input("temperature", "FP32", np.array([0], np.float32)),
                grpc_input("stream", "BOOL", np.array([True])),
            ],
            enable_empty_final_response=True,
        )
        text, final = "", False
        while not final:
            result, error = arrived.get(timeout=30)
            assert error is None
            text += result.as_numpy("text_output")[0].decode()
            final = result.get_response().parameters["triton_final_response"].bool_param
        client.stop_stream()
    assert text == REST
    assert arrived.empty()


def grpc_input(name: str, datatype: str, values: Any) -> tritonclient.grpc.InferInput:
    made = tritonclient.grpc.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made
