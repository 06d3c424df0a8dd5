"""Content codings: requests unpacked within a limit, replies packed when the caller accepts it."""

import zlib

from gateway.upstream.embedded.messages import Body, Refusal

AUTO_DETECT = 32 + zlib.MAX_WBITS
"""zlib tells gzip from zlib by the first bytes; Triton, too, takes either under either name."""

GZIP = 16 + zlib.MAX_WBITS


def unpacked(body: Body, coding: bytes, limit_bytes: int) -> Body:
    """The body without its content coding. Refuses unknown codings, damaged streams, and more than `limit_bytes`."""
    if coding in (b"", b"identity"):
        return body
    if coding not in (b"gzip", b"deflate"):
        raise Refusal(415, "Unsupported compression type", ((b"Accept-Encoding", b"gzip, deflate"),))
    if not body:
        raise Refusal(400, "nothing to be decompressed")
    stream = zlib.decompressobj(AUTO_DETECT)
    try:
        plain = stream.decompress(body, limit_bytes)
        # Asking for one byte more finds the end of a stream that fills the limit exactly.
        beyond = b"" if stream.eof else stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as fault:
        raise Refusal(400, f"failed to decompress the request: {fault}") from fault
    if beyond:
        raise Refusal(413, f"the decompressed request is larger than {limit_bytes} bytes")
    if not stream.eof:
        raise Refusal(400, "failed to decompress the request: the compressed data ends early")
    if stream.unused_data:
        raise Refusal(400, "failed to decompress the request: data follows the end of the compressed stream")
    return plain


def packed(body: bytes, accept: bytes) -> tuple[bytes, bytes]:
    """The body in the coding that the caller likes best, and that coding's name (empty: left as it is)."""
    coding = preferred_coding(accept) if accept else b""
    if coding == b"gzip":
        stream = zlib.compressobj(wbits=GZIP)
        return stream.compress(body) + stream.flush(), coding
    if coding == b"deflate":
        return zlib.compress(body), coding
    return body, b""


def preferred_coding(accept: bytes) -> bytes:
    """`gzip`, `deflate` or nothing: the highest weight of an Accept-Encoding field, the first of equals."""
    best, best_weight = b"", 0.0
    for entry in accept.lower().split(b","):
        coding, *parameters = (part.strip() for part in entry.split(b";"))
        if coding not in (b"gzip", b"deflate", b"identity"):
            continue
        weight = _weight(parameters)
        if weight > best_weight:
            best, best_weight = coding, weight
    return b"" if best == b"identity" else best


def _weight(parameters: list[bytes]) -> float:
    for parameter in parameters:
        if parameter.startswith(b"q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
