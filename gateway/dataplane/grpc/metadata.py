"""What a call's metadata means to the gateway, and which of it goes on to Triton: the same fields as over HTTP.

Where a field may stand only once, a second one is refused. What goes on is written as the block that an exchange carries; the
values of binary fields (`-bin`) are in base64 there, as on the wire.
"""

from base64 import b64encode
from collections.abc import Iterable

import msgspec

from gateway.dataplane.call import Credentials
from gateway.dataplane.http.head import REQUEST_ID
from gateway.dataplane.withheld import WITHHELD, WITHHELD_PREFIXES
from gateway.errors import GatewayError, Kind
from gateway.observe.trace_context import NO_TRACE, TraceContext, read_trace_context
from gateway.rpc.words import decoded_binary
from gateway.types import Field

_CREDENTIALS = frozenset({b"authorization", b"x-api-key"})
_KEPT = frozenset({*_CREDENTIALS, b"maas-routing-key", b"maas-criticality", b"x-request-id"})
_TRACE = frozenset({b"traceparent", b"tracestate"})
# What gRPC says for itself, and HTTP/2 for it, on each side anew.
_OWN = frozenset({b"user-agent", b"content-type", b"content-length", b"te", b"accept-encoding", b"host"})
_OWN_PREFIXES = (b"grpc-", b":")


class Head(msgspec.Struct, frozen=True, gc=False):
    """What a call's metadata says. `request_id` is the caller's own, if it sent one of use; `headers` goes on, `trace` aside.

    `real_status`: an error is to end a stream with its status, as of Triton, where it would be a message.
    """

    credentials: Credentials
    routing_key: bytes | None
    request_id: str | None
    criticality: bytes | None
    trace: TraceContext
    headers: bytes
    real_status: bool = False


_REAL_STATUS = (b"triton_grpc_error", b"true")


def read_metadata(fields: Iterable[Field]) -> Head:
    """Understand a call's fields. Raises BAD_REQUEST for what may stand only once, and for binary metadata that is none."""
    kept: dict[bytes, bytes] = {}
    passed: list[bytes] = []
    traced: dict[bytes, list[bytes]] = {}
    credentials = 0
    real_status = False
    for name, value in fields:
        if name in _KEPT:
            if name in _CREDENTIALS:
                credentials += 1
            elif name in kept:
                raise _refused(f"The metadata field {name.decode()} stands there twice.")
            kept[name] = value
        elif name in _TRACE:
            traced.setdefault(name, []).append(value)
        elif (
            name in _OWN
            or name.startswith(_OWN_PREFIXES)
            or name in WITHHELD
            or name.startswith(WITHHELD_PREFIXES)
        ):
            continue
        elif name.endswith(b"-bin"):
            passed += _binary(name, value)
        else:
            real_status = real_status or (name, value) == _REAL_STATUS
            passed += (name, b": ", _text(name, value), b"\r\n")
    request_id = kept.get(b"x-request-id")
    return Head(
        Credentials(kept.get(b"authorization"), kept.get(b"x-api-key"), credentials),
        kept.get(b"maas-routing-key"),
        request_id.decode() if request_id is not None and REQUEST_ID(request_id) else None,
        kept.get(b"maas-criticality"),
        NO_TRACE
        if not traced
        else read_trace_context(traced.get(b"traceparent", ()), traced.get(b"tracestate", ())),
        b"".join(passed),
        real_status,
    )


def _text(name: bytes, value: bytes) -> bytes:
    """PROTOCOL-HTTP2, ASCII-Value."""
    if not value.isascii() or any(byte < 0x20 or byte == 0x7F for byte in value):
        raise _refused(
            f"The metadata field {name.decode()} is no text; binary ones have a name that ends in -bin."
        )
    return value


def _binary(name: bytes, value: bytes) -> list[bytes]:
    """Several values may be joined by commas."""
    found: list[bytes] = []
    try:
        for each in value.split(b","):
            found += (name, b": ", b64encode(decoded_binary(each)), b"\r\n")
    except ValueError as error:
        raise _refused(f"The metadata field {name.decode()} is no base64.") from error
    return found


def _refused(words: str) -> GatewayError:
    return GatewayError(Kind.BAD_REQUEST, words)
