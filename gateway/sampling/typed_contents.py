"""Elements of protobuf's `InferTensorContents`: a tensor in a gRPC message, where its bytes do not stand raw behind all tensors."""

from typing import TYPE_CHECKING, Any

from gateway.sampling.content import NotKept
from gateway.wire import FIXED_32, FIXED_64, LENGTH, VARINT, Malformed, Scan, Value, tag_of, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXTS = tag_of(8)
_FIELDS = {
    "BOOL": (1, VARINT, "?"),
    "INT8": (2, VARINT, "<i4"),
    "INT16": (2, VARINT, "<i4"),
    "INT32": (2, VARINT, "<i4"),
    "INT64": (3, VARINT, "<i8"),
    "UINT8": (4, VARINT, "<u4"),
    "UINT16": (4, VARINT, "<u4"),
    "UINT32": (4, VARINT, "<u4"),
    "UINT64": (5, VARINT, "<u8"),
    "FP32": (6, FIXED_32, "<f4"),
    "FP64": (7, FIXED_64, "<f8"),
}
"""For each datatype the field of its elements, how they are written, and what they are. Half floats have none."""

_MOST_VARINT_BYTES = 10


def texts(scan: Scan, contents: list[memoryview]) -> list[bytes]:
    """The elements of a BYTES tensor. Raises `Malformed`."""
    return [
        bytes(value)
        for each in contents
        for tag, value in scan.fields(each)
        if tag == _TEXTS and isinstance(value, memoryview)
    ]


def numbers(scan: Scan, datatype: str, contents: list[memoryview]) -> "NDArray[Any]":
    """The elements of a tensor of numbers, packed or one by one. Raises `Malformed`, and `NotKept` where they have no field."""
    import numpy as np

    if datatype not in _FIELDS:
        raise NotKept("unreadable")
    number, kind, dtype = _FIELDS[datatype]
    tags = (tag_of(number, LENGTH), tag_of(number, kind))
    pieces = [_whole(value, kind) for each in contents for tag, value in scan.fields(each) if tag in tags]
    data = b"".join(pieces)
    return _varints(data).astype(dtype) if kind == VARINT else np.frombuffer(data, dtype)


def _whole(value: Value, kind: int) -> bytes:
    """Some elements as they are written packed. Raises `Malformed` where the last one is cut short."""
    if isinstance(value, int):
        return varint(value)
    if kind == VARINT:
        cut = len(value) > 0 and value[-1] > 0x7F
    else:
        cut = len(value) % (8 if kind == FIXED_64 else 4) > 0
    if cut:
        raise Malformed("it is cut short")
    return bytes(value)


def _varints(data: bytes) -> "NDArray[Any]":
    """Packed numbers, the lowest 64 bits of each: seven bits a byte, the lowest first, and in each byte but the last the highest set."""
    import numpy as np

    found = np.frombuffer(data, "u1")
    lasts = np.flatnonzero(found < 0x80)
    if not lasts.size:
        return np.empty(0, "<u8")
    firsts = np.concatenate(([0], lasts[:-1] + 1))
    sizes = lasts - firsts + 1
    if sizes.max() > _MOST_VARINT_BYTES:
        raise Malformed("a number is too long")
    places = np.arange(len(found)) - np.repeat(firsts, sizes)
    bits = (found & 0x7F).astype("<u8") << (7 * places).astype("<u8")
    return np.bitwise_or.reduceat(bits, firsts)
