"""What must be seen of an inference request's body: that its JSON names no shared-memory region, and no sequence that would go
unseen, and how large it is.

The body itself passes untouched. Only its JSON part is searched, in one pass as it arrives; a compressed body is
decompressed for the search, and its size bounded, while the compressed bytes are what passes.
"""

import re
import zlib
from collections.abc import Callable

import msgspec

from gateway.dataplane.http.head import too_large
from gateway.errors import GatewayError, Kind
from gateway.upstream.exchange import SEEN_BYTES

_BACKSLASH, _ESCAPE = b"\\", b"\\u00"
_STEP_BYTES = 256 * 1024


def has_escapes(text: bytes) -> bool:
    """Whether JSON text has an escape of a letter in it. One byte is looked for first: that is several times as fast."""
    return _BACKSLASH in text and _ESCAPE in text


class Key(msgspec.Struct, frozen=True):
    """A key that may not stand there, in all its spellings, and what is said where it does."""

    word: bytes
    spelled: re.Pattern[bytes]
    refusal: Callable[[], GatewayError]


class KeySearch:
    """Searches JSON text that arrives in pieces for any of `keys`."""

    __slots__ = ("_keys", "_longest_bytes", "_tail")

    def __init__(self, *keys: Key) -> None:
        self._keys = keys
        self._longest_bytes = max(len(key.word) for key in keys) * 6 + 1
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Search the next piece. Raises the key's refusal when one is there."""
        text = self._tail + data if self._tail else data
        self._tail = text[-self._longest_bytes :]
        escaped = has_escapes(text)
        for key in self._keys:
            if escaped or key.word in text:
                self._look(key, text)

    def _look(self, key: Key, text: bytes) -> None:
        for match in key.spelled.finditer(text):
            if match.group(1):
                raise key.refusal()
            if match.end() == len(text):
                # The word is whole and its colon, if one comes, is still to arrive.
                self._tail = key.word + b'"'


def _spelled(word: bytes) -> re.Pattern[bytes]:
    # Any character of a JSON string may also be written as a \u escape (RFC 8259 section 7).
    return re.compile(
        b"".join(b"(?:%c|\\\\u00(?i:%02x))" % (char, char) for char in word) + rb'"[ \t\r\n]*(:?)'
    )


def _region() -> GatewayError:
    return GatewayError(
        Kind.BAD_REQUEST,
        "The request names a shared-memory region; send the tensors themselves.",
        close=True,
    )


def late_sequence() -> GatewayError:
    """A sequence that was named too late to be followed."""
    return GatewayError(
        Kind.BAD_REQUEST,
        f"The request names a sequence behind the first {SEEN_BYTES // 1024} KiB of JSON; put its parameters before its inputs, "
        "or send its tensors in binary form.",
        close=True,
    )


def unreadable_sequence() -> GatewayError:
    """A sequence named in what is no JSON here, whatever it is to others."""
    return GatewayError(
        Kind.BAD_REQUEST,
        "The request names a sequence, and its JSON cannot be read: it must be one object (RFC 8259) in UTF-8.",
    )


REGION = Key(b"shared_memory_region", _spelled(b"shared_memory_region"), _region)
SEQUENCE = Key(b"sequence_id", _spelled(b"sequence_id"), late_sequence)
_FLAGS = (b'"sequence_start"', b'"sequence_end"')
"""With their quotation marks, for tensors have names that begin so."""


def search_whole(text: bytes) -> None:
    """Search JSON text that is whole. Raises BAD_REQUEST when it names a shared-memory region."""
    if REGION.word in text or (_BACKSLASH in text and _ESCAPE in text):
        KeySearch(REGION).feed(text)


def search_unread(text: bytes) -> None:
    """As `search_whole`, where it has not been read which sequence the text names: then it may name none."""
    KeySearch(REGION, SEQUENCE).feed(text)


def may_name_sequence(text: bytes) -> bool:
    """Whether JSON text, or a part of it, has the name of a parameter of sequences in it, or an escape that may hide it."""
    if b"sequence_" in text and (SEQUENCE.word in text or any(flag in text for flag in _FLAGS)):
        return True
    return has_escapes(text)


def names_sequence(text: bytes) -> bool:
    """Whether a JSON parser may see a key `sequence_id` in the text."""
    return any(match.group(1) for match in SEQUENCE.spelled.finditer(text))


class BodyInspector:
    """Looks at one body of an `infer` call. `json_bytes` is how much of it is JSON; None: all.

    A sequence may stand in it only where it was read already (`sequence_read`).
    """

    def __init__(
        self, encoding: bytes, json_bytes: int | None, max_body_bytes: int, *, sequence_read: bool = False
    ) -> None:
        self._search = KeySearch(REGION) if sequence_read else KeySearch(REGION, SEQUENCE)
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
