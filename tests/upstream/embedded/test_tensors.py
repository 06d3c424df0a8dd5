"""Tensor codecs: every type survives the way in and out."""

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gateway.upstream.embedded.datatypes import BF16, BINARY_ONLY, BY_NAME, BYTES, DataType
from gateway.upstream.embedded.messages import Refusal
from gateway.upstream.embedded.tensors import (
    JSON_CHUNK,
    flattened,
    from_bytes,
    from_json,
    strings_from_bytes,
    to_bytes,
    to_json,
)

FIXED = [datatype for datatype in BY_NAME.values() if datatype is not BYTES]
TEXT = st.text(st.characters(codec="utf-8"))
NESTED = st.recursive(st.lists(st.integers()), lambda inner: st.lists(st.one_of(st.integers(), inner)))


def as_sent(data: Any) -> Any:
    """JSON data after a trip over the wire."""
    return msgspec.json.decode(msgspec.json.encode(data))


@pytest.mark.parametrize("datatype", FIXED, ids=lambda datatype: datatype.name)
@given(st.data())
def test_binary_round_trip(datatype: DataType, data: st.DataObject) -> None:
    """Bytes of any fixed-size type come back as they were, whatever their bits mean."""
    raw = data.draw(
        st.binary(max_size=64).map(lambda raw: raw[: len(raw) // datatype.item_bytes * datatype.item_bytes])
    )
    array = from_bytes(memoryview(raw), datatype)
    assert array.dtype == datatype.numpy
    assert to_bytes(array, datatype) == raw


@pytest.mark.parametrize("offset", range(8))
def test_unaligned_tensors_are_copied_to_aligned_memory(offset: int) -> None:
    """Kernels may read eight bytes at a time: no array starts where its type may not."""
    body = bytes(offset) + np.arange(4, dtype=np.float64).tobytes()
    array = from_bytes(memoryview(body)[offset:], BY_NAME["FP64"])
    assert array.flags.aligned
    assert array.tolist() == [0, 1, 2, 3]


@given(st.lists(TEXT))
def test_strings_round_trip(texts: list[str]) -> None:
    """BYTES elements of any text, empty ones and NULs too, come back as they were."""
    raw = to_bytes(np.array(texts, dtype=object), BYTES)
    assert strings_from_bytes(memoryview(raw), "x", "m", "1") == texts


@pytest.mark.parametrize(
    "datatype", [d for d in FIXED if d not in BINARY_ONLY], ids=lambda datatype: datatype.name
)
@given(st.data())
def test_json_round_trip(datatype: DataType, data: st.DataObject) -> None:
    """An array written as JSON data and read back is the same array."""
    array = data.draw(
        arrays.arrays(
            datatype.numpy, st.integers(0, 8), elements={"allow_nan": False, "allow_infinity": False}
        )
    )
    again = from_json("x", as_sent(to_json(array, datatype)), datatype, array.size)
    assert again.dtype == array.dtype
    assert again.tolist() == array.tolist()


@given(st.lists(TEXT, max_size=8))
def test_json_strings_round_trip(texts: list[str]) -> None:
    """JSON strings are BYTES elements, and back."""
    array = from_json("x", as_sent(texts), BYTES, len(texts))
    assert as_sent(to_json(array, BYTES)) == texts


@given(NESTED)
def test_nesting_does_not_matter(data: list[Any]) -> None:
    """Elements keep their order however the arrays are nested."""

    def slowly(item: Any) -> list[Any]:
        return [element for inner in item for element in slowly(inner)] if isinstance(item, list) else [item]

    assert flattened(data) == slowly(data)


@given(st.lists(st.sampled_from([math.nan, math.inf, -math.inf, 1.5, 0.0]), min_size=1))
def test_what_json_lacks_is_written_as_clients_read_it(values: list[float]) -> None:
    """NaN and infinity in an output are written by their names, which Triton's clients understand."""
    text = msgspec.json.encode(to_json(np.array(values, dtype=np.float32), BY_NAME["FP32"]))
    assert json.loads(text) == pytest.approx(values, nan_ok=True)


@pytest.mark.parametrize("last", [0.5, math.inf])
def test_large_tensors_are_written_in_pieces(last: float) -> None:
    """More elements than a piece holds are the same data, with every comma in its place."""
    values = [*np.arange(2 * JSON_CHUNK, dtype=np.float64).tolist(), last]
    text = msgspec.json.encode({"data": to_json(np.array(values).reshape(1, -1), BY_NAME["FP64"])})
    assert json.loads(text) == {"data": values}


@pytest.mark.parametrize("datatype", BINARY_ONLY, ids=lambda datatype: datatype.name)
def test_half_precision_has_no_json_form(datatype: DataType) -> None:
    """FP16 and BF16 are refused as JSON in both directions, as Triton refuses them."""
    with pytest.raises(Refusal, match="via JSON is not supported"):
        from_json("x", [1.0], datatype, 1)
    with pytest.raises(Refusal, match="via JSON is not supported"):
        to_json(np.zeros(1, datatype.numpy), datatype)


@pytest.mark.parametrize(
    "datatype", [d for d in FIXED if d.numpy.kind in "iu" and d is not BF16], ids=lambda d: d.name
)
def test_integers_out_of_range_are_refused(datatype: DataType) -> None:
    """The limits of a type are elements of it, the numbers beyond them are not."""
    limits = np.iinfo(datatype.numpy)
    assert from_json("x", [int(limits.min), int(limits.max)], datatype, 2).tolist() == [
        limits.min,
        limits.max,
    ]
    for beyond in (int(limits.min) - 1, int(limits.max) + 1):
        with pytest.raises(Refusal):
            from_json("x", as_sent([beyond]), datatype, 1)


@pytest.mark.parametrize(
    "raw", [b"\1", b"\1\0\0", b"\2\0\0\0a", b"\xff\xff\xff\xffa", b"\0\0\0\0\0", b"\1\0\0\0\xff"]
)
def test_damaged_strings_are_refused(raw: bytes) -> None:
    """A length that is cut, a string that is cut, and bytes that are no text are refused, not read past."""
    with pytest.raises(Refusal):
        strings_from_bytes(memoryview(raw), "x", "m", "1")
