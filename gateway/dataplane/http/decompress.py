"""Bodies that are needed whole, as they were before they were compressed."""

import zlib

from gateway.dataplane.http.head import too_large
from gateway.errors import GatewayError, Kind


def decompressed(data: bytes, most_bytes: int) -> bytes:
    """The plain bytes of what is compressed with gzip or deflate. Raises BAD_REQUEST, and TOO_LARGE for more than so many."""
    # 32 + 15: zlib and gzip formats are told apart by their headers (zlib manual, inflateInit2).
    stream = zlib.decompressobj(47)
    try:
        plain = stream.decompress(data, most_bytes)
    except zlib.error as error:
        raise _not_compressed() from error
    if stream.unconsumed_tail:
        raise too_large(most_bytes)
    if not stream.eof or stream.unused_data:
        raise _not_compressed()
    return plain


def _not_compressed() -> GatewayError:
    return GatewayError(Kind.BAD_REQUEST, "The body is not compressed as Content-Encoding says.")
