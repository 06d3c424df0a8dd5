"""The wire scanner reads what protobuf's own library reads, and says so of nothing that is no message."""

import pytest
from google.protobuf import unknown_fields  # type: ignore[import-untyped]
from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.wire import (
    FIXED_32,
    FIXED_64,
    LENGTH,
    VARINT,
    Malformed,
    Scan,
    numbers,
    signed,
    tag_of,
    varint,
    written,
)

KINDS = st.sampled_from([VARINT, FIXED_64, LENGTH, FIXED_32])
NUMBERS = st.integers(0, 2**64 - 1)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Rows of fields of any number and kind."""
    data = b""
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(KINDS)
        data += varint(tag_of(draw(st.integers(1, 2**29 - 1)), kind))
        if kind == VARINT:
            data += varint(draw(NUMBERS))
        elif kind == LENGTH:
            value = draw(st.binary(max_size=300))
            data += varint(len(value)) + value
        else:
            data += draw(st.binary(min_size=8, max_size=8))[: 8 if kind == FIXED_64 else 4]
    return data


def read(data: bytes) -> list[tuple[int, int | bytes]]:
    """What the scanner finds."""
    return [
        (tag, value if isinstance(value, int) else bytes(value))
        for tag, value in Scan().fields(memoryview(data))
    ]


def library_read(data: bytes) -> list[tuple[int, int | bytes]]:
    """What protobuf's library finds in a message that knows no field."""
    message = Empty()
    message.ParseFromString(data)
    found: list[tuple[int, int | bytes]] = []
    for field in unknown_fields.UnknownFieldSet(message):
        value = field.data
        if field.wire_type == FIXED_64:
            value = value.to_bytes(8, "little")
        elif field.wire_type == FIXED_32:
            value = value.to_bytes(4, "little")
        found.append((tag_of(field.field_number, field.wire_type), value))
    return found


@given(messages())
def test_a_message_is_read_as_the_library_reads_it(data: bytes) -> None:
    """Every field, in order, with its value."""
    assert read(data) == library_read(data)


@given(st.one_of(st.binary(max_size=60), messages().flatmap(lambda m: st.just(m[: len(m) * 2 // 3]))))
@example(b"\x08" + b"\xff" * 9 + b"\x7f")
@example(b"\x88\x00\x01")
@example(b"\x0a\xff\xff\xff\xff\x0f")
@example(b"\x00\x00")
@example(b"\xf8\xff\xff\xff\x1f\x01")
def test_garbage_is_judged_as_the_library_judges_it(data: bytes) -> None:
    """What the scanner takes the library takes, with the same fields; it refuses only what the library refuses, and groups."""
    try:
        expected = library_read(data)
    except DecodeError:
        with pytest.raises(Malformed):
            read(data)
        return
    if any(tag & 7 not in (VARINT, FIXED_64, LENGTH, FIXED_32) for tag, _ in expected):
        with pytest.raises(Malformed, match="no known kind"):
            read(data)
    else:
        assert read(data) == expected


def test_a_group_is_refused() -> None:
    """Groups nest without a length, and nothing of the protocol has one."""
    with pytest.raises(Malformed):
        read(bytes([3 << 3 | 3, 3 << 3 | 4]))


def test_a_message_of_too_many_fields_is_refused() -> None:
    """So that no message holds the event loop for long."""
    scan = Scan(most_fields=3)
    assert len(list(scan.fields(memoryview(written(1, 7) * 3)))) == 3
    with pytest.raises(Malformed, match="too many"):
        list(scan.fields(memoryview(written(1, 7))))


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_signed_number_keeps_its_sign(number: int) -> None:
    """As protobuf's int64 does."""
    assert signed(number % 2**64) == number


@given(st.lists(NUMBERS, max_size=10))
def test_repeated_numbers_are_read_packed_or_not(expected: list[int]) -> None:
    """In order; what is cut short is no row of numbers."""
    packed = memoryview(b"".join(map(varint, expected)))
    assert list(numbers(packed)) == expected
    assert [number for each in expected for number in numbers(each)] == expected
    with pytest.raises(Malformed):
        list(numbers(memoryview(bytes(packed) + b"\x80")))
