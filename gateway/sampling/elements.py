"""A tensor's elements, from JSON or from bytes (the protocol's binary tensor extension).

numpy is loaded by the first sample, so that a worker without any stays small.
"""

import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gateway.sampling.content import NUMPY, NotKept, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LENGTH = struct.Struct("<I")
_MOST_DIMENSIONS = 64
_NUMBERS = frozenset({int, float, bool})
_TEXT = frozenset({str})
_WHOLE = frozenset({int})


def from_json(name: str, datatype: str, shape: list[int], data: Any) -> Tensor:
    """A tensor whose elements stand in JSON, flat or nested. Raises `NotKept`."""
    tensor = _empty(name, datatype, shape)
    elements = _flat(data)
    kinds = set(map(type, elements))
    if datatype == "BYTES":
        if not _TEXT.issuperset(kinds):
            raise NotKept("unreadable")
        tensor.texts = list(elements)
        tensor.lengths = tuple(len(text.encode("utf-8", "surrogatepass")) for text in elements)
    elif _NUMBERS.issuperset(kinds):
        tensor.numbers = _counted(elements, whole=_WHOLE.issuperset(kinds))
    else:
        raise NotKept("unreadable")
    return _whole(tensor, len(elements))


def from_bytes(name: str, datatype: str, shape: list[int] | None, raw: memoryview) -> Tensor:
    """A tensor whose elements are little-endian bytes; without a shape it is flat. Raises `NotKept`."""
    if datatype == "BYTES":
        return from_texts(name, shape or [], texts(raw))
    array = numbers(datatype, raw)
    return from_numbers(name, datatype, [len(array)] if shape is None else shape, array)


def from_numbers(name: str, datatype: str, shape: list[int], array: "NDArray[Any]") -> Tensor:
    """A tensor of these numbers. Raises `NotKept`."""
    tensor = _empty(name, datatype, shape)
    tensor.numbers = array
    return _whole(tensor, len(array))


def from_texts(name: str, shape: list[int], found: Sequence[bytes | bytearray]) -> Tensor:
    """A BYTES tensor of these elements. Raises `NotKept`."""
    tensor = _empty(name, "BYTES", shape)
    tensor.texts = [_decoded(text) for text in found]
    tensor.lengths = tuple(map(len, found))
    return _whole(tensor, len(found))


def one_text(name: str, raw: memoryview) -> Tensor:
    """A BYTES tensor of one element that is a raw body, whole."""
    return Tensor(name, "BYTES", (1,), None, [_decoded(bytes(raw))], (len(raw),))


def _empty(name: str, datatype: str, shape: list[int]) -> Tensor:
    known = datatype in NUMPY or datatype in ("BYTES", "BF16")
    if not known or len(shape) > _MOST_DIMENSIONS or any(not 0 <= size < 2**31 for size in shape):
        raise NotKept("unreadable")
    return Tensor(name, datatype, tuple(shape))


def _whole(tensor: Tensor, count: int) -> Tensor:
    """The tensor, if it has as many elements as its shape says. A shape that says anything else is the caller's number."""
    if math.prod(tensor.shape) != count:
        raise NotKept("unreadable")
    return tensor


def _flat(data: Any) -> list[Any]:
    """The elements of nested arrays in order."""
    if not isinstance(data, list):
        raise NotKept("unreadable")
    if list not in set(map(type, data)):
        return data
    flat: list[Any] = []
    pending = [iter(data)]
    while pending:
        for item in pending[-1]:
            if type(item) is list:
                pending.append(iter(item))
                break
            flat.append(item)
        else:
            pending.pop()
    return flat


def numbers(datatype: str, raw: memoryview) -> "NDArray[Any]":
    """Little-endian numbers. Raises `NotKept`, also where this is no datatype of numbers."""
    import numpy as np

    if datatype != "BF16" and datatype not in NUMPY:
        raise NotKept("unreadable")
    dtype = np.dtype("<u2" if datatype == "BF16" else NUMPY[datatype])
    if len(raw) % dtype.itemsize:
        raise NotKept("unreadable")
    array = np.frombuffer(raw, dtype)
    # BF16 is the upper half of a 32-bit float (IEEE 754).
    return (array.astype("<u4") << 16).view("<f4") if datatype == "BF16" else array


def _counted(elements: list[Any], *, whole: bool) -> "NDArray[Any]":
    """Whole numbers stay whole, so that one which is a card's is seen before it is rounded."""
    import numpy as np

    try:
        if whole:
            least = min(elements, default=0)
            return np.array(elements, "<i8" if least < 0 or max(elements, default=0) < 2**63 else "<u8")
        return np.array(elements, "<f8")
    except OverflowError as error:
        raise NotKept("unreadable") from error


def texts(raw: memoryview) -> list[bytes]:
    """Elements of a four-byte length and so many bytes each. Raises `NotKept`."""
    found: list[bytes] = []
    at, end = 0, len(raw)
    while at < end:
        if end - at < 4:
            raise NotKept("unreadable")
        (length,) = _LENGTH.unpack_from(raw, at)
        at += 4
        if length > end - at:
            raise NotKept("unreadable")
        found.append(bytes(raw[at : at + length]))
        at += length
    return found


def _decoded(element: bytes | bytearray) -> str | None:
    try:
        return element.decode()
    except UnicodeDecodeError:
        return None
