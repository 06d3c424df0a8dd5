"""What a request's header fields mean to the gateway, and which of them go on to Triton.

httptools (llhttp) has already refused what is no HTTP: bare line feeds, folded lines, spaces before a colon, two
lengths, a length beside a transfer coding, bad characters. Checked here: Host, transfer codings, expectations, what
may stand only once, and the lengths and codings of a body. Never passed on: hop-by-hop fields, credentials, and the
fields by which a caller could pretend to be a proxy or the gateway.
"""

import re

import msgspec

from gateway.dataplane.call import Credentials
from gateway.dataplane.withheld import WITHHELD, WITHHELD_PREFIXES
from gateway.errors import GatewayError, Kind
from gateway.observe.trace_context import NO_TRACE, TraceContext, read_trace_context

Fields = list[tuple[bytes, bytes]]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
_LENGTH = re.compile(rb"[0-9]{1,11}")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")

# What happens to a field: it is dropped, passed on, kept for the gateway (a credential is counted), or both; what names
# the caller's trace is read first.
_DROP, _PASS, _KEEP, _CREDENTIAL, _KEEP_AND_PASS, _TRACE = range(6)
_FIELDS: dict[bytes, int] = {
    b"host": _KEEP,
    b"content-length": _KEEP,
    b"transfer-encoding": _KEEP,
    b"connection": _KEEP,
    b"expect": _KEEP,
    b"upgrade": _KEEP,
    b"authorization": _CREDENTIAL,
    b"x-api-key": _CREDENTIAL,
    b"maas-routing-key": _KEEP,
    b"maas-criticality": _KEEP,
    b"x-request-id": _KEEP,
    b"content-encoding": _KEEP_AND_PASS,
    b"inference-header-content-length": _KEEP_AND_PASS,
    b"traceparent": _TRACE,
    b"tracestate": _TRACE,
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"te": _DROP,
    b"trailer": _DROP,
    b"http2-settings": _DROP,
    **dict.fromkeys(WITHHELD, _DROP),
}
_NEEDED = frozenset(
    name for name, fate in _FIELDS.items() if fate in (_KEEP, _CREDENTIAL, _KEEP_AND_PASS)
) - {b"connection", b"upgrade"}

# Clients spell a field the same way each time, so its fate is found without lower-casing it again.
_KNOWN_SPELLINGS: dict[bytes, tuple[bytes, int]] = {}
_MOST_SPELLINGS = 1024
_LONGEST_SPELLING_BYTES = 64


def _fate(name: bytes) -> tuple[bytes, int]:
    lower = name.lower()
    fate = _FIELDS.get(lower, _DROP if lower.startswith(WITHHELD_PREFIXES) else _PASS)
    if len(_KNOWN_SPELLINGS) < _MOST_SPELLINGS and len(name) <= _LONGEST_SPELLING_BYTES:
        _KNOWN_SPELLINGS[name] = (lower, fate)
    return lower, fate


class Head(msgspec.Struct, frozen=True, gc=False):
    """What a request's fields say. `length` is the body's in bytes, None when chunked; `json_bytes` as the caller
    declares it; `request_id` the caller's own, if it sent one of use. `headers` is what goes on to Triton, `trace` aside.
    """

    credentials: Credentials
    routing_key: bytes | None
    request_id: str | None
    trace: TraceContext
    headers: bytes
    length: int | None
    expects_continue: bool
    content_encoding: bytes
    json_bytes: int | None
    criticality: bytes | None


def read_head(fields: Fields, http_11: bool, max_body_bytes: int) -> Head:
    """Understand a head. Raises `GatewayError`; `close` is set where the connection cannot be trusted to go on."""
    kept: dict[bytes, bytes] = {}
    passed: list[bytes] = []
    traced: dict[bytes, list[bytes]] = {}
    credentials = 0
    for name, value in fields:
        lower, fate = _KNOWN_SPELLINGS.get(name) or _fate(name)
        if fate == _PASS:
            passed += (name, b": ", value, b"\r\n")
        elif fate == _TRACE:
            traced.setdefault(lower, []).append(value)
        elif fate != _DROP:
            if fate == _CREDENTIAL:
                credentials += 1
            elif lower in kept:
                raise _refuse(Kind.BAD_REQUEST, f"The field {lower.decode()} stands there twice.")
            kept[lower] = value
            if fate == _KEEP_AND_PASS:
                passed += (name, b": ", value, b"\r\n")
    get = kept.get
    if b"connection" in kept:
        passed = _without_hops(passed, kept[b"connection"])
    length = _framing(kept, http_11, max_body_bytes)
    request_id = get(b"x-request-id")
    if request_id is not None and not REQUEST_ID(request_id):
        request_id = None
    encoding = get(b"content-encoding", b"").lower()
    encoding = b"" if encoding == b"identity" else encoding
    if encoding not in (b"", b"gzip", b"deflate"):
        raise GatewayError(Kind.UNSUPPORTED_MEDIA, "Content-Encoding may be gzip, deflate or identity.")
    return Head(
        Credentials(get(b"authorization"), get(b"x-api-key"), credentials),
        get(b"maas-routing-key"),
        None if request_id is None else request_id.decode(),
        NO_TRACE
        if not traced
        else read_trace_context(traced.get(b"traceparent", ()), traced.get(b"tracestate", ())),
        b"".join(passed),
        length,
        b"expect" in kept,
        encoding,
        _json_bytes(get(b"inference-header-content-length"), length, encoding),
        get(b"maas-criticality"),
    )


def _without_hops(passed: list[bytes], connection: bytes) -> list[bytes]:
    """Drop the fields that the caller names as meant for this hop alone (RFC 9110 section 7.6.1)."""
    named = {option.strip().lower() for option in connection.split(b",")}
    if named & _NEEDED:
        raise _refuse(
            Kind.BAD_REQUEST, "The Connection field names a field that the request cannot be without."
        )
    fields = [passed[start : start + 4] for start in range(0, len(passed), 4)]
    return [part for field in fields if field[0].lower() not in named for part in field]


def _framing(kept: dict[bytes, bytes], http_11: bool, max_body_bytes: int) -> int | None:
    host = kept.get(b"host")
    if (host is None and http_11) or (host is not None and not _HOST.fullmatch(host)):
        raise _refuse(Kind.BAD_REQUEST, "The request needs one Host field that names a host.")
    if b"expect" in kept and (kept[b"expect"].lower() != b"100-continue" or not http_11):
        raise _refuse(Kind.EXPECTATION_FAILED, "The only expectation understood is 100-continue.")
    coding = kept.get(b"transfer-encoding")
    if coding is not None:
        if coding.lower() != b"chunked" or not http_11:
            raise _refuse(
                Kind.NOT_IMPLEMENTED, "The only transfer coding understood is chunked, over HTTP/1.1."
            )
        if b"upgrade" in kept:
            # The parser leaves off behind such a head, and only a length tells where the next one begins.
            raise _refuse(
                Kind.NOT_IMPLEMENTED,
                "This port upgrades to no other protocol; ask for none with a chunked body.",
            )
        return None
    length = int(kept.get(b"content-length", b"0"))
    if length > max_body_bytes:
        raise too_large(max_body_bytes)
    return length


def _json_bytes(text: bytes | None, length: int | None, encoding: bytes) -> int | None:
    if text is None:
        return None
    if not _LENGTH.fullmatch(text):
        raise GatewayError(
            Kind.BAD_REQUEST, "Inference-Header-Content-Length must be a whole number of bytes."
        )
    json_bytes = int(text)
    # Of a compressed body the field counts the bytes after decompression.
    if length is not None and not encoding and json_bytes > length:
        raise json_part_too_long(json_bytes, length)
    return json_bytes


def json_part_too_long(json_bytes: int, body_bytes: int) -> GatewayError:
    """The JSON part is declared to be longer than the body."""
    detail = f"Inference-Header-Content-Length is {json_bytes}, but the body has {body_bytes} bytes."
    return GatewayError(Kind.BAD_REQUEST, detail)


def too_large(max_body_bytes: int) -> GatewayError:
    """The body is over the limit; the connection is closed, since the rest of it is not read."""
    return _refuse(
        Kind.TOO_LARGE, f"The body may have {max_body_bytes} bytes at most, also when decompressed."
    )


def _refuse(kind: Kind, detail: str) -> GatewayError:
    return GatewayError(kind, detail, close=True)
