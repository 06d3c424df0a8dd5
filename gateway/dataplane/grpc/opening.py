"""What a call begins with: its method, and what its fields say of it. Clients repeat theirs, which are read once."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from gateway.dataplane.grpc.metadata import Head, read_metadata
from gateway.errors import GatewayError
from gateway.http2.decode import Head as Fields
from gateway.http2.encode import encoded
from gateway.rpc.codes import Status
from gateway.rpc.messages import ACCEPTED, is_encoding
from gateway.rpc.timeout import read_timeout
from gateway.rpc.words import encoded_words

GRPC = (b"content-type", b"application/grpc")
REPLY = encoded([(b":status", b"200"), GRPC, (b"grpc-accept-encoding", ACCEPTED)])
"""What every reply over gRPC begins with."""


class Method(msgspec.Struct, frozen=True, gc=False):
    """A method that is served: by `answer`, which gets the call. `streamed`: several messages may come, or go.

    `named`: it is about a model, and its message is read once its caller is known. `most_bytes` is the largest message.
    """

    path: bytes
    answer: Callable[[Any], Awaitable[None]]
    most_bytes: int
    streamed: bool = False
    named: bool = False


class Opening(msgspec.Struct, frozen=True, gc=False):
    """A call's fields. `refusal` is a whole reply, where there is nothing to serve; `fault` is what is wrong with the metadata."""

    method: Method | None
    head: Head | None
    timeout_s: float | None
    encoding: bytes
    refusal: bytes = b""
    fault: GatewayError | None = None


def read_opening(fields: Fields, methods: Mapping[bytes, Method]) -> Opening:
    """What a request's fields ask for."""
    if fields.too_large:
        return refused(Status.RESOURCE_EXHAUSTED, "The metadata is larger than allowed.")
    pseudo = dict(fields.fields[:4])
    named = dict(fields.fields)
    if pseudo.get(b":method") != b"POST":
        return _refused_by_http(b"405", (b"allow", b"POST"))
    kind = named.get(b"content-type", b"")
    if not (kind == GRPC[1] or kind.startswith((b"application/grpc+", b"application/grpc;"))):
        return _refused_by_http(b"415", (b"accept", GRPC[1]))
    method = methods.get(pseudo[b":path"])
    if method is None:
        return refused(Status.UNIMPLEMENTED, "There is no such method here.")
    encoding = named.get(b"grpc-encoding", b"identity")
    if not is_encoding(encoding):
        return refused(Status.UNIMPLEMENTED, "Messages that are compressed so cannot be read.")
    timeout_s = None
    if b"grpc-timeout" in named:
        timeout_s = read_timeout(named[b"grpc-timeout"])
        if timeout_s is None:
            return refused(Status.INVALID_ARGUMENT, "The grpc-timeout is no time.")
    try:
        return Opening(method, read_metadata(fields.fields), timeout_s, encoding)
    except GatewayError as fault:
        fault.let_go()
        return Opening(method, None, timeout_s, encoding, fault=fault)


def refused(status: Status, words: str) -> Opening:
    """A call that ends at once, before anybody looked who makes it."""
    end = encoded([(b"grpc-status", b"%d" % status), (b"grpc-message", encoded_words(words))])
    return Opening(None, None, None, b"", REPLY + end)


def _refused_by_http(status: bytes, *fields: tuple[bytes, bytes]) -> Opening:
    """What speaks no gRPC is told so in HTTP's own words."""
    return Opening(None, None, None, b"", encoded([(b":status", status), (b"content-length", b"0"), *fields]))
