"""Counts and times of one version, as `GET .../stats` shows them."""

import threading
import time

import msgspec


class Duration(msgspec.Struct):
    """How often, and for how many nanoseconds in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """Counts one more, of this length."""
        self.count += 1
        self.ns += ns


COMPUTE = ("compute_input", "compute_infer", "compute_output")
"""The parts of a call: the request taken apart and arranged, the model's run, the reply made."""

TOTALS = ("success", "fail", "queue", *COMPUTE, "cache_hit", "cache_miss")
"""What Triton sums up. `queue` is always zero long: a call runs at once, on the thread that brings it. No cache here."""


class Recorder:
    """Collects one version's statistics from many threads.

    Calls refused before they reach the model are not counted, as in Triton.
    """

    def __init__(self, model: str, version: int) -> None:
        self._lock = threading.Lock()
        self._model, self._version = model, str(version)
        self._totals = {name: Duration() for name in TOTALS}
        self._batches: dict[int, dict[str, Duration]] = {}
        self._last_ms = 0
        self._rows = 0

    def success(self, batch_size: int, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """Counts one call that was answered. A model without batching counts as batch size 1."""
        rows = max(batch_size, 1)
        with self._lock:
            batch = self._batches.get(rows)
            if batch is None:
                batch = self._batches[rows] = {name: Duration() for name in COMPUTE}
            self._last_ms = time.time_ns() // 1_000_000
            self._rows += rows
            self._totals["success"].add(input_ns + infer_ns + output_ns)
            self._totals["queue"].add(0)
            for name, ns in zip(COMPUTE, (input_ns, infer_ns, output_ns), strict=True):
                self._totals[name].add(ns)
                batch[name].add(ns)

    def failure(self, ns: int) -> None:
        """Counts one call on which the model itself failed."""
        with self._lock:
            self._totals["fail"].add(ns)

    def printed(self) -> bytes:
        """The whole reply of `GET .../versions/{v}/stats`; `last_inference` in milliseconds since the epoch, or 0."""
        with self._lock:
            batches = [{"batch_size": rows, **batch} for rows, batch in self._batches.items()]
            entry = {
                "name": self._model,
                "version": self._version,
                "last_inference": self._last_ms,
                "inference_count": self._rows,
                "execution_count": self._totals["success"].count,
                "inference_stats": self._totals,
                "response_stats": {},
                "batch_stats": batches,
                "memory_usage": [],
            }
            return msgspec.json.encode({"model_stats": [entry]})
