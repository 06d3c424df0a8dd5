"""What must be seen of an inference request's body: that its JSON names no shared-memory region, and how large it is.

The body itself passes untouched. Only its JSON part is searched, in one pass as it arrives; a compressed body is
decompressed for the search, and its size bounded, while the compressed bytes are what passes.
"""

import re
import zlib

from gateway.dataplane.http.head import too_large
from gateway.errors import GatewayError, Kind

_WORD = b"shared_memory_region"
# Any character of a JSON string may also be written as a \u escape (RFC 8259 section 7).
_SPELLED = re.compile(
    b"".join(b"(?:%c|\\\\u00(?i:%02x))" % (char, char) for char in _WORD) + rb'"[ \t\r\n]*(:?)'
)
_LONGEST_BYTES = len(_WORD) * 6 + 1
_ESCAPES = b"\\u00"
_STEP_BYTES = 256 * 1024


class RegionSearch:
    """Searches JSON text that arrives in pieces for a key `shared_memory_region`."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Search the next piece. Raises BAD_REQUEST when the key is there."""
        text = self._tail + data if self._tail else data
        if _WORD in text or _ESCAPES in text:
            for match in _SPELLED.finditer(text):
                if match.group(1):
                    raise GatewayError(
                        Kind.BAD_REQUEST,
                        "The request names a shared-memory region; send the tensors themselves.",
                        close=True,
                    )
                if match.end() == len(text):
                    # The word is whole and its colon, if one comes, is still to arrive.
                    self._tail = _WORD + b'"'
                    return
        self._tail = text[-_LONGEST_BYTES:]


def search_whole(text: bytes) -> None:
    """Search JSON text that is whole. Raises BAD_REQUEST when it names a shared-memory region."""
    if _WORD in text or _ESCAPES in text:
        RegionSearch().feed(text)


class BodyInspector:
    """Looks at one body of an `infer` call. `json_bytes` is how much of it is JSON; None: all."""

    def __init__(self, encoding: bytes, json_bytes: int | None, max_body_bytes: int) -> None:
        self._search = RegionSearch()
        self._json_left = json_bytes
        self._max = max_body_bytes
        self._seen = 0
        # 32 + 15: zlib and gzip formats are told apart by their headers (zlib manual, inflateInit2).
        self._decompressor = zlib.decompressobj(47) if encoding else None

    def feed(self, data: bytes | memoryview) -> None:
        """Look at the next bytes. Raises BAD_REQUEST, or TOO_LARGE for a body that grows beyond its limit."""
        if self._decompressor is None:
            self._look(data)
            return
        while data:
            try:
                plain = self._decompressor.decompress(data, _STEP_BYTES)
            except zlib.error as error:
                raise GatewayError(
                    Kind.BAD_REQUEST, "The body is not compressed as Content-Encoding says.", close=True
                ) from error
            self._seen += len(plain)
            if self._seen > self._max:
                raise too_large(self._max)
            self._look(plain)
            data = self._decompressor.unconsumed_tail
            if self._decompressor.eof and (data or self._decompressor.unused_data):
                raise GatewayError(
                    Kind.BAD_REQUEST, "The body goes on behind its compressed part.", close=True
                )

    def _look(self, data: bytes | memoryview) -> None:
        if self._json_left is not None:
            data, self._json_left = data[: self._json_left], max(0, self._json_left - len(data))
        if data:
            self._search.feed(bytes(data))
