"""A masked sample, as it waits to be written. Nothing in it can be unmasked."""

import msgspec

_ROW_BYTES = 1_000
_TENSOR_BYTES = 300


class KeptTensor(msgspec.Struct, frozen=True, gc=False):
    """A tensor of a sample: `values` are float64, little-endian, in row-major order, or `texts`, or neither.

    `lengths` are the bytes of each element of a BYTES tensor. `masked` says what was done to it, None: nothing.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: bytes | None = None
    texts: tuple[str | None, ...] | None = None
    lengths: tuple[int, ...] | None = None
    masked: str | None = None


class SampleRow(msgspec.Struct, frozen=True):
    """One sample. `at` is Unix seconds; `inclusion` the probability with which its request was chosen.

    `principal` and `subject` are pseudonyms. `inputs` or `outputs` are None where they are not kept, with the reason
    beside them. The documents are JSON.
    """

    alias: str
    model: str
    version: int
    arm: str
    request_id: str
    at: float
    inclusion: float
    protocol: str
    operation: str
    outcome: str
    status: int
    duration_s: float
    upstream_s: float
    request_bytes: int
    reply_bytes: int
    principal: str
    subject: str
    inputs: tuple[KeptTensor, ...] | None = None
    outputs: tuple[KeptTensor, ...] | None = None
    inputs_missing: str | None = None
    outputs_missing: str | None = None
    request_json: str | None = None
    reply_json: str | None = None

    def size_bytes(self) -> int:
        """About how much memory the row takes."""
        total = _ROW_BYTES + len(self.request_json or "") + len(self.reply_json or "")
        for tensor in (*(self.inputs or ()), *(self.outputs or ())):
            total += _TENSOR_BYTES + len(tensor.values or b"") + 8 * len(tensor.shape)
            total += 8 * len(tensor.lengths or ())
            total += sum(60 + 2 * len(text or "") for text in tensor.texts or ())
        return total
