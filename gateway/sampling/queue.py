"""Masked samples that wait to be written: bounded in rows and in bytes, every drop counted by its reason."""

import threading
import time
from collections.abc import Callable

import msgspec

from gateway.observe import metrics
from gateway.sampling.row import SampleRow
from gateway.sampling.store import Partition, partition_of

Subjects = dict[str, float]
"""Whose samples are deleted: pseudonyms, and up to which moment each (Unix seconds)."""


class Bounds(msgspec.Struct, frozen=True):
    """How much may wait, and when what waits is written."""

    rows: int
    size_bytes: int
    file_rows: int
    file_s: float


class Batch(msgspec.Struct, eq=False):
    """Rows of one partition that become a file; the first of them waits since `since` (monotonic seconds)."""

    partition: Partition
    since: float
    rows: list[SampleRow] = []


class SampleQueue:
    """Filled by the masking thread, emptied by the writer. Only masked rows come in: `put` takes nothing else.

    `blame` says why a full queue is full.
    """

    def __init__(self, bounds: Bounds, blame: Callable[[], str] = lambda: "queue_full") -> None:
        self._bounds = bounds
        self._blame = blame
        self._lock = threading.Lock()
        self._waiting: dict[Partition, Batch] = {}
        self._rows = 0
        self._bytes = 0

    def put(self, row: SampleRow) -> bool:
        """Take a row, or drop it and count the drop."""
        size = row.size_bytes()
        partition = partition_of(row.alias, row.version, row.at)
        with self._lock:
            full = self._rows >= self._bounds.rows or self._bytes + size > self._bounds.size_bytes
            if not full:
                self._rows += 1
                self._bytes += size
                self._batch(partition, time.monotonic()).rows.append(row)
        if full:
            metrics.SAMPLES_DROPPED.labels(self._blame()).inc()
        return not full

    def due(self, *, everything: bool = False) -> list[Partition]:
        """The partitions whose rows are to be written now: enough of them, or for long enough, or the queue is half full."""
        now = time.monotonic()
        with self._lock:
            crowded = self._bytes * 2 > self._bounds.size_bytes or self._rows * 2 > self._bounds.rows
            return [
                partition
                for partition, batch in self._waiting.items()
                if everything
                or crowded
                or len(batch.rows) >= self._bounds.file_rows
                or now - batch.since >= self._bounds.file_s
            ]

    def take(self, partition: Partition) -> Batch | None:
        """A file's rows, the oldest. They count as waiting until they are `done` with, or `put_back`."""
        most = self._bounds.file_rows
        with self._lock:
            batch = self._waiting.pop(partition, None)
            if batch is not None and len(batch.rows) > most:
                self._waiting[partition] = Batch(partition, batch.since, batch.rows[most:])
                batch.rows = batch.rows[:most]
            return batch

    def fills_a_file(self, batch: Batch) -> bool:
        """Whether the batch has as many rows as a file may have."""
        return len(batch.rows) >= self._bounds.file_rows

    def done(self, batch: Batch) -> None:
        """These rows wait no more."""
        with self._lock:
            self._let_go(batch.rows)

    def put_back(self, batch: Batch) -> None:
        """They could not be written, and wait again, before all that came since."""
        with self._lock:
            waiting = self._batch(batch.partition, batch.since)
            waiting.rows[:0] = batch.rows
            waiting.since = min(waiting.since, batch.since)

    def drop_all(self, reason: str) -> None:
        """Give up whatever waits."""
        with self._lock:
            dropped = self._rows
            self._waiting.clear()
            self._rows = self._bytes = 0
        if dropped:
            metrics.SAMPLES_DROPPED.labels(reason).inc(dropped)

    def forget(self, subjects: Subjects) -> None:
        """Let go of the waiting rows of these subjects."""
        with self._lock:
            for partition, batch in list(self._waiting.items()):
                gone = [row for row in batch.rows if is_of(row, subjects)]
                if gone:
                    batch.rows = [row for row in batch.rows if not is_of(row, subjects)]
                    self._let_go(gone)
                if not batch.rows:
                    del self._waiting[partition]

    def measure(self) -> tuple[int, int, float]:
        """Rows and bytes that wait, and for how many seconds the oldest has."""
        with self._lock:
            oldest = min((batch.since for batch in self._waiting.values()), default=None)
            return self._rows, self._bytes, 0.0 if oldest is None else time.monotonic() - oldest

    def _batch(self, partition: Partition, since: float) -> Batch:
        batch = self._waiting.get(partition)
        if batch is None:
            batch = self._waiting[partition] = Batch(partition, since)
        return batch

    def _let_go(self, rows: list[SampleRow]) -> None:
        self._rows -= len(rows)
        self._bytes -= sum(row.size_bytes() for row in rows)


def is_of(row: SampleRow, subjects: Subjects) -> bool:
    """Whether a row is of one of these subjects, and was taken up to its moment."""
    return any(row.at <= subjects.get(digest, -1.0) for digest in (row.subject, row.principal))
