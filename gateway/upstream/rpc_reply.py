"""What a server says in reply to a call over gRPC: its head, and how the call ended (gRPC's PROTOCOL-HTTP2, Responses)."""

import re
from typing import Final

import msgspec

from gateway.http2.decode import Head
from gateway.rpc.codes import Status
from gateway.rpc.messages import is_encoding
from gateway.rpc.words import decoded_words
from gateway.upstream.exchange import Headers

HTTP_STATUS: dict[int, int] = {
    Status.CANCELLED: 499,
    Status.UNKNOWN: 500,
    Status.INVALID_ARGUMENT: 400,
    Status.DEADLINE_EXCEEDED: 504,
    Status.NOT_FOUND: 404,
    Status.ALREADY_EXISTS: 409,
    Status.PERMISSION_DENIED: 403,
    Status.RESOURCE_EXHAUSTED: 429,
    Status.FAILED_PRECONDITION: 400,
    Status.ABORTED: 409,
    Status.OUT_OF_RANGE: 400,
    Status.UNIMPLEMENTED: 501,
    Status.INTERNAL: 500,
    Status.UNAVAILABLE: 503,
    Status.DATA_LOSS: 500,
    Status.UNAUTHENTICATED: 401,
}
"""The HTTP status that stands for an error's code in metrics and the access log (google/rpc/code.proto)."""

_CONTENT_TYPE = re.compile(rb"application/grpc([+;].*)?").fullmatch
_TEXT = re.compile(rb"[ -~]*").fullmatch
_GRPC: Final = b"application/grpc"
# What HTTP and gRPC say for themselves, on each side anew.
_OWN: Final = frozenset({b":status", b"content-type", b"content-length", b"accept-encoding", b"trailer"})


class ReplyHead(msgspec.Struct, frozen=True, gc=False):
    """A reply's head. `sound`: it is that of a gRPC reply, by its status and its content type; one that names none may be.

    `fields` are its metadata but for binary ones.
    """

    sound: bool
    encoding: bytes
    fields: Headers


class End(msgspec.Struct, frozen=True, gc=False):
    """How a call ended: its status, and what that says. None where there is no status, or one that is no number."""

    status: int | None
    words: str


def head_of(head: Head) -> ReplyHead:
    """What a head means, which is remembered with it."""
    meaning = head.meaning
    if not isinstance(meaning, ReplyHead):
        meaning = head.meaning = _read_head(head)
    return meaning


def end_of(head: Head) -> End:
    """What trailers, or a head that nothing follows, say of the end."""
    meaning = head.meaning
    if not isinstance(meaning, End):
        meaning = head.meaning = read_end(head)
    return meaning


def _read_head(head: Head) -> ReplyHead:
    fields = dict(head.fields)
    encoding = fields.get(b"grpc-encoding", b"identity")
    sound = (
        not head.too_large
        and fields.get(b":status") == b"200"
        and _CONTENT_TYPE(fields.get(b"content-type", _GRPC)) is not None
        and is_encoding(encoding)
    )
    passed = tuple(
        (name, value)
        for name, value in head.fields
        if name not in _OWN and not name.startswith(b"grpc-") and not name.endswith(b"-bin") and _TEXT(value)
    )
    return ReplyHead(sound, encoding, passed)


def read_end(head: Head) -> End:
    """As `end_of`, of a head that is all there is of a reply: it is an error's, and what it means is not remembered with it."""
    fields = dict(head.fields)
    number = fields.get(b"grpc-status", b"")
    # Longer ones are no codes of anybody's, and take time to read.
    if head.too_large or not number.isdigit() or len(number) > 9:
        return End(None, "")
    status = int(number)
    if status not in HTTP_STATUS and status != Status.OK:
        status = Status.UNKNOWN
    return End(status, decoded_words(fields.get(b"grpc-message", b"")))
