"""Masked rows for tests of what comes after masking."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
from prometheus_client import REGISTRY

from gateway.sampling.queue import Bounds
from gateway.sampling.row import SampleRow
from tests.patience import PATIENT_S
from tests.sampling.calls import captured, kept, reply, request, tensor

BOUNDS = Bounds(rows=100, size_bytes=1_000_000, file_rows=50, file_s=0.0)

_ROW = kept(
    captured(
        request(tensor("x", "FP32", [1, 2]), tensor("text", "BYTES", ["hi"])),
        reply(tensor("y", "FP32", [0.5])),
    )
)


def row(request_id: str = "r", **fields: Any) -> SampleRow:
    """A row of alias `a`, version 2, with other fields."""
    return msgspec.structs.replace(_ROW, request_id=request_id, **fields)


def counted(name: str, **labels: str) -> Callable[[], float]:
    """How far a counter has risen since now."""
    before = REGISTRY.get_sample_value(name, labels) or 0.0
    return lambda: (REGISTRY.get_sample_value(name, labels) or 0.0) - before


def until(condition: Callable[[], object], what: str, limit_s: float = PATIENT_S) -> None:
    """Wait until `condition` holds."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"waited {limit_s} s for {what}"
        time.sleep(0.01)
