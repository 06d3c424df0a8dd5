"""One caller of a peer, over HTTP or gRPC: what came back, told alike."""

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator, Mapping

import grpc
import msgspec

from loadtests import messages, replies
from loadtests.payloads import MODEL, VERSIONS, Payload
from loadtests.probe import TIMEOUT_S, ask
from loadtests.processes import BenchError

OK, STRANGER = "ok", "stranger"

_GRPC_OUTCOMES = {grpc.StatusCode.UNAUTHENTICATED: STRANGER}
_HTTP_OUTCOMES = {200: OK, 401: STRANGER}
_OWN = frozenset({"te", "content-type"})
"""What gRPC's own clients say by themselves."""

_FRAME_BYTES = len(messages.framed(b""))


class Answer(msgspec.Struct, frozen=True):
    """What came back: `OK`, `STRANGER` for a key that is not known, or any other status in words; and the body.

    `served_by` is the model and the version that answered, as far as the reply says so; `read` is how many bytes of the request
    the upstream saw, where it counts them.
    """

    outcome: str
    body: bytes
    served_by: str
    read: int | None = None


Call = Callable[[bytes, Mapping[str, str]], Answer]
"""Sends a body with headers and waits for the answer."""


@contextlib.contextmanager
def caller(name: str, port: int, path: str, payload: Payload) -> Iterator[Call]:
    """A caller with a connection of its own. Raises `BenchError` where no answer comes."""
    call = _grpc(port, path) if payload.grpc else _http(port, path)
    try:
        with call as made:
            yield made
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{name}: the request for {payload.title} failed: {error!r}") from error


@contextlib.contextmanager
def _http(port: int, path: str) -> Iterator[Call]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def call(body: bytes, headers: Mapping[str, str]) -> Answer:
        answer = ask(connection, path, body, headers)
        outcome = _HTTP_OUTCOMES.get(answer.status, str(answer.status))
        read = answer.headers.get(replies.READ_HEADER.lower())
        return Answer(outcome, answer.body, _named(answer.body), None if read is None else int(read))

    try:
        yield call
    finally:
        connection.close()


def _named(body: bytes) -> str:
    try:
        reply = json.loads(body)
        return f"{reply['model_name']}/{reply['model_version']}"
    except (ValueError, KeyError, TypeError):
        return ""


@contextlib.contextmanager
def _grpc(port: int, path: str) -> Iterator[Call]:
    with grpc.insecure_channel(f"127.0.0.1:{port}", (("grpc.use_local_subchannel_pool", 1),)) as channel:
        method = channel.unary_unary(path)

        def call(body: bytes, headers: Mapping[str, str]) -> Answer:
            metadata = [(name.lower(), value) for name, value in headers.items() if name not in _OWN]
            try:
                reply, done = method.with_call(body[_FRAME_BYTES:], metadata=metadata, timeout=TIMEOUT_S)
            except grpc.RpcError as error:
                outcome = _GRPC_OUTCOMES.get(error.code(), str(error.code()))
                return Answer(outcome, str(error.details()).encode(), "")
            return Answer(OK, reply, dict(done.initial_metadata()).get("maas-served-by", ""))

        yield call


def right_replies(payload: Payload) -> frozenset[bytes]:
    """What the upstream may have answered. Over gRPC it does not see which version is asked."""
    if payload.grpc:
        return frozenset({messages.infer_reply(MODEL, VERSIONS[0])})
    return frozenset(replies.infer_reply(version) for version in VERSIONS)
