"""An application changes its URL and adds a key; everything else that it does with tritonclient goes on working."""

import asyncio
import json
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import tritonclient.http as sync
from tritonclient.http import aio
from tritonclient.utils import InferenceServerException

from gateway.upstream.tritonserver import TritonServer
from tests.contract.conftest import Served
from tests.contract.harness import wait_until
from tests.contract.tensors import Credential, as_bytes, connect, image, numbers, tensor
from tests.models.build import DTYPES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOT_PASSED_ON = {
    "model_repository",
    "model_repository(unload_dependents)",
    "system_shared_memory",
    "cuda_shared_memory",
    "trace",
    "logging",
}
COMPRESSION = [(None, "gzip"), (None, "deflate"), ("gzip", None), ("deflate", None), ("gzip", "deflate")]
LARGE_BYTES = 16 * 1024 * 1024


@pytest.fixture
def client(served: Served) -> Iterator[sync.InferenceServerClient]:
    with connect(served) as client:
        yield client


@pytest.fixture(scope="module")
def direct(triton: TritonServer) -> Iterator[sync.InferenceServerClient]:
    with sync.InferenceServerClient(triton.http_url.removeprefix("http://")) as client:
        yield client


def assert_same_reply(replies: list[sync.InferResult], engine: str) -> None:
    """Same fields, same tensors; numbers within one in a million where the two are different engines."""
    ours, theirs = replies
    mine, other = ours.get_response(), theirs.get_response()
    names = [output["name"] for output in other["outputs"]]
    assert [output["name"] for output in mine["outputs"]] == names
    for name in names:
        left, right = ours.as_numpy(name), theirs.as_numpy(name)
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        if engine == "triton" or left.dtype.kind != "f":
            assert (left == right).all()
        else:
            np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-7)
    if engine == "triton":
        assert mine == other
    else:
        assert mine.keys() == other.keys()


def test_an_application_looks_around(
    served: Served, client: sync.InferenceServerClient, direct: sync.InferenceServerClient
) -> None:
    """Health, server and model metadata, readiness, configuration and statistics answer by the alias's name.

    Metadata names the alias and its live versions; all else about the model is as Triton has it.
    """
    assert client.is_server_live()
    assert client.is_server_ready()
    server = client.get_server_metadata()
    assert server["name"]
    assert not NOT_PASSED_ON & set(server["extensions"])
    assert {"binary_tensor_data", "classification", "sequence", "statistics"} <= set(server["extensions"])
    assert client.is_model_ready("digits-live")
    assert client.is_model_ready("digits-live", "2")
    assert not client.is_model_ready("nobody-live")
    theirs = direct.get_model_metadata("digits")
    for version in ("", "1", "2"):
        found = client.get_model_metadata("digits-live", version)
        assert found == theirs | {"name": "digits-live", "versions": ["1", "2"]}
    config = client.get_model_config("digits-live")
    expected = direct.get_model_config("digits")
    # The packaged server runs the backend as a Python model and says so here; NVIDIA's container does not.
    assert config | {"runtime": ""} == expected | {"runtime": ""}
    client.infer("digits-live", [tensor("image", image(), "FP32")], model_version="2")
    stats = client.get_inference_statistics("digits-live", "2")["model_stats"]
    assert [(one["name"], one["version"]) for one in stats] == [("digits", "2")]

    def counted() -> bool:
        (one,) = client.get_inference_statistics("digits-live", "2")["model_stats"]
        return bool(one["inference_stats"]["success"]["count"] >= 1)

    # Triton answers before it counts.
    wait_until(counted, "the call to be counted")


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_data_type_passes_in_every_form(
    served: Served, client: sync.InferenceServerClient, direct: sync.InferenceServerClient, datatype: str
) -> None:
    """JSON and binary, in and out, in shapes that change from call to call and hold nothing at all: as Triton answers.

    FP16 has no JSON form.
    """
    model = f"identity_{datatype.lower()}"
    forms = [(True, True)] if datatype == "FP16" else [(i, o) for i in (False, True) for o in (False, True)]
    for shape in ((2, 3), (1, 40), (0, 3)):
        values = numbers(datatype, shape)
        for binary_in, binary_out in forms:
            replies = [
                each.infer(
                    name,
                    [tensor("INPUT0", values, datatype, binary=binary_in)],
                    outputs=[sync.InferRequestedOutput("OUTPUT0", binary_data=binary_out)],
                )
                for each, name in ((client, f"{model}-live"), (direct, model))
            ]
            assert_same_reply(replies, served.engine)
            got = as_bytes(replies[0].as_numpy("OUTPUT0"))
            assert got.shape == shape
            assert (got == values).all()


def test_one_request_mixes_forms_and_carries_its_own_fields(
    served: Served, client: sync.InferenceServerClient, direct: sync.InferenceServerClient
) -> None:
    """A JSON and a binary input, a binary and a JSON output, id, priority, timeout, custom parameters and a query."""
    one, two = (numbers("INT32", (3, 16)) // factor for factor in (7, 5))
    replies = [
        each.infer(
            name,
            [tensor("INPUT0", one, "INT32", binary=False), tensor("INPUT1", two, "INT32")],
            outputs=[
                sync.InferRequestedOutput("OUTPUT0"),
                sync.InferRequestedOutput("OUTPUT1", binary_data=False),
            ],
            request_id="mine-7",
            timeout=20_000_000,
            parameters={"colour": "blue", "depth": 3},
            headers={"X-Request-Id": "trace-me", "X-Colour": "blue"},
            query_params={"debug": "yes", "n": [1, 2]},
        )
        for each, name in ((client, "add_sub-live"), (direct, "add_sub"))
    ]
    assert_same_reply(replies, served.engine)
    assert replies[0].get_response()["id"] == "mine-7"
    assert (replies[0].as_numpy("OUTPUT0") == one + two).all()
    assert (replies[0].as_numpy("OUTPUT1") == one - two).all()


@pytest.mark.parametrize(("request_by", "reply_by"), COMPRESSION)
def test_compressed_calls(
    served: Served,
    client: sync.InferenceServerClient,
    direct: sync.InferenceServerClient,
    request_by: str | None,
    reply_by: str | None,
) -> None:
    """Requests and replies may be compressed with gzip and deflate, in JSON and in binary form."""
    values = np.tile(numbers("INT64", (1, 32)), (16, 1))
    for binary in (False, True):
        replies = [
            each.infer(
                name,
                [tensor("INPUT0", values, "INT64", binary=binary)],
                outputs=[sync.InferRequestedOutput("OUTPUT0", binary_data=binary)],
                request_compression_algorithm=request_by,
                response_compression_algorithm=reply_by,
            )
            for each, name in ((client, "identity_int64-live"), (direct, "identity_int64"))
        ]
        assert_same_reply(replies, served.engine)
        assert (replies[0].as_numpy("OUTPUT0") == values).all()


def test_classification(
    served: Served, client: sync.InferenceServerClient, direct: sync.InferenceServerClient
) -> None:
    """`class_count` answers with scores, numbers and labels, best first."""
    for binary in (False, True):
        ours, theirs = (
            each.infer(
                name,
                [tensor("image", image(), "FP32")],
                model_version="1",
                outputs=[sync.InferRequestedOutput("probabilities", binary_data=binary, class_count=3)],
            ).as_numpy("probabilities")
            for each, name in ((client, "digits-live"), (direct, "digits"))
        )
        assert ours.shape == theirs.shape == (1, 3)
        for left, right in zip(as_bytes(ours).flat, as_bytes(theirs).flat, strict=True):
            mine, other = (text.decode().split(":") for text in (left, right))
            assert mine[1:] == other[1:]
            assert float(mine[0]) == pytest.approx(float(other[0]), rel=1e-5)


def test_large_tensors(served: Served, client: sync.InferenceServerClient) -> None:
    """16 MB in and 16 MB out, byte for byte."""
    values = np.arange(LARGE_BYTES // 4, dtype=np.float32).reshape(1, -1)
    reply = client.infer("identity_fp32-live", [tensor("INPUT0", values, "FP32")])
    assert reply.as_numpy("OUTPUT0").tobytes() == values.tobytes()


def test_async_infer(client: sync.InferenceServerClient) -> None:
    """Calls under way at once each get their own answer."""
    wanted = [np.full((1, 16), number, dtype=np.int32) for number in range(24)]
    calls = [
        client.async_infer(
            "add_sub-live",
            [tensor("INPUT0", one, "INT32"), tensor("INPUT1", one, "INT32")],
            request_id=str(n),
        )
        for n, one in enumerate(wanted)
    ]
    for number, call in enumerate(calls):
        reply = call.get_result()
        assert reply.get_response()["id"] == str(number)
        assert (reply.as_numpy("OUTPUT0") == 2 * number).all()


def test_the_asyncio_client(served: Served, direct: sync.InferenceServerClient) -> None:
    """tritonclient.http.aio does all the same: questions, calls at once, compression, JSON and binary, errors."""

    async def story() -> None:
        async with aio.InferenceServerClient(served.gateway.inference) as client:
            client.register_plugin(Credential(served.app))
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("digits-live")
            assert (await client.get_model_metadata("digits-live"))["versions"] == ["1", "2"]
            assert (await client.get_model_config("digits-live"))["name"] == "digits"
            assert (await client.get_inference_statistics("digits-live"))["model_stats"]
            for datatype in DTYPES:
                values = numbers(datatype, (2, 5))
                for binary in (False, True):
                    if datatype == "FP16" and not binary:
                        continue
                    reply = await client.infer(
                        f"identity_{datatype.lower()}-live",
                        [tensor("INPUT0", values, datatype, binary=binary)],
                        outputs=[sync.InferRequestedOutput("OUTPUT0", binary_data=binary)],
                        request_compression_algorithm="gzip" if binary else None,
                        response_compression_algorithm="deflate",
                    )
                    assert (as_bytes(reply.as_numpy("OUTPUT0")) == values).all()
            inputs = [tensor("image", image(), "FP32")]
            replies = await asyncio.gather(
                *(client.infer("digits-live", inputs, model_version=version) for version in "1212")
            )
            for version, reply in zip("1212", replies, strict=True):
                theirs = direct.infer("digits", inputs, model_version=version)
                assert_same_reply([reply, theirs], served.engine)
            with pytest.raises(InferenceServerException, match="nobody-live"):
                await client.get_model_metadata("nobody-live")

    asyncio.run(story())


def test_a_raw_body(served: Served, triton: TritonServer) -> None:
    """`Inference-Header-Content-Length: 0` and one tensor's bytes are a whole request."""
    raw = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
    body = image().tobytes()
    theirs = httpx.post(
        f"{triton.http_url}/v2/models/digits/versions/1/infer", content=body, headers=raw, timeout=60
    )
    with served.gateway.caller(served.app) as http:
        ours = http.post("/v2/models/digits-live/versions/1/infer", content=body, headers=raw)
    assert ours.status_code == theirs.status_code == 200
    name = "Inference-Header-Content-Length"
    left, right = (json.loads(reply.content[: int(reply.headers[name])]) for reply in (ours, theirs))
    assert left == right
    probabilities = [
        np.frombuffer(reply.content[int(reply.headers[name]) :], "<f4") for reply in (ours, theirs)
    ]
    np.testing.assert_allclose(probabilities[0], probabilities[1], rtol=1e-6, atol=1e-7)
