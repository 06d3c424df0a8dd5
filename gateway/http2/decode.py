"""Header blocks, read (RFC 7541).

Clients repeat themselves: a block that changed nothing of the dynamic table means the same as long as nothing else has changed it, so
what it meant is remembered.
"""

from gateway.http2.codes import Code
from gateway.http2.faults import ConnectionFault, StreamFault
from gateway.http2.fields import NO_LENGTH, Field, Judge, is_sound
from gateway.http2.huffman import decoded
from gateway.http2.static_table import FIRST_DYNAMIC, STATIC

TABLE_BYTES = 4096
"""The size of the dynamic table, as it is where nobody says otherwise (RFC 9113 section 6.5.2)."""
FIELD_BYTES = 32
"""What a field counts beside its name and value (RFC 7541 section 4.1)."""
_MOST_SHIFT = 28
_MOST_KNOWN, _LONGEST_KNOWN = 64, 1024


class Head:
    """A list of fields, in order, pseudo-fields first. Blocks that are alike give the same object while that can be.

    `fault` is why it is malformed, if it is; `too_large` says that it is longer than allowed, and was cut off there. `length` is
    the `content-length`, `NO_LENGTH` where it has none. `meaning` is for whoever reads it: None at first, and then what it
    made of these fields.
    """

    __slots__ = ("fault", "fields", "length", "meaning", "too_large")

    def __init__(self, fields: tuple[Field, ...], *, too_large: bool = False) -> None:
        self.fields = fields
        self.meaning: object = None
        self.too_large = too_large
        self.fault: StreamFault | None = None
        self.length = NO_LENGTH


class Decoder:
    """One connection's memory of the fields that it was sent. `most_list_bytes` bounds a list, as RFC 9113 section 6.5.2 counts it."""

    __slots__ = ("_known", "_limit", "_most_list_bytes", "_size", "_table", "_unsound")

    def __init__(self, most_list_bytes: int) -> None:
        self._most_list_bytes = most_list_bytes
        self._table: list[Field] = []
        self._size = 0
        self._limit = TABLE_BYTES
        # Whether a field that may not be was put into the table: then all are looked at each time.
        self._unsound = False
        self._known: dict[bytes, tuple[Judge, Head]] = {}

    def decode(self, block: bytes, judge: Judge) -> Head:
        """The fields of a block, judged. Raises `ConnectionFault` (COMPRESSION_ERROR) when it cannot be read."""
        known = self._known.get(block)
        if known is not None and known[0] is judge:
            return known[1]
        try:
            fields, list_bytes, unsound, changed = self._read(block)
        except IndexError:
            raise ConnectionFault(
                Code.COMPRESSION_ERROR, "a block that ends within a field, or a field that is not there"
            ) from None
        head = Head(tuple(fields), too_large=list_bytes > self._most_list_bytes)
        if unsound or (self._unsound and not all(is_sound(*field) for field in fields)):
            head.fault = StreamFault(Code.PROTOCOL_ERROR, "a field that may not be")
        else:
            try:
                head.length = judge(head.fields)
            except StreamFault as fault:
                head.fault = fault.with_traceback(None)
        if changed:
            self._known.clear()
        elif len(block) <= _LONGEST_KNOWN:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[block] = judge, head
        return head

    def _read(self, block: bytes) -> tuple[list[Field], int, bool, bool]:
        """The fields, what they count together, whether one may not be, and whether the table has changed.

        Raises `IndexError` behind the end of the block, and of the table.
        """
        fields: list[Field] = []
        at, end = 0, len(block)
        list_bytes, most = 0, self._most_list_bytes
        unsound = changed = False
        table = self._table
        while at < end:
            first = block[at]
            at += 1
            if first & 0x80:
                number = first & 0x7F
                if number == 0x7F:
                    number, at = _integer(block, at, 0x7F)
                if not number:
                    raise IndexError
                field = STATIC[number] if number < FIRST_DYNAMIC else table[number - FIRST_DYNAMIC]
            elif first & 0xE0 == 0x20:
                if list_bytes:
                    raise ConnectionFault(
                        Code.COMPRESSION_ERROR, "a change of the table's size behind a field"
                    )
                size, at = _integer(block, at, 0x1F) if first == 0x3F else (first & 0x1F, at)
                self._resize(size)
                changed = True
                continue
            else:
                indexed = first & 0x40
                mask = 0x3F if indexed else 0x0F
                number = first & mask
                if number == mask:
                    number, at = _integer(block, at, mask)
                if not number:
                    name, at = _string(block, at)
                else:
                    name = (STATIC[number] if number < FIRST_DYNAMIC else table[number - FIRST_DYNAMIC])[0]
                value, at = _string(block, at)
                field = name, value
                sound = is_sound(name, value)
                unsound |= not sound
                if indexed:
                    self._unsound |= not sound
                    self._add(field)
                    changed = True
            list_bytes += len(field[0]) + len(field[1]) + FIELD_BYTES
            if list_bytes <= most:
                fields.append(field)
        return fields, list_bytes, unsound, changed

    def _add(self, field: Field) -> None:
        self._size += len(field[0]) + len(field[1]) + FIELD_BYTES
        self._table.insert(0, field)
        self._evict()

    def _resize(self, size: int) -> None:
        if size > TABLE_BYTES:
            raise ConnectionFault(Code.COMPRESSION_ERROR, "a table that is larger than allowed")
        self._limit = size
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            name, value = self._table.pop()
            self._size -= len(name) + len(value) + FIELD_BYTES


def _integer(block: bytes, at: int, number: int) -> tuple[int, int]:
    """A number that goes on behind its prefix, which is full (section 5.1), and where it ends."""
    shift = 0
    while True:
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if not byte & 0x80:
            return number, at
        shift += 7
        if shift > _MOST_SHIFT:
            raise ConnectionFault(Code.COMPRESSION_ERROR, "a number that is too large")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """A string (section 5.2), and where it ends."""
    first = block[at]
    at += 1
    length = first & 0x7F
    if length == 0x7F:
        length, at = _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise IndexError
    data = block[at:end]
    return (decoded(data) if first & 0x80 else data), end
