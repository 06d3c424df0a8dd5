"""One unary reply: Triton's own message as it comes, or a status; before either, what the gateway tells with every reply."""

from collections.abc import Iterable

from gateway.dataplane.call import Trail
from gateway.dataplane.grpc.incoming import Incoming
from gateway.dataplane.grpc.opening import REPLY
from gateway.dataplane.grpc.status import CODES, code_of_reply, problem
from gateway.errors import GatewayError
from gateway.http2.encode import encoded, named, valued
from gateway.problem import retry_after
from gateway.rpc.codes import Status
from gateway.types import Field
from gateway.upstream.exchange import GRPC_STATUS, Headers, ReplySource

# What the gateway alone says. A server that announces its own end does not announce the alias's.
_OURS = frozenset(
    {b"maas-served-by", b"x-request-id", b"deprecation", b"sunset", b"content-type", GRPC_STATUS}
)
_SERVED_BY = named(b"maas-served-by")
_REQUEST_ID = named(b"x-request-id")


class Reply:
    """The reply to one call: a `Sink` for the upstream, sent by `send` or `refuse`."""

    __slots__ = ("_body", "_call", "_headers", "_status", "request_id", "trail")

    def __init__(self, call: Incoming, request_id: str) -> None:
        self._call = call
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

    def send(self) -> None:
        """Pass on the message that is the reply, or the error that is Triton's."""
        fields = [field for field in self._headers if _may_pass(field[0].lower())] if self._headers else ()
        block = told(self.trail, self.request_id, fields)
        if self._status == 200:
            self._call.reply(block, self._body)
        else:
            code = code_of_reply(self._status, dict(self._headers).get(GRPC_STATUS))
            self._call.tell(block)
            self._call.end(code, self._body.decode("utf-8", "replace"))

    def refuse(self, error: GatewayError, status: Status | None = None) -> None:
        """End the call with `error`, in another status than its own if there is one."""
        error.let_go()
        after = retry_after(error)
        fields = () if after is None else ((b"retry-after", after.encode()),)
        self._call.tell(told(self.trail, self.request_id, fields))
        code = CODES[error.kind] if status is None else status
        self._call.end(code, error.detail, problem(error, self.request_id))


def told(trail: Trail | None, request_id: str, fields: Iterable[Field] = ()) -> bytes:
    """The initial metadata of a reply, as a block: `fields`, and what the gateway tells with every one."""
    parts = [REPLY]
    if fields:
        parts.append(_lower(fields))
    if trail is not None:
        if trail.target is not None and trail.exchange is not None:
            parts += (_SERVED_BY, valued(trail.target.served_by))
        if trail.fields:
            parts.append(_lower(trail.fields))
    parts += (_REQUEST_ID, valued(request_id.encode()))
    return b"".join(parts)


def _may_pass(name: bytes) -> bool:
    return name not in _OURS and not name.startswith((b":", b"grpc-"))


def _lower(fields: Iterable[Field]) -> bytes:
    return encoded((name.lower(), value) for name, value in fields)
