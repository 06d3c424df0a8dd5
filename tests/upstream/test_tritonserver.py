"""A real Triton started by us: what it answers, through our onnxruntime backend and its own Python one."""

import http.client
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc
import tritonclient.http
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from gateway.upstream.tritonserver import (
    TritonServer,
    triton_available,
)
from tests.models.build import DTYPES, build_repository, model, write_onnx
from tests.patience import in_time

REPOSITORY = Path(__file__).parents[2] / "model_repository"
DIGITS = REPOSITORY / "digits"
QUICK = ("--disable-auto-complete-config",)
NEEDS_TRITON = pytest.mark.skipif(triton_available() is not None, reason=str(triton_available()))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    if reason := triton_available():
        pytest.skip(reason)
    repository = build_repository(tmp_path_factory.mktemp("models"))
    shutil.copytree(DIGITS, repository / "digits")
    write_picky(repository)
    with TritonServer.start(repository, extra_args=QUICK) as running:
        yield running
        running.stop(timeout_s=0)


@pytest.fixture(scope="module")
def client(triton: TritonServer) -> Iterator[tritonclient.http.InferenceServerClient]:
    with tritonclient.http.InferenceServerClient(
        triton.http_url.removeprefix("http://"), concurrency=8
    ) as opened:
        yield opened


def write_picky(repository: Path) -> None:
    """`picky`: OUTPUT0 is the element of a table of four that INPUT0 names; onnxruntime refuses any other index."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [4], [10.0, 11.0, 12.0, 13.0])
    ends = [
        helper.make_tensor_value_info("INPUT0", TensorProto.INT64, ["batch", 1]),
        helper.make_tensor_value_info("OUTPUT0", TensorProto.FLOAT, ["batch", 1]),
    ]
    picky = model([helper.make_node("Gather", ["table", "INPUT0"], ["OUTPUT0"])], ends[:1], ends[1:])
    picky.graph.initializer.append(table)
    config = (
        'backend: "onnxruntime"\nmax_batch_size: 8\n'
        'input [ { name: "INPUT0" data_type: TYPE_INT64 dims: [ 1 ] } ]\n'
        'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'
        # Waits for company, so that requests sent together are run together.
        "dynamic_batching { max_queue_delay_microseconds: 100000 }\n"
        "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
    )
    write_onnx(repository, "picky", picky, config)


def tensor(name: str, values: Any, datatype: str) -> tritonclient.http.InferInput:
    made = tritonclient.http.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def held_out() -> tuple[Any, Any]:
    file = np.load(DIGITS / "held_out.npz")
    return file["images"].astype(np.float32), file["labels"]


def post(triton: TritonServer, path: str, body: dict[str, Any]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(triton.http_url.removeprefix("http://"), timeout=60)
    connection.request("POST", path, json.dumps(body))
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text


# --- what it answers ---


@pytest.mark.parametrize("version", ["1", "2", "3"])
def test_each_version_answers_as_onnxruntime_does(
    client: tritonclient.http.InferenceServerClient, version: str
) -> None:
    """Over Triton each version of `digits` gives onnxruntime's own numbers, and with them the recorded accuracy."""
    images, labels = held_out()
    answer = client.infer("digits", [tensor("image", images, "FP32")], model_version=version)
    probabilities = answer.as_numpy("probabilities")
    session = onnxruntime.InferenceSession(DIGITS / version / "model.onnx")
    (expected,) = session.run(["probabilities"], {"image": images})
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5, atol=1e-7)
    recorded = json.loads((DIGITS / "accuracies.json").read_text())["versions"][version]["accuracy"]
    assert (probabilities.argmax(axis=1) == labels).mean() == pytest.approx(recorded, abs=5e-5)
    assert answer.get_response()["model_version"] == version


def test_metadata_is_the_contract_s(client: tritonclient.http.InferenceServerClient) -> None:
    """Clients see image [-1,64] and probabilities [-1,10], and all three versions."""
    assert client.get_model_metadata("digits") == {
        "name": "digits",
        "versions": ["1", "2", "3"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 64]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
    }


def test_classification_names_the_digits(client: tritonclient.http.InferenceServerClient) -> None:
    """The classification extension answers for each image of a batch, with the labels of the model folder."""
    images, labels = held_out()
    wanted = tritonclient.http.InferRequestedOutput("probabilities", class_count=1)
    answer = client.infer(
        "digits", [tensor("image", images[:8], "FP32")], model_version="2", outputs=[wanted]
    )
    names = (DIGITS / "labels.txt").read_text().split()
    classes = [row[0].decode().split(":") for row in answer.as_numpy("probabilities")]
    assert [(index, name) for _, index, name in classes] == [
        (str(label), names[label]) for label in labels[:8]
    ]


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_data_type_passes(client: tritonclient.http.InferenceServerClient, datatype: str) -> None:
    """Each of Triton's types that ONNX has goes in and comes out unchanged, extremes included, in any shape."""
    dtype = triton_to_np_dtype(datatype)
    if datatype == "BYTES":
        values = np.array([[b"", "zwölf".encode(), b"a\0b"]], object)
    elif datatype == "BOOL":
        values = np.array([[True, False, True]])
    else:
        limits = np.finfo(dtype) if datatype.startswith("FP") else np.iinfo(dtype)
        values = np.array([[limits.min, 0, limits.max]], dtype)
    for shaped in (values, values.reshape(3, 1), np.repeat(values, 2000, axis=0)):
        answer = client.infer(f"identity_{datatype.lower()}", [tensor("INPUT0", shaped, datatype)])
        np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), shaped)


def test_bytes_that_are_no_text_are_refused(client: tritonclient.http.InferenceServerClient) -> None:
    """What onnxruntime's Python interface cannot take is a 400 that says so, never altered content."""
    with pytest.raises(InferenceServerException, match=r"'INPUT0' holds BYTES that are not UTF-8"):
        client.infer("identity_bytes", [tensor("INPUT0", np.array([[b"\xff"]], object), "BYTES")])


def test_outputs_come_as_requested(client: tritonclient.http.InferenceServerClient) -> None:
    """All outputs by default, in the order of their names; one alone when one is requested."""
    rows = np.arange(32, dtype=np.int32).reshape(2, 16)
    inputs = [tensor("INPUT0", rows, "INT32"), tensor("INPUT1", np.ones_like(rows), "INT32")]
    both = client.infer("add_sub", inputs)
    assert [output["name"] for output in both.get_response()["outputs"]] == ["OUTPUT0", "OUTPUT1"]
    np.testing.assert_array_equal(both.as_numpy("OUTPUT0"), rows + 1)
    np.testing.assert_array_equal(both.as_numpy("OUTPUT1"), rows - 1)
    one = client.infer("add_sub", inputs, outputs=[tritonclient.http.InferRequestedOutput("OUTPUT1")])
    assert [output["name"] for output in one.get_response()["outputs"]] == ["OUTPUT1"]


def test_requests_run_together_keep_their_own_answers(
    triton: TritonServer, client: tritonclient.http.InferenceServerClient
) -> None:
    """In a dynamic batch each caller gets its own rows, and the one that onnxruntime refuses fails alone."""

    def ask(index: int) -> Any:
        rows = 1 + index % 2
        given = {"name": "INPUT0", "datatype": "INT64", "shape": [rows, 1], "data": [index] * rows}
        status, text = post(triton, "/v2/models/picky/infer", {"inputs": [given]})
        return (
            json.loads(text)["outputs"][0]["data"] if status == 200 else (status, json.loads(text)["error"])
        )

    asked = 0
    while True:
        with ThreadPoolExecutor(6) as callers:
            answers = list(callers.map(ask, [0, 1, 2, 3, 9, 0]))
        asked += 6
        assert answers[:4] == [[10.0], [11.0, 11.0], [12.0], [13.0, 13.0]]
        assert answers[4][0] == 500
        assert answers[4][1].startswith("onnx runtime error 2: ")
        assert answers[5] == [10.0]
        statistics = client.get_inference_statistics("picky")["model_stats"][0]
        if statistics["execution_count"] < asked:
            break
        # On a busy machine they may have come a tenth of a second apart.
        assert asked < 60, "no two requests ran together"


def test_a_decoupled_model_streams(triton: TritonServer) -> None:
    """`generate_stream` sends each response as it comes; an error after the first one arrives inside the 200."""
    status, text = post(triton, "/v2/models/repeat/generate_stream", {"text": "so", "times": 3})
    events = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]
    assert (status, [(event["text"], event["index"]) for event in events]) == (
        200,
        [("so", 0), ("so", 1), ("so", 2)],
    )
    status, text = post(triton, "/v2/models/repeat/generate_stream", {"text": "so", "times": 3, "fail_at": 1})
    assert (status, text.count("data: "), text.split("\n\n")[1]) == (
        200,
        2,
        'data: {"error":"told to fail at 1"}',
    )
    assert post(triton, "/v2/models/repeat/generate_stream", {"text": "so", "fail_at": 0})[0] == 400


def test_a_slow_model_takes_its_time(triton: TritonServer) -> None:
    """`slow` waits for as long as it is told, four requests at a time."""

    def attempt() -> float:
        start = time.monotonic()
        with ThreadPoolExecutor(4) as callers:
            replies = list(
                callers.map(lambda _: post(triton, "/v2/models/slow/generate", {"delay_ms": 300}), range(4))
            )
        took = time.monotonic() - start
        assert took >= 0.3
        assert all(status == 200 and json.loads(text)["waited_ms"] >= 300 for status, text in replies)
        return took

    in_time(attempt, 1.1)


def test_grpc_and_metrics_are_where_it_says(triton: TritonServer) -> None:
    """The gRPC target serves, and the metrics URL shows what was served."""
    with tritonclient.grpc.InferenceServerClient(triton.grpc_target) as client:
        assert client.is_server_ready()
        assert client.get_model_metadata("digits").versions == ["1", "2", "3"]
    host, _, path = triton.metrics_url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", f"/{path}")
    assert b"nv_inference_request_success" in connection.getresponse().read()
    connection.close()


@NEEDS_TRITON
def test_a_missing_configuration_is_completed(tmp_path: Path) -> None:
    """Without config.pbtxt, inputs, outputs and batching are read from the model file, as Triton's backend does."""
    shutil.copytree(DIGITS / "1", tmp_path / "digits" / "1")
    with TritonServer.start(tmp_path) as running:
        with tritonclient.http.InferenceServerClient(running.http_url.removeprefix("http://")) as client:
            config = client.get_model_config("digits")
        running.stop(timeout_s=0)
    assert config["backend"] == "onnxruntime"
    assert config["max_batch_size"] == 4
    assert [(t["name"], t["data_type"], t["dims"]) for t in config["input"]] == [("image", "TYPE_FP32", [64])]
    assert [(t["name"], t["data_type"], t["dims"]) for t in config["output"]] == [
        ("probabilities", "TYPE_FP32", [10])
    ]
