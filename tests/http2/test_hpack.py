"""Header blocks (RFC 7541): read as the `hpack` package writes them, and written so that it reads the same."""

import pytest
from hpack import Decoder as TheirDecoder
from hpack import Encoder as TheirEncoder
from hpack import HPACKError
from hypothesis import given
from hypothesis import strategies as st

from gateway.http2.codes import Code
from gateway.http2.decode import TABLE_BYTES, Decoder
from gateway.http2.encode import encoded
from gateway.http2.faults import ConnectionFault
from gateway.http2.fields import NO_LENGTH
from tests.http2.wire import integer, text

Field = tuple[bytes, bytes]

MOST_BYTES = 65_536
NAMES = st.one_of(
    st.sampled_from([b":path", b":method", b"accept", b"content-type", b"grpc-status", b"x-request-id"]),
    st.binary(min_size=1, max_size=40),
)
VALUES = st.one_of(
    st.sampled_from([b"", b"/", b"GET", b"application/grpc", b"0", b"gzip, deflate"]), st.binary(max_size=300)
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=20)


def any_list(fields: tuple[Field, ...]) -> int:
    """What may stand in a list is not looked at here."""
    return NO_LENGTH


def read(decoder: Decoder, block: bytes) -> list[Field]:
    """What a block says."""
    return list(decoder.decode(block, any_list).fields)


def refuses(decoder: Decoder, block: bytes) -> bool:
    """Whether the block is told to be none, in the one way that there is for that."""
    try:
        decoder.decode(block, any_list)
    except ConnectionFault as fault:
        return fault.code is Code.COMPRESSION_ERROR
    return False


@given(st.lists(st.tuples(FIELDS, st.booleans(), st.sampled_from([None, 0, 100, TABLE_BYTES])), max_size=8))
def test_reads_what_another_writes(blocks: list[tuple[list[Field], bool, int | None]]) -> None:
    """Block after block on one connection, with Huffman's code or without, while the table grows, shrinks and forgets."""
    theirs, ours = TheirEncoder(), Decoder(MOST_BYTES)
    for fields, huffman, size in blocks:
        if size is not None:
            theirs.header_table_size = size
        assert read(ours, theirs.encode(fields, huffman=huffman)) == fields


@given(FIELDS, FIELDS)
def test_another_reads_what_is_written(first: list[Field], second: list[Field]) -> None:
    """Blocks can be joined, and used again."""
    block = encoded(first) + encoded(second)
    theirs = TheirDecoder()
    for _ in range(2):
        found = theirs.decode(block, raw=True)
        assert [(bytes(name), bytes(value)) for name, value in found] == first + second


PIECES = st.one_of(
    st.binary(max_size=3),
    st.sampled_from(
        [
            b"\x40\x01x\x01y",
            b"\x82",
            b"\xbe",
            b"\x7e\x01z",
            b"\x20",
            b"\x3f\xe1\x1f",
            b"\0\x82\xf2\xb2\x81\x1f",
        ]
    ),
)


@given(st.lists(PIECES, max_size=20).map(b"".join))
def test_garbage_is_read_as_another_reads_it(block: bytes) -> None:
    """Or both refuse it, and nothing else comes of it."""
    ours = Decoder(MOST_BYTES)
    try:
        wanted = [(bytes(name), bytes(value)) for name, value in TheirDecoder().decode(block, raw=True)]
    except HPACKError:
        assert refuses(ours, block)
    else:
        assert read(ours, block) == wanted


@given(FIELDS, st.data())
def test_a_block_that_is_cut_says_less_or_is_refused(fields: list[Field], data: st.DataObject) -> None:
    """It never says anything else."""
    block = encoded(fields)
    cut = block[: data.draw(st.integers(0, len(block)))]
    try:
        found = read(Decoder(MOST_BYTES), cut)
    except ConnectionFault:
        return
    assert found == fields[: len(found)]


@given(st.binary(max_size=300))
def test_huffman(value: bytes) -> None:
    """Every string of bytes."""
    block = TheirEncoder().encode([(b"x", value)], huffman=True)
    assert read(Decoder(MOST_BYTES), block) == [(b"x", value)]


def test_a_list_is_cut_where_it_is_too_large() -> None:
    """It is read to its end all the same, for the table's sake; a field counts 32 bytes more than it says."""
    one = b"\x40" + text(b"abcd") + text(b"efgh")
    head = Decoder(120).decode(one * 3, any_list)
    assert (len(head.fields), head.too_large) == (3, False)
    decoder = Decoder(119)
    head = decoder.decode(one * 3, any_list)
    assert (len(head.fields), head.too_large) == (2, True)
    assert read(decoder, integer(64, 7, 0x80)) == [(b"abcd", b"efgh")]


@pytest.mark.parametrize("most", [0, 1, 33, 100])
def test_a_large_list_takes_no_room(most: int) -> None:
    """16 000 references to a field of 4 KB are 60 MB to whoever writes them all out."""
    bomb = b"\x40" + text(b"x") + text(b"y" * 4000) + integer(62, 7, 0x80) * 16_000
    head = Decoder(most).decode(bomb, any_list)
    assert head.too_large
    assert sum(len(name) + len(value) for name, value in head.fields) <= most


def test_a_table_is_that_of_one_connection() -> None:
    """Another one knows nothing of it."""
    block = b"\x40" + text(b"x") + text(b"y")
    decoder = Decoder(MOST_BYTES)
    read(decoder, block)
    assert read(decoder, integer(62, 7, 0x80)) == [(b"x", b"y")]
    assert refuses(Decoder(MOST_BYTES), integer(62, 7, 0x80))


def test_what_a_block_meant_is_not_remembered_beyond_its_table() -> None:
    """The same bytes mean another field once the table has changed."""
    decoder = Decoder(MOST_BYTES)
    for value in (b"1", b"2", b"3"):
        read(decoder, b"\x40" + text(b"x") + text(value))
        for _ in range(2):
            assert read(decoder, integer(62, 7, 0x80)) == [(b"x", value)]
    read(decoder, b"\x20\x3f\xe1\x1f")
    assert refuses(decoder, integer(62, 7, 0x80))
