"""Triton's tensor types beside numpy's and onnxruntime's.

BF16 has no numpy type: its bits travel as uint16 and get their meaning from the ONNX element type.
"""

from typing import Any

import msgspec
import numpy as np


class DataType(msgspec.Struct, frozen=True):
    """One tensor type. `item_bytes` is 0 for BYTES, whose elements vary in length."""

    name: str
    config_name: str
    ort_name: str
    numpy: np.dtype[Any]
    item_bytes: int


def _fixed(name: str, ort: str, code: str) -> DataType:
    dtype: np.dtype[Any] = np.dtype(code)
    return DataType(name, f"TYPE_{name}", f"tensor({ort})", dtype, dtype.itemsize)


FP16 = _fixed("FP16", "float16", "<f2")
FP32 = _fixed("FP32", "float", "<f4")
BF16 = _fixed("BF16", "bfloat16", "<u2")
BYTES = DataType("BYTES", "TYPE_STRING", "tensor(string)", np.dtype(object), 0)

_ALL = (
    _fixed("BOOL", "bool", "?"),
    _fixed("UINT8", "uint8", "u1"),
    _fixed("UINT16", "uint16", "<u2"),
    _fixed("UINT32", "uint32", "<u4"),
    _fixed("UINT64", "uint64", "<u8"),
    _fixed("INT8", "int8", "i1"),
    _fixed("INT16", "int16", "<i2"),
    _fixed("INT32", "int32", "<i4"),
    _fixed("INT64", "int64", "<i8"),
    FP16,
    FP32,
    _fixed("FP64", "double", "<f8"),
    BF16,
    BYTES,
)

BY_NAME = {datatype.name: datatype for datatype in _ALL}
BY_CONFIG_NAME = {datatype.config_name: datatype for datatype in _ALL}
BY_ORT_NAME = {datatype.ort_name: datatype for datatype in _ALL}

BINARY_ONLY = (FP16, BF16)
"""Types that Triton neither reads from JSON nor writes to it."""

ONNX_BFLOAT16 = 16
"""TensorProto.DataType.BFLOAT16 of the ONNX specification."""
