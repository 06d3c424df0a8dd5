"""An application with `tritonclient.grpc` changes its target and adds a key; everything else goes on working."""

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as sync
from tritonclient.grpc import aio, service_pb2
from tritonclient.utils import InferenceServerException

from gateway.upstream.tritonserver import TritonServer
from tests.contract.conftest import Served
from tests.contract.grpc_tensors import Caller, connect, tensor
from tests.contract.harness import Key, wait_until
from tests.contract.tensors import image, numbers
from tests.models.build import DTYPES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LARGE_BYTES = 20 * 1024 * 1024


@pytest.fixture
def client(served: Served) -> Iterator[Caller]:
    made = connect(served)
    yield made
    made.client.close()


@pytest.fixture(scope="module")
def direct(triton: TritonServer) -> Iterator[sync.InferenceServerClient]:
    with sync.InferenceServerClient(triton.grpc_target) as client:
        yield client


def assert_same_reply(ours: Any, theirs: Any, engine: str) -> None:
    """Same fields, same tensors; numbers within one in a million where the two are different engines."""
    mine, other = ours.get_response(), theirs.get_response()
    if engine == "triton":
        assert mine == other
        return
    for output in other.outputs:
        left, right = ours.as_numpy(output.name), theirs.as_numpy(output.name)
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        if left.dtype.kind == "f":
            np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-7)
        else:
            assert (left == right).all()
    assert without_data(mine) == without_data(other)


def without_data(message: Any) -> Any:
    """The message but for its tensors' bytes."""
    copy = type(message)()
    copy.CopyFrom(message)
    del copy.raw_output_contents[:]
    return copy


def test_an_application_looks_around(
    served: Served, client: Caller, direct: sync.InferenceServerClient
) -> None:
    """Health, server and model metadata, readiness, configuration and statistics answer by the alias's name."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert "classification" in client.get_server_metadata().extensions
    assert client.is_model_ready("digits-live")
    assert client.is_model_ready("digits-live", "2")
    theirs = direct.get_model_metadata("digits")
    theirs.name, theirs.versions[:] = "digits-live", ["1", "2"]
    for version in ("", "1", "2"):
        assert client.get_model_metadata("digits-live", version) == theirs
    config, expected = client.get_model_config("digits-live"), direct.get_model_config("digits")
    # The packaged server runs the backend as a Python model and says so here; NVIDIA's container does not.
    config.config.runtime = expected.config.runtime = ""
    assert config == expected
    client.infer("digits-live", [tensor("image", image(), "FP32")], model_version="2")

    def counted() -> bool:
        (one,) = client.get_inference_statistics("digits-live", "2").model_stats
        assert (one.name, one.version) == ("digits", "2")
        return bool(one.inference_stats.success.count >= 1)

    wait_until(counted, "the call to be counted")


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_data_type_passes(
    served: Served, client: Caller, direct: sync.InferenceServerClient, datatype: str
) -> None:
    """In shapes that change from call to call and hold nothing at all: as Triton answers."""
    model = f"identity_{datatype.lower()}"
    for shape in ((2, 3), (1, 40), (0, 3)):
        values = numbers(datatype, shape)
        inputs = [tensor("INPUT0", values, datatype)]
        ours, theirs = client.infer(f"{model}-live", inputs), direct.infer(model, inputs)
        assert_same_reply(ours, theirs, served.engine)
        got = ours.as_numpy("OUTPUT0")
        assert got.shape == shape
        assert (got == values).all()


CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


@pytest.mark.parametrize("datatype", CONTENTS)
def test_tensors_may_stand_in_typed_contents(
    served: Served, client: Caller, direct: sync.InferenceServerClient, datatype: str
) -> None:
    """As other clients than NVIDIA's send them."""
    values = numbers(datatype, (2, 3))
    name = f"identity_{datatype.lower()}"
    request = service_pb2.ModelInferRequest(model_name=f"{name}-live", id="typed")
    entry = request.inputs.add(name="INPUT0", datatype=datatype, shape=[2, 3])
    getattr(entry.contents, CONTENTS[datatype]).extend(values.ravel().tolist())
    metadata = tuple(client.headers.items())
    ours = client.client._client_stub.ModelInfer(request, metadata=metadata)
    request.model_name = name
    theirs = direct._client_stub.ModelInfer(request)
    assert ours == theirs


def test_one_request_carries_its_own_fields(
    served: Served, client: Caller, direct: sync.InferenceServerClient
) -> None:
    """Two inputs, chosen outputs, id, priority, timeout and parameters."""
    one, two = (numbers("INT32", (3, 16)) // factor for factor in (7, 5))
    replies = [
        each.infer(
            name,
            [tensor("INPUT0", one, "INT32"), tensor("INPUT1", two, "INT32")],
            outputs=[sync.InferRequestedOutput("OUTPUT1")],
            request_id="mine-7",
            timeout=20_000_000,
            parameters={"colour": "blue", "depth": 3},
            client_timeout=20,
        )
        for each, name in ((client, "add_sub-live"), (direct, "add_sub"))
    ]
    assert_same_reply(replies[0], replies[1], served.engine)
    assert replies[0].get_response().id == "mine-7"
    assert (replies[0].as_numpy("OUTPUT1") == one - two).all()


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_calls(served: Served, client: Caller, algorithm: str) -> None:
    """Requests may be compressed."""
    values = np.tile(numbers("INT64", (1, 32)), (16, 1))
    reply = client.infer(
        "identity_int64-live", [tensor("INPUT0", values, "INT64")], compression_algorithm=algorithm
    )
    assert (reply.as_numpy("OUTPUT0") == values).all()


def test_classification(served: Served, client: Caller, direct: sync.InferenceServerClient) -> None:
    """`class_count` answers with scores, numbers and labels, best first."""
    ours, theirs = (
        each.infer(
            name,
            [tensor("image", image(), "FP32")],
            model_version="1",
            outputs=[sync.InferRequestedOutput("probabilities", class_count=3)],
        ).as_numpy("probabilities")
        for each, name in ((client, "digits-live"), (direct, "digits"))
    )
    assert ours.shape == theirs.shape == (1, 3)
    for left, right in zip(ours.flat, theirs.flat, strict=True):
        mine, other = (text.decode().split(":") for text in (left, right))
        assert mine[1:] == other[1:]
        assert float(mine[0]) == pytest.approx(float(other[0]), rel=1e-5)


def test_a_large_tensor_passes(served: Served, client: Caller) -> None:
    """20 MB, both ways."""
    values = (np.arange(LARGE_BYTES // 8) % 251).reshape(1, -1)
    reply = client.infer("identity_int64-live", [tensor("INPUT0", values, "INT64")])
    assert (reply.as_numpy("OUTPUT0") == values).all()


def test_the_asyncio_client(served: Served) -> None:
    """Many calls at once on one connection."""

    async def call_many() -> list[Any]:
        async with aio.InferenceServerClient(served.gateway.grpc_target) as client:
            made = Caller(client, served.app)
            calls = (
                made.infer(
                    "identity_int64-live",
                    [tensor("INPUT0", np.full((1, 4), number), "INT64")],
                    request_id=str(number),
                )
                for number in range(64)
            )
            return await asyncio.gather(*calls)

    for number, reply in enumerate(asyncio.run(call_many())):
        assert reply.get_response().id == str(number)
        assert (reply.as_numpy("OUTPUT0") == number).all()


def test_the_models_errors_are_the_servers_own(
    served: Served, client: Caller, direct: sync.InferenceServerClient
) -> None:
    """Code and words, from either engine, as Triton has them."""
    double = tensor("image", image(), "FP32")
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("picture", {"inputs": [tensor("picture", image(), "FP32")]}),
        ("shape", {"inputs": [tensor("image", np.zeros((1, 63), np.float32), "FP32")]}),
        ("type", {"inputs": [tensor("image", np.zeros((1, 64), np.float64), "FP64")]}),
        (
            "output",
            {
                "inputs": [tensor("image", image(), "FP32")],
                "outputs": [sync.InferRequestedOutput("guess")],
            },
        ),
        ("twice", {"inputs": [double, double]}),
        ("none", {"inputs": []}),
        ("reserved", {"inputs": [double], "parameters": {"triton_x": 1}}),
    ]
    for what, fields in wrong:
        with pytest.raises(InferenceServerException) as theirs:
            direct.infer("digits", model_version="1", **fields)
        with pytest.raises(InferenceServerException) as ours:
            client.infer("digits-live", model_version="1", **fields)
        assert (ours.value.status(), ours.value.message()) == (
            theirs.value.status(),
            theirs.value.message(),
        ), what


def test_what_a_client_library_cannot_send_is_worded_as_tritons(
    served: Served, client: Caller, direct: sync.InferenceServerClient
) -> None:
    """Contents that are missing, too few, twice, or of another type than they say."""

    def request(**fields: Any) -> Any:
        made = service_pb2.ModelInferRequest(model_version="1", **fields)
        made.inputs.add(name="image", datatype="FP32", shape=[1, 64])
        return made

    raw = image().tobytes()
    typed, both, other_type = request(), request(raw_input_contents=[raw]), request()
    typed.inputs[0].contents.fp32_contents.extend([1.0] * 63)
    both.inputs[0].contents.fp32_contents.extend([1.0] * 64)
    other_type.inputs[0].contents.int64_contents.extend([1] * 64)
    for sent in (
        request(),
        request(raw_input_contents=[raw[:-1]]),
        typed,
        both,
        other_type,
    ):
        answers = []
        for stub, name, metadata in (
            (client.client._client_stub, "digits-live", tuple(client.headers.items())),
            (direct._client_stub, "digits", ()),
        ):
            sent.model_name = name
            with pytest.raises(grpc.RpcError) as error:
                stub.ModelInfer(sent, metadata=metadata)
            answers.append((error.value.code(), error.value.details()))
        assert answers[0] == answers[1]


def test_refusals_say_why(served: Served) -> None:
    """Each refusal has its code, and a sentence that the client shows."""

    def refused(key: Key | None, alias: str = "digits-live", version: str = "") -> tuple[str, str]:
        caller = Caller(sync.InferenceServerClient(served.gateway.grpc_target), key)
        with pytest.raises(InferenceServerException) as error:
            caller.infer(alias, [tensor("image", image(), "FP32")], model_version=version)
        caller.client.close()
        return error.value.status(), error.value.message()

    unknown = "There is no alias '{}', or you may not see it."
    assert refused(served.app, "nobody-live") == ("StatusCode.NOT_FOUND", unknown.format("nobody-live"))
    assert refused(served.stranger) == ("StatusCode.NOT_FOUND", unknown.format("digits-live"))
    assert refused(None)[0] == "StatusCode.UNAUTHENTICATED"
    assert "authorization" in refused(None)[1].lower()
    assert refused(served.sre)[0] == "StatusCode.PERMISSION_DENIED"
    assert refused(served.app, version="3")[0] == "StatusCode.NOT_FOUND"
    assert refused(served.app, version="1abc")[0] == "StatusCode.INVALID_ARGUMENT"
    lead = connect(served, served.lead)
    reply = lead.infer("digits-live", [tensor("image", image(), "FP32")], model_version="3")
    assert reply.get_response().model_version == "3"
    for call in (
        lead.get_model_repository_index,
        lambda: lead.unload_model("digits"),
        lead.get_log_settings,
        lead.get_trace_settings,
        lead.get_system_shared_memory_status,
        lead.unregister_cuda_shared_memory,
    ):
        with pytest.raises(InferenceServerException) as error:
            call()
        assert error.value.status() == "StatusCode.PERMISSION_DENIED"
    assert lead.is_model_ready("digits-live")
    lead.client.close()
