"""What a sampled request or reply holds, read from its bytes and not masked yet. It never leaves the masking thread."""

from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from numpy.typing import NDArray

Missing = Literal["too_large", "incomplete", "unreadable", "unknown_tensor"]
"""Why a sample is kept without what a request or reply held: it was larger than a sample may be, or its end did not come,
or it could not be read as what it says it is, or it names a tensor that its model does not have."""


class NotKept(Exception):
    """The content cannot be part of a sample; `reason` says why. It carries nothing of the content."""

    def __init__(self, reason: Missing) -> None:
        super().__init__(reason)
        self.reason = reason


class Tensor(msgspec.Struct, eq=False):
    """One tensor: `numbers` in row-major order, or `texts` where the datatype is BYTES (None: an element that is no UTF-8).

    `lengths` are the elements' bytes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    numbers: "NDArray[Any] | None" = None
    texts: list[str | None] | None = None
    lengths: tuple[int, ...] = ()


class Content(msgspec.Struct, eq=False):
    """The tensors of a request or reply, and what else of its JSON rules may name by path."""

    tensors: list[Tensor]
    document: dict[str, Any]


NUMPY = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""Triton's datatypes beside numpy's. BF16 has none there; BYTES is no number."""
