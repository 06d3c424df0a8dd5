"""Tensor codecs: JSON elements and raw bytes to numpy arrays, and back.

BYTES elements are strings here, since onnxruntime's Python interface takes and gives UTF-8 text only.
"""

import json
import struct
from typing import Any

import msgspec
import numpy as np

from gateway.upstream.embedded.datatypes import BINARY_ONLY, BYTES, FP32, DataType
from gateway.upstream.embedded.messages import Refusal

_LENGTH = struct.Struct("<I")


def flattened(data: list[Any]) -> list[Any]:
    """The elements of nested arrays in order, however they are nested: Triton looks at the shape alone."""
    if list not in set(map(type, data)):
        return data
    flat: list[Any] = []
    pending = [iter(data)]
    while pending:
        for item in pending[-1]:
            if type(item) is not list:
                flat.append(item)
            elif list in set(map(type, item)):
                pending.append(iter(item))
                break
            else:
                flat.extend(item)
        else:
            pending.pop()
    return flat


def from_json(name: str, data: list[Any], datatype: DataType, count: int) -> np.ndarray[Any, Any]:
    """A flat array of the elements in `data`. Refuses wrong kinds, wrong counts and numbers that do not fit."""
    if datatype in BINARY_ONLY:
        raise Refusal(
            400,
            f"receiving {datatype.name} data via JSON is not supported. Please use the binary data format for input {name}",
        )
    elements = flattened(data)
    _check_kinds(elements, datatype)
    if datatype is BYTES:
        return np.array(elements, dtype=object)
    if len(elements) != count:
        raise Refusal(400, "Unable to parse 'data': Shape does not match true shape of 'data' field")
    if datatype.numpy.kind in "iu" and elements:
        _check_range(elements, datatype)
    if datatype is FP32:
        # A double beyond FP32 becomes infinity, as in Triton, and without numpy's warning.
        with np.errstate(over="ignore"):
            return np.array(elements, dtype=datatype.numpy)
    return np.array(elements, dtype=datatype.numpy)


_KINDS: dict[str, tuple[frozenset[type], str, str]] = {
    "b": (frozenset((bool,)), "non-boolean", "boolean"),
    "i": (frozenset((int,)), "non-signed-integer", "signed-integer"),
    "u": (frozenset((int,)), "non-unsigned-integer", "unsigned-integer"),
    "f": (frozenset((int, float)), "non-number", "double"),
    "O": (frozenset((str,)), "non-string", "string"),
}


def _check_kinds(elements: list[Any], datatype: DataType) -> None:
    allowed, found, wanted = _KINDS[datatype.numpy.kind]
    if not allowed.issuperset(map(type, elements)):
        field = "JSON bytes array" if datatype is BYTES else "'data'"
        raise Refusal(400, f"Unable to parse {field}: attempt to access JSON {found} as {wanted}")


def _check_range(elements: list[int], datatype: DataType) -> None:
    # Triton wraps such a number around without a word; a value that the caller did not send is never computed with.
    least, most = min(elements), max(elements)
    limits = np.iinfo(datatype.numpy)
    if least < limits.min or most > limits.max:
        value = least if least < limits.min else most
        raise Refusal(400, f"Unable to parse 'data': {value} is out of range for {datatype.name}")


def from_bytes(raw: memoryview, datatype: DataType) -> np.ndarray[Any, Any]:
    """A flat array over the bytes themselves: nothing is copied unless the elements lie unaligned.

    `raw` must hold whole elements; for BYTES use `strings_from_bytes`.
    """
    array = np.frombuffer(raw, datatype.numpy)
    return array if array.flags.aligned else array.copy()


def strings_from_bytes(raw: memoryview, name: str, model: str, request: str) -> list[str]:
    """The elements of a BYTES tensor: each a four-byte little-endian length and that many bytes of UTF-8."""
    texts: list[str] = []
    data = bytes(raw)
    at, end = 0, len(data)
    while at < end:
        if end - at < 4:
            raise Refusal(
                400,
                f"[request id: {request}] incomplete string length indicator for inference input '{name}' for model "
                f"'{model}', expecting 4 bytes but only {end - at} bytes available. "
                "Please make sure the string length indicator is in one buffer.",
            )
        (length,) = _LENGTH.unpack_from(data, at)
        at += 4
        if length > end - at:
            raise Refusal(
                400,
                f"incomplete string data for inference input '{name}', expecting string of length {length} "
                f"but only {end - at} bytes available",
            )
        try:
            texts.append(data[at : at + length].decode())
        except UnicodeDecodeError as fault:
            raise Refusal(
                400, f"inference input '{name}': BYTES elements must be UTF-8 text here: {fault}"
            ) from fault
        at += length
    return texts


def to_bytes(array: np.ndarray[Any, Any], datatype: DataType) -> bytes | memoryview:
    """The elements in row-major order, as binary tensor data; a view of the array where its memory has that order."""
    if datatype is not BYTES:
        # A view cannot be cast when a dimension is 0.
        return np.ascontiguousarray(array).data.cast("B") if array.size else b""
    parts: list[bytes] = []
    for text in array.ravel().tolist():
        element = str(text).encode()
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)


def to_json(array: np.ndarray[Any, Any], datatype: DataType) -> Any:
    """The flat `data` of a JSON reply. Not-a-number and infinity are written as Triton and its clients do."""
    if datatype in BINARY_ONLY:
        raise Refusal(
            400,
            f"sending {datatype.name} data via JSON is not supported. Please use the binary data format for output",
        )
    flat = array.ravel()
    finite = datatype.numpy.kind != "f" or bool(np.isfinite(flat).all())
    if finite and flat.size <= JSON_CHUNK:
        return flat.tolist()
    encode = msgspec.json.encode if finite else _encoded_with_names
    # Piece by piece: a Python object for each element of a large tensor would take many times its memory.
    pieces = (encode(flat[at : at + JSON_CHUNK].tolist())[1:-1] for at in range(0, flat.size, JSON_CHUNK))
    return msgspec.Raw(b"[" + b",".join(pieces) + b"]")


JSON_CHUNK = 2**16


def _encoded_with_names(elements: list[float]) -> bytes:
    return json.dumps(elements, separators=(",", ":")).encode()
