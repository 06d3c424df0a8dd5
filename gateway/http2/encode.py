"""Header blocks, written (RFC 7541) without a memory: what stands in the static table by its number, all else as literals that
are not indexed. So a block, or a part of one, can be written once and sent on any connection.
"""

from collections.abc import Iterable

from gateway.http2.fields import Field
from gateway.http2.static_table import STATIC

_NUMBERS: dict[Field, int] = {field: number for number, field in enumerate(STATIC) if number}
_NAMES: dict[bytes, int] = {field[0]: number for number, field in reversed([*enumerate(STATIC)][1:])}

NO_TABLE = b"\x20"
"""Says that there is no dynamic table (section 6.3). It may stand at the beginning of a block alone."""


def encoded(fields: Iterable[Field]) -> bytes:
    """The block of these fields; names are in lower case already. Blocks may be joined."""
    return b"".join([_field(field) for field in fields])


def named(name: bytes) -> bytes:
    """The part of a field that says its name; the other is `valued`. Together they are a block."""
    number = _NAMES.get(name)
    return b"\x00" + valued(name) if number is None else _integer(number, 0x0F, 0x00)


def valued(value: bytes) -> bytes:
    """The part of a field that says its value."""
    length = len(value)
    return (bytes((length,)) if length < 0x7F else _integer(length, 0x7F, 0x00)) + value


def _field(field: Field) -> bytes:
    number = _NUMBERS.get(field)
    return named(field[0]) + valued(field[1]) if number is None else bytes((0x80 | number,))


def _integer(number: int, prefix: int, first: int) -> bytes:
    """A number whose prefix is so many ones wide, in a byte that begins with `first` (section 5.1)."""
    if number < prefix:
        return bytes((first | number,))
    out = bytearray((first | prefix,))
    number -= prefix
    while number >= 0x80:
        out.append(0x80 | number & 0x7F)
        number >>= 7
    out.append(number)
    return bytes(out)
