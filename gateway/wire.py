"""Protobuf's wire format (https://protobuf.dev/programming-guides/encoding/): messages looked at, and added to, without a schema.

A message is a row of fields, each behind its tag: the field's number, and how its value is written. Of a field that stands
there twice a parser keeps the last value, which is why a message can be changed by adding to its end.
"""

from collections.abc import Iterable, Iterator

Value = int | memoryview

VARINT, FIXED_64, LENGTH, FIXED_32 = 0, 1, 2, 5

MOST_FIELDS = 20_000
"""In one message and those within it that are looked at: some 10 ms. A request has a few for each of its tensors."""

_MOST_VARINT_BYTES = 10
_MOST_TAG = 2**32 - 1
_MOST_BYTES = 2**31 - 1


class Malformed(ValueError):
    """These bytes are no protobuf message, or one with more fields than anybody needs."""


class Scan:
    """Reads one message and the messages within it, at most `most_fields` altogether, so that no message takes long."""

    __slots__ = ("_left",)

    def __init__(self, most_fields: int = MOST_FIELDS) -> None:
        self._left = most_fields

    def fields(self, message: memoryview) -> Iterator[tuple[int, Value]]:
        """Each field's tag and value: of a varint the number as unsigned 64 bits, else the bytes, not copied.

        Raises `Malformed`. Groups, which were deprecated before this protocol began, are refused.
        """
        at, end = 0, len(message)
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise Malformed("it has too many fields")
            tag = message[at]
            at += 1
            if tag > 0x7F:
                tag, at = _varint(message, at - 1)
            kind = tag & 7
            if tag < 8 or tag > _MOST_TAG:
                raise Malformed("a field has no number")
            if kind == VARINT:
                number, at = _varint(message, at)
                yield tag, number
                continue
            if kind == LENGTH:
                size, at = _varint(message, at)
            elif kind == FIXED_64:
                size = 8
            elif kind == FIXED_32:
                size = 4
            else:
                raise Malformed("a field is of no known kind")
            start, at = at, at + size
            if at > end or size > _MOST_BYTES:
                raise Malformed("it is cut short")
            yield tag, message[start:at]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at `at`, its lowest 64 bits, and where it ends."""
    try:
        byte = message[at]
        if byte < 0x80:
            return byte, at + 1
        number, shift = byte & 0x7F, 7
        for place in range(at + 1, at + _MOST_VARINT_BYTES):
            byte = message[place]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number & 0xFFFF_FFFF_FFFF_FFFF, place + 1
            shift += 7
    except IndexError:
        raise Malformed("it is cut short") from None
    raise Malformed("a number is too long")


def tag_of(number: int, kind: int = LENGTH) -> int:
    """The tag of field `number` whose value is written as `kind`."""
    return number << 3 | kind


def first_number(value: Value) -> int | None:
    """The first of repeated numbers, packed or not; None where there is none. Raises `Malformed`."""
    if isinstance(value, int):
        return value
    return _varint(value, 0)[0] if len(value) else None


def numbers(value: Value) -> Iterator[int]:
    """Repeated numbers, packed or not, as unsigned 64 bits. Raises `Malformed`."""
    if isinstance(value, int):
        yield value
        return
    at, end = 0, len(value)
    while at < end:
        number, at = _varint(value, at)
        yield number


def signed(number: int) -> int:
    """A number of 64 bits as protobuf's int64."""
    return number - 2**64 if number >= 2**63 else number


def text_of(value: Value) -> str:
    """A string. Raises `Malformed` for what is no UTF-8."""
    try:
        return bytes(value).decode() if isinstance(value, memoryview) else ""
    except UnicodeDecodeError as error:
        raise Malformed("a name is no UTF-8") from error


def varint(number: int) -> bytes:
    """A number from 0 to 2**64 - 1 as it is written."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def written(number: int, value: bytes | str | int) -> bytes:
    """Field `number` with this value: bytes, a text or a message that is written already, or a number of 0 or more."""
    if isinstance(value, int):
        return varint(tag_of(number, VARINT)) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(tag_of(number)) + varint(len(data)) + data


def written_all(number: int, values: Iterable[bytes | str]) -> bytes:
    """Repeated field `number` with these values."""
    return b"".join([written(number, value) for value in values])
