"""What real clients send and real servers answer is what a sample holds: every type, every framing, both engines."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from tests.contract import grpc_tensors
from tests.contract.conftest import Served
from tests.contract.harness import Operator, wait_until
from tests.contract.test_tritonclient_grpc import CONTENTS
from tests.contract.test_tritonclient_streams import Streaming, repeated
from tests.models.build import DTYPES
from tests.sampling.scene import rows

pytestmark = pytest.mark.slow

ARRAYS = {
    "BOOL": np.array([[True, False], [False, True]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 65_535]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**53]], np.uint64),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-32_768, 32_767]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**53), 2**53]], np.int64),
    "FP16": np.array([[0.5, -65_504]], np.float16),
    "FP32": np.array([[0.1, -3e38]], np.float32),
    "FP64": np.array([[0.1, -1e300]], np.float64),
    "BYTES": np.array([[b"call +49 170 1234567", "Grüße".encode()]], object),
}
KEPT_TEXT = ["call [phone]", "Grüße"]


@pytest.fixture
def operator(served: Served) -> Iterator[Operator]:
    """The control plane's API."""
    with served.gateway.operator() as found:
        yield found


def sample(operator: Operator, alias: str, *rules: dict[str, str]) -> None:
    """Keep every request of an alias."""
    operator.set(f"/aliases/{alias}/sampling", {"rate_bp": 10_000, "rules": list(rules)})


def taken(served: Served, calls: dict[str, Callable[[], object]]) -> dict[str, dict[str, Any]]:
    """The samples of calls by request id. They are made until they are there: workers first ask for a model's tensors."""
    found: dict[str, dict[str, Any]] = {}

    def all_there() -> bool:
        for request_id in calls.keys() - found.keys():
            calls[request_id]()
        time.sleep(0.5)
        found.update(
            {row["request_id"]: row for row in rows(served.gateway.installation.data_dir / "samples")}
        )
        return calls.keys() <= found.keys()

    wait_until(all_there, "samples of all calls", 60)
    return found


def test_every_type_is_kept_as_it_was_sent_and_answered(served: Served, operator: Operator) -> None:
    """In JSON (where the type has one) and in binary, compressed both ways, by NVIDIA's client."""
    client = InferenceServerClient(served.gateway.inference)
    calls: dict[str, Callable[[], object]] = {}
    for dtype, array in ARRAYS.items():
        assert dtype in DTYPES
        sample(operator, f"identity_{dtype.lower()}-live", {"action": "keep", "tensor": "*"})
        for binary in (True, False) if dtype != "FP16" else (True,):
            tensor = InferInput("INPUT0", list(array.shape), dtype)
            tensor.set_data_from_numpy(array, binary_data=binary)
            name = f"{dtype}-{binary}"
            calls[name] = partial(
                client.infer,
                f"identity_{dtype.lower()}-live",
                [tensor],
                outputs=[InferRequestedOutput("OUTPUT0", binary_data=binary)],
                headers=served.app.headers | {"X-Request-Id": name},
                request_compression_algorithm="gzip",
                response_compression_algorithm="deflate",
            )
    found = taken(served, calls)
    for name in calls:
        assert_kept(found[name], name)
    client.close()


def assert_kept(row: dict[str, Any], name: str) -> None:
    """Both parts of a sample hold the array of the datatype that its name begins with."""
    dtype = name.partition("-")[0]
    array = ARRAYS[dtype]
    assert (row["inputs_missing"], row["outputs_missing"]) == (None, None), name
    for (kept,) in (row["inputs"], row["outputs"]):
        assert (kept["datatype"], kept["shape"]) == (dtype, list(array.shape)), name
        if dtype == "BYTES":
            assert kept["texts"] == KEPT_TEXT, name
            assert kept["lengths"] == [len(text) for text in array.ravel()], name
        else:
            assert kept["values"] == [float(value) for value in array.ravel()], name


def test_every_type_is_kept_over_grpc_too(served: Served, operator: Operator) -> None:
    """Raw, as NVIDIA's client sends it, and as typed contents; in a call, and as a message of a stream."""
    caller = grpc_tensors.connect(served)
    calls: dict[str, Callable[[], object]] = {}
    for dtype, array in ARRAYS.items():
        alias = f"identity_{dtype.lower()}-live"
        sample(operator, alias, {"action": "keep", "tensor": "*"})
        tensor = grpc_tensors.tensor("INPUT0", array, dtype)
        raw, streamed, typed = f"{dtype}-raw", f"{dtype}-streamed", f"{dtype}-typed"
        calls[raw] = partial(caller.infer, alias, [tensor], headers={"x-request-id": raw})
        calls[streamed] = partial(stream_one, served, alias, [tensor], streamed)
        if dtype in CONTENTS:
            request = service_pb2.ModelInferRequest(model_name=alias)
            entry = request.inputs.add(name="INPUT0", datatype=dtype, shape=array.shape)
            getattr(entry.contents, CONTENTS[dtype]).extend(array.ravel().tolist())
            metadata = (*caller.headers.items(), ("x-request-id", typed))
            calls[typed] = partial(caller.client._client_stub.ModelInfer, request, metadata=metadata)
    found = taken(served, calls)
    for name in calls:
        assert_kept(found[name], name)
        assert found[name]["protocol"] == "grpc"
        assert found[name]["operation"] == ("stream_infer" if name.endswith("streamed") else "infer")
    caller.client.close()


def stream_one(served: Served, alias: str, inputs: list[Any], request_id: str, replies: int = 1) -> None:
    """One message on a stream of its own, and its replies."""
    caller = grpc_tensors.connect(served)
    stream = Streaming(caller, {"x-request-id": request_id})
    caller.client.async_stream_infer(alias, inputs)
    for _ in range(replies):
        _, error = stream.next()
        assert error is None
    caller.client.stop_stream()
    caller.client.close()


def test_a_rule_on_no_tensor_is_refused_by_what_the_server_tells(served: Served, operator: Operator) -> None:
    """Triton is asked; the embedded engine's configuration is read."""
    body = {"rate_bp": 100, "rules": [{"action": "drop", "tensor": "IMAGE"}]}
    refused = operator.put("/aliases/digits-live/sampling", json=body)
    assert refused.status_code == 422
    assert "digits@2 has no tensor 'IMAGE'; it has image, probabilities" in refused.text


def test_a_stream_is_kept_as_one_text(on_triton: Served) -> None:
    """Events of the generate extension, joined before detectors look: an address over several events is none."""
    with on_triton.gateway.operator() as operator, on_triton.gateway.caller(on_triton.app) as app:
        keep = [{"action": "keep", "tensor": "text"}, {"action": "keep", "path": "$.times"}]
        sample(operator, "repeat-live", *keep)
        body = {"text": "a@b.example ", "times": 3}

        path, headers = "/v2/models/repeat-live/generate_stream", {"X-Request-Id": "stream"}
        row = taken(on_triton, {"stream": lambda: app.post(path, json=body, headers=headers)})["stream"]
        assert row["operation"] == "generate_stream"
        assert row["request_json"] == '{"text": "[email] ", "times": 3}'
        assert row["reply_json"] == '{"text": "[email] [email] [email] "}'


def test_the_replies_of_a_decoupled_model_are_one_sample(on_triton: Served) -> None:
    """Of one message on a gRPC stream: what each reply says, its text joined before detectors look."""
    with on_triton.gateway.operator() as operator:
        sample(operator, "repeat-live", {"action": "keep", "tensor": "text"})
        call = partial(stream_one, on_triton, "repeat-live", repeated(3), "decoupled", 3)
        row = taken(on_triton, {"decoupled": call})["decoupled"]
        assert (row["inputs_missing"], row["outputs_missing"]) == (None, None)
        assert [tensor["texts"] for tensor in row["outputs"] if tensor["name"] == "text"] == [
            ["wordwordword"]
        ]
