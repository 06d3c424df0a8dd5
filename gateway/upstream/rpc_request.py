"""A call's request as it goes to Triton over gRPC: its header block, and its message in pieces that nobody copies."""

from functools import lru_cache

from gateway.http2.encode import encoded, named, valued
from gateway.rpc.messages import ACCEPTED, prefix
from gateway.rpc.timeout import written_timeout
from gateway.types import RPC_METHODS, OperationName, Target
from gateway.wire import written

_SERVICE = b"/inference.GRPCInferenceService/"
_TIMEOUT = named(b"grpc-timeout")
_SMALL_BYTES = 8 * 1024
_MOST_KNOWN = 1024


def openings(authority: bytes) -> dict[OperationName, bytes]:
    """What the block of each operation begins with, at this server."""
    return {
        name: encoded(
            (
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", _SERVICE + method.encode()),
                (b":authority", authority),
                (b"content-type", b"application/grpc"),
                (b"te", b"trailers"),
                (b"user-agent", b"maas"),
                (b"grpc-accept-encoding", ACCEPTED),
            )
        )
        for name, method in RPC_METHODS.items()
    }


def block_of(opening: bytes, fields: bytes, timeout_s: float) -> bytes:
    """The whole block: behind the opening the caller's time, and an exchange's `fields`, whose names come to be in lower case.

    Binary fields (`-bin`) are in base64 there, as on the wire, where they go without padding.
    """
    parts = [opening, _TIMEOUT, valued(written_timeout(timeout_s))]
    for line in fields.split(b"\r\n"):
        name, separator, value = line.partition(b": ")
        if separator:
            name = name.lower()
            parts += (_name(name), valued(value.rstrip(b"=") if name.endswith(b"-bin") else value))
    return b"".join(parts)


_name = lru_cache(_MOST_KNOWN)(named)


@lru_cache(_MOST_KNOWN)
def _pin(model: str, version: int) -> bytes:
    return written(1, model) + written(2, str(version))


def pin(target: Target) -> bytes:
    """What stands behind a request about a model: the target's name and version. Of what stands there twice the last one counts."""
    return _pin(target.model, target.version)


def pieces_of(message: bytes, target: Target) -> tuple[bytes, ...]:
    """The pinned message with its prefix; a large one is not copied for it."""
    behind = pin(target)
    head = prefix(len(message) + len(behind))
    return (head + message + behind,) if len(message) < _SMALL_BYTES else (head, message, behind)
