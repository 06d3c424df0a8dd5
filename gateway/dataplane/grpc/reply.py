"""One unary reply: Triton's own message as it comes, or a status; before either, what the gateway tells with every reply."""

from collections.abc import Iterable
from typing import NoReturn

import grpc.aio

from gateway.dataplane.call import Trail
from gateway.dataplane.grpc.metadata import as_metadata
from gateway.dataplane.grpc.status import CODES, code_of_reply, problem
from gateway.errors import GatewayError
from gateway.problem import retry_after
from gateway.types import Field
from gateway.upstream.exchange import GRPC_STATUS, Headers, ReplySource

# What the gateway alone says. A server that announces its own end does not announce the alias's.
_OURS = frozenset({b"maas-served-by", b"x-request-id", b"deprecation", b"sunset", GRPC_STATUS})


class Reply:
    """The reply to one call: a `Sink` for the upstream, sent by `send` or `refuse`."""

    __slots__ = ("_body", "_context", "_headers", "_status", "request_id", "trail")

    def __init__(self, context: grpc.aio.ServicerContext, request_id: str) -> None:
        self._context = context
        self._status = 0
        self._headers: Headers = ()
        self._body = b""
        self.request_id = request_id
        self.trail: Trail | None = None

    # --- from the upstream ---

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A message, or the words of an error."""
        self._status, self._headers, self._body = status, headers, body

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        """Never: a method with one reply gets its message whole."""
        raise AssertionError("a unary reply comes whole")

    def reply_data(self, data: bytes | memoryview) -> None:
        """Never, as `reply_head`."""
        raise AssertionError("a unary reply comes whole")

    def reply_end(self) -> None:
        """Never, as `reply_head`."""
        raise AssertionError("a unary reply comes whole")

    # --- to the caller ---

    async def send(self) -> bytes:
        """The message that is the reply, its initial metadata having been sent; an error of Triton's ends the call."""
        await self._tell([field for field in self._headers if field[0].lower() not in _OURS])
        if self._status != 200:
            code = code_of_reply(self._status, dict(self._headers).get(GRPC_STATUS))
            await self._context.abort(code, self._body.decode("utf-8", "replace"))
        return self._body

    async def refuse(self, error: GatewayError) -> NoReturn:
        """End the call with `error`."""
        # What ends a call stays in grpcio until the garbage collector runs.
        error.let_go()
        after = retry_after(error)
        await self._tell([] if after is None else [(b"retry-after", after.encode())])
        await self._context.abort(CODES[error.kind], error.detail, problem(error, self.request_id))
        raise AssertionError("abort raises")

    async def _tell(self, fields: list[Field]) -> None:
        await self._context.send_initial_metadata(told(self.trail, self.request_id, fields))


def told(trail: Trail | None, request_id: str, fields: Iterable[Field] = ()) -> list[tuple[str, str]]:
    """The initial metadata of a reply: `fields`, and what the gateway tells with every one."""
    found = list(fields)
    if trail is not None:
        if trail.target is not None and trail.exchange is not None:
            found.append((b"maas-served-by", trail.target.served_by))
        found += trail.fields
    found.append((b"x-request-id", request_id.encode()))
    return as_metadata(found)
