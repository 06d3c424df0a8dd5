"""Captured calls for tests, and what is kept of them."""

import json
from typing import Any

from gateway.sampling.mask import Masks
from gateway.sampling.reading import Reader
from gateway.sampling.row import KeptTensor, SampleRow
from gateway.secret import Pseudonyms
from gateway.snapshot.document import MaskRule
from gateway.types import Captured, OperationName, Target
from gateway.upstream.tensors import TensorSpec, VersionTensors

PSEUDONYMS = Pseudonyms(b"a secret of a test, long enough to be taken")
TARGET = Target("m", 2, 100, "candidate", "pool", b"", b"m/2")
KNOWN = VersionTensors(
    (
        TensorSpec("x", "FP32", (-1, 2)),
        TensorSpec("text", "BYTES", (-1,)),
        TensorSpec("whole", "INT64", (-1,)),
        TensorSpec("flags", "BOOL", (-1,)),
        TensorSpec("half", "FP16", (-1,)),
        TensorSpec("brain", "BF16", (-1,)),
    ),
    (TensorSpec("y", "FP32", (-1, 2)), TensorSpec("label", "BYTES", (-1,))),
)
MAX_BYTES = 64 * 1024


def captured(
    request: bytes | None = b'{"inputs": []}',
    reply: bytes | None = b'{"outputs": []}',
    *,
    protocol: str = "http",
    operation: OperationName = "infer",
    status: int = 200,
    outcome: str = "ok",
    request_headers: bytes = b"",
    reply_headers: tuple[tuple[bytes, bytes], ...] = (),
    request_id: str = "00" * 16,
    routing_key: bytes | None = None,
    at: float = 1_795_500_000.0,
    alias: str = "a",
) -> Captured:
    """A call of `app:caller` to version 2 of model m."""
    return Captured(
        alias, TARGET, 0.5, request_id, "app:caller", routing_key, protocol, operation, outcome, status, at, 0.25, 0.125,
        len(request or b""), len(reply or b""), request_headers, request, None if request is not None else "too_large",
        reply_headers, reply, None if reply is not None else "incomplete",
    )  # fmt: skip


def kept(call: Captured, *rules: MaskRule, known: VersionTensors = KNOWN) -> SampleRow:
    """The masked row."""
    return Reader(PSEUDONYMS, MAX_BYTES).row(call, Masks(rules, PSEUDONYMS), known)


def inputs(row: SampleRow) -> dict[str, KeptTensor]:
    """The inputs by name."""
    return {tensor.name: tensor for tensor in row.inputs or ()}


def outputs(row: SampleRow) -> dict[str, KeptTensor]:
    """The outputs by name."""
    return {tensor.name: tensor for tensor in row.outputs or ()}


def numbers(tensor: KeptTensor) -> list[float]:
    """The values of a tensor."""
    import numpy as np

    assert tensor.values is not None
    return list(np.frombuffer(tensor.values, "<f8"))


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    """A tensor in JSON."""
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def request(*tensors: dict[str, Any], **members: Any) -> bytes:
    """An infer request."""
    return json.dumps({"inputs": list(tensors), **members}).encode()


def reply(*tensors: dict[str, Any], **members: Any) -> bytes:
    """An infer reply."""
    return json.dumps({"outputs": list(tensors), **members}).encode()
