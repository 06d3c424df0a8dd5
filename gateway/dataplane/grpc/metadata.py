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
from gateway.types import Field

Metadata = Iterable[tuple[str, str | bytes]]

_CREDENTIALS = frozenset({"authorization", "x-api-key"})
_KEPT = frozenset({*_CREDENTIALS, "maas-routing-key", "maas-criticality", "x-request-id"})
_TRACE = frozenset({"traceparent", "tracestate"})
# What gRPC says for itself, on each side anew.
_OWN = frozenset({"user-agent", "content-type", "te", "accept-encoding"})
_OWN_PREFIX = "grpc-"
_WITHHELD = frozenset(name.decode() for name in WITHHELD)
_WITHHELD_PREFIXES = tuple(prefix.decode() for prefix in WITHHELD_PREFIXES)


class Head(msgspec.Struct, frozen=True, gc=False):
    """What a call's metadata says. `request_id` is the caller's own, if it sent one of use; `headers` goes on, `trace` aside."""

    credentials: Credentials
    routing_key: bytes | None
    request_id: str | None
    criticality: bytes | None
    trace: TraceContext
    headers: bytes


def read_metadata(metadata: Metadata) -> Head:
    """Understand a call's metadata. Raises BAD_REQUEST for what may stand only once."""
    kept: dict[str, bytes] = {}
    passed: list[bytes] = []
    traced: dict[str, list[bytes]] = {}
    credentials = 0
    for name, text in metadata:
        value = text.encode() if isinstance(text, str) else text
        if name in _KEPT:
            if name in _CREDENTIALS:
                credentials += 1
            elif name in kept:
                raise GatewayError(Kind.BAD_REQUEST, f"The metadata field {name} stands there twice.")
            kept[name] = value
        elif name in _TRACE:
            traced.setdefault(name, []).append(value)
        elif name not in _OWN and not name.startswith(_OWN_PREFIX) and _goes_on(name, value):
            value = b64encode(value) if name.endswith("-bin") else value
            passed += (name.encode(), b": ", value, b"\r\n")
    request_id = kept.get("x-request-id")
    return Head(
        Credentials(kept.get("authorization"), kept.get("x-api-key"), credentials),
        kept.get("maas-routing-key"),
        request_id.decode() if request_id is not None and REQUEST_ID(request_id) else None,
        kept.get("maas-criticality"),
        NO_TRACE
        if not traced
        else read_trace_context(traced.get("traceparent", ()), traced.get("tracestate", ())),
        b"".join(passed),
    )


def _goes_on(name: str, value: bytes) -> bool:
    if name in _WITHHELD or name.startswith(_WITHHELD_PREFIXES):
        return False
    # In the block, such a value would be two fields.
    return name.endswith("-bin") or not (b"\r" in value or b"\n" in value)


def as_metadata(fields: Iterable[Field]) -> list[tuple[str, str]]:
    """Header fields as the metadata of a reply."""
    return [(name.decode().lower(), value.decode()) for name, value in fields]
