"""Streams over gRPC with `tritonclient`: what comes back, in which order, and when it ends."""

import asyncio
import queue
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as sync
from tritonclient.grpc import aio
from tritonclient.utils import InferenceServerException

from gateway.upstream.tritonserver import TritonServer
from tests.contract.conftest import TEAM, Served
from tests.contract.grpc_tensors import Caller, connect, tensor
from tests.contract.harness import wait_until
from tests.contract.tensors import image
from tests.patience import PATIENT_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

Answer = tuple[Any, InferenceServerException | None]


class Streaming:
    """A client with an open stream."""

    def __init__(self, caller: Any, headers: dict[str, str] | None = None) -> None:
        self.caller = caller
        self._answers: queue.Queue[Answer] = queue.Queue()
        caller.start_stream(lambda result, error: self._answers.put((result, error)), headers=headers or {})

    def next(self) -> Answer:
        """The next answer."""
        return self._answers.get(timeout=PATIENT_S)


@pytest.fixture
def stream(served: Served) -> Iterator[Streaming]:
    caller = connect(served)
    yield Streaming(caller)
    caller.client.stop_stream()
    caller.client.close()


@pytest.fixture(scope="module")
def direct(triton: TritonServer) -> Iterator[Streaming]:
    with sync.InferenceServerClient(triton.grpc_target) as client:
        yield Streaming(client)
        client.stop_stream()


def digit(stream: Streaming, name: str, request_id: str, **fields: Any) -> None:
    """Send a picture; the key stands in the stream's own metadata."""
    client = stream.caller.client if isinstance(stream.caller, Caller) else stream.caller
    client.async_stream_infer(name, [tensor("image", image(), "FP32")], request_id=request_id, **fields)


def test_replies_come_in_the_order_of_the_requests(stream: Streaming, direct: Streaming) -> None:
    """One for each, with its id, the final one of its request, as from Triton itself."""
    for number in range(40):
        digit(stream, "digits-live", str(number))
    ours = [stream.next() for _ in range(40)]
    assert [error for _, error in ours] == [None] * 40
    assert [result.get_response().id for result, _ in ours] == [str(number) for number in range(40)]
    mine = ours[0][0]
    digit(direct, "digits", "0", model_version=mine.get_response().model_version)
    theirs, _ = direct.next()
    assert mine.get_response().parameters == theirs.get_response().parameters
    np.testing.assert_allclose(
        mine.as_numpy("probabilities"), theirs.as_numpy("probabilities"), rtol=1e-6, atol=1e-7
    )


def repeated(times: int, **more: int) -> list[sync.InferInput]:
    """A request of the decoupled model `repeat`."""
    return [
        tensor("text", np.array([b"word"], dtype=np.object_), "BYTES"),
        tensor("times", np.array([times], np.int32), "INT32"),
        *(tensor(name, np.array([value], np.int32), "INT32") for name, value in more.items()),
    ]


def test_a_decoupled_model_answers_as_often_as_it_likes(on_triton: Served, direct: Streaming) -> None:
    """Several replies, none, and an error in the midst: message for message as Triton sends them."""
    caller = connect(on_triton)
    stream = Streaming(caller)
    for times, more in ((3, {}), (4, {"fail_at": 2}), (2, {"delay_ms": 20})):
        for each, name in ((caller.client, "repeat-live"), (direct.caller, "repeat")):
            each.async_stream_infer(name, repeated(times, **more), model_version="1", request_id="r")
        for _ in range(more.get("fail_at", times)):
            (ours, _), (theirs, _) = stream.next(), direct.next()
            assert ours.get_response() == theirs.get_response()
        if "fail_at" in more:
            (_, ours), (_, theirs) = stream.next(), direct.next()
            assert ours is not None
            assert theirs is not None
            assert ours.message() == theirs.message()
    for each, name in ((caller.client, "repeat-live"), (direct.caller, "repeat")):
        each.async_stream_infer(
            name, repeated(1), model_version="1", request_id="e", enable_empty_final_response=True
        )
    for _ in range(2):
        (ours, _), (theirs, _) = stream.next(), direct.next()
        assert ours.get_response() == theirs.get_response()
    caller.client.stop_stream()
    caller.client.close()


def test_a_stream_stays_open_while_its_alias_moves_on(served: Served, stream: Streaming) -> None:
    """Each message goes where the alias points then."""

    def version_of(target: str) -> str:
        with served.gateway.operator() as operator:
            operator.alias("moving", target, team=TEAM)

        def moved() -> bool:
            digit(stream, "moving", "x")
            result, error = stream.next()
            return error is None and result.get_response().model_version == target[-1]

        wait_until(moved, f"the stream to reach {target}")
        return target[-1]

    assert [version_of("digits@1"), version_of("digits@2"), version_of("digits@1")] == ["1", "2", "1"]


def test_an_error_is_a_message_and_the_stream_goes_on(stream: Streaming, direct: Streaming) -> None:
    """The gateway's own and the model's, with the id of its request."""
    wrong = [tensor("picture", image(), "FP32")]
    stream.caller.client.async_stream_infer("digits-live", wrong, request_id="a", model_version="1")
    direct.caller.async_stream_infer("digits", wrong, request_id="a", model_version="1")
    _, ours = stream.next()
    _, theirs = direct.next()
    assert ours is not None
    assert theirs is not None
    assert ours.message() == theirs.message()
    digit(stream, "nobody", "b")
    _, refused = stream.next()
    assert refused is not None
    assert refused.message() == "There is no alias 'nobody', or you may not see it."
    digit(stream, "digits-live", "c")
    result, error = stream.next()
    assert error is None
    assert result.get_response().id == "c"


def test_an_error_ends_the_stream_where_its_caller_asked_for_that(served: Served) -> None:
    """With the metadata `triton_grpc_error`, and then with a real status."""
    caller = connect(served)
    stream = Streaming(caller, {"triton_grpc_error": "true"})
    digit(stream, "nobody", "a")
    _, error = stream.next()
    assert error is not None
    assert error.status() == "StatusCode.NOT_FOUND"
    caller.client.stop_stream()
    caller.client.close()


def test_a_stream_of_nobodys_is_refused_as_a_whole(served: Served) -> None:
    """Before any message is read."""
    client = sync.InferenceServerClient(served.gateway.grpc_target)
    stream = Streaming(client)
    _, error = stream.next()
    assert error is not None
    assert error.status() == "StatusCode.UNAUTHENTICATED"
    client.stop_stream()
    client.close()


def test_the_asyncio_client_streams(served: Served) -> None:
    """A generator of requests goes in, a generator of answers comes out, and the stream ends well."""

    async def ask() -> list[str]:
        async def requests() -> AsyncIterator[dict[str, Any]]:
            for number in range(5):
                yield {
                    "model_name": "digits-live",
                    "inputs": [tensor("image", image(), "FP32")],
                    "request_id": str(number),
                }

        async with aio.InferenceServerClient(served.gateway.grpc_target) as client:
            headers = {"authorization": f"Bearer {served.app.text}"}
            found = []
            async for result, error in client.stream_infer(requests(), headers=headers):
                assert error is None
                found.append(result.get_response().id)
            return found

    assert asyncio.run(ask()) == ["0", "1", "2", "3", "4"]
