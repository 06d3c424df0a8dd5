"""RFC 7541: what cannot be decoded ends the connection with COMPRESSION_ERROR; what can be, is."""

from tests.http2.case import Answers, Case, Ends, case
from tests.http2.wire import END_HEADERS, FIELDS, Code, block, data, headers, integer, text

WHOLE = block(*FIELDS)
LOST = Ends(Code.COMPRESSION_ERROR)


def asked(fields: bytes) -> bytes:
    """A request with this block."""
    return headers(1, fields, END_HEADERS) + data(1)


def wrong(section: str, what: str, *fields: bytes) -> Case:
    """Such a block cannot be decoded."""
    return case(f"7541 {section}", what, asked(b"".join(fields)), LOST)


def right(section: str, what: str, *fields: bytes) -> Case:
    """Such a block can be."""
    return case(f"7541 {section}", what, asked(b"".join(fields)), Answers())


def huffman(*octets: int) -> bytes:
    """A field whose value is coded by Huffman's code, as these octets."""
    return b"\0" + text(b"x") + integer(len(octets), 7, 0x80) + bytes(octets)


NEW = b"\x40" + text(b"x-new") + text(b"1")
"""Put into the table, where it is number 62."""

TABLES: tuple[Case, ...] = (
    wrong("2.3.3", "a number beyond both tables", WHOLE, integer(62, 7, 0x80)),
    wrong("2.3.3", "a name beyond both tables", WHOLE, integer(62, 4), text(b"x")),
    wrong("2.3.3", "a name that is far beyond", WHOLE, integer(2**20, 6, 0x40), text(b"x")),
    wrong("2.3.3", "one that has been dropped meanwhile", WHOLE, NEW, b"\x20", integer(62, 7, 0x80)),
    wrong("6.1", "the number 0", WHOLE, b"\x80"),
    wrong("4.2", "a table that changes its size behind a field", WHOLE, b"\x20"),
    wrong(
        "4.2",
        "a table that changes its size between fields",
        block(FIELDS[0]),
        b"\x3f\xe1\x1f",
        block(*FIELDS[1:]),
    ),
    wrong("6.3", "a table larger than what was allowed", integer(2**16 + 1, 5, 0x20), WHOLE),
    wrong("6.3", "a table larger by one", integer(4097, 5, 0x20), WHOLE),
    right(
        "4.2",
        "a table of no size, and then of its own",
        b"\x20",
        integer(4096, 5, 0x20),
        WHOLE,
        NEW,
        integer(62, 7, 0x80),
    ),
    right(
        "4.4",
        "a field larger than the table empties it",
        WHOLE,
        NEW,
        b"\x40",
        text(b"x-large"),
        text(b"y" * 5000),
    ),
    wrong(
        "4.4",
        "and so there is none left",
        WHOLE,
        NEW,
        b"\x40",
        text(b"x-large"),
        text(b"y" * 5000),
        integer(62, 7, 0x80),
    ),
)

INTEGERS: tuple[Case, ...] = (
    wrong("5.1", "a number that does not end", WHOLE, b"\xff" + b"\x80" * 20),
    wrong("5.1", "a number of 2^70", WHOLE, b"\xff" + b"\xff" * 9 + b"\x7f"),
    wrong("5.1", "a length of 2^62", WHOLE, b"\0", integer(2**62, 7), b"x"),
    wrong("5.1", "a number that is cut", WHOLE, b"\xff\x80"),
    right("5.1", "a number with a needless octet", WHOLE, b"\0\x7f\x80\0" + b"x" * 127 + text(b"1")),
)

STRINGS: tuple[Case, ...] = (
    wrong("5.2", "a string longer than the block", WHOLE, b"\0\x05abc"),
    wrong("5.2", "a name without its value", WHOLE, b"\0\x01x"),
    wrong("5.2", "a literal without its name", WHOLE, b"\0"),
    wrong("5.2", "padding of eight bits", WHOLE, huffman(0x1F, 0xFF)),
    wrong("5.2", "padding of thirty bits", WHOLE, huffman(0x1F, 0xFF, 0xFF, 0xFF)),
    wrong("5.2", "padding that is not of ones", WHOLE, huffman(0x18)),
    wrong("5.2", "padding that is partly of ones", WHOLE, huffman(0x1E)),
    wrong("5.2", "EOS", WHOLE, huffman(0xFF, 0xFF, 0xFF, 0xFC)),
    wrong("5.2", "EOS with padding behind it", WHOLE, huffman(0xFF, 0xFF, 0xFF, 0xFF)),
    wrong("5.2", "EOS between letters", WHOLE, huffman(0x1F, 0xFF, 0xFF, 0xFF, 0xE3)),
    right("5.2", "padding as it should be", WHOLE, huffman(0x1F)),
    right("5.2", "a string of no octets", WHOLE, huffman()),
)

REPRESENTATIONS: tuple[Case, ...] = (
    right("6.1", "an indexed field", b"\x83\x86", block(*FIELDS[2:])),
    right(
        "6.2.1",
        "with indexing, an indexed name",
        block(*FIELDS[:3]),
        integer(1, 6, 0x40),
        text(b"x"),
        block(*FIELDS[4:]),
    ),
    right(
        "6.2.1",
        "with indexing, a new name, used again",
        WHOLE,
        NEW,
        integer(62, 7, 0x80),
        integer(62, 6, 0x40),
        text(b"2"),
    ),
    right(
        "6.2.2",
        "without indexing, an indexed name",
        block(*FIELDS[:3]),
        integer(1, 4),
        text(b"x"),
        block(*FIELDS[4:]),
    ),
    right("6.2.3", "never indexed", WHOLE, b"\x10", text(b"x"), text(b"y")),
    right(
        "6.2.3",
        "never indexed, an indexed name",
        block(*FIELDS[:3]),
        integer(1, 4, 0x10),
        text(b"x"),
        block(*FIELDS[4:]),
    ),
)

COMPRESSION = TABLES + INTEGERS + STRINGS + REPRESENTATIONS
