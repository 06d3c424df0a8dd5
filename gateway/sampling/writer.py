"""Writes waiting samples in a thread of its own. Whatever the store does, it costs samples and nothing else."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from gateway.observe import metrics
from gateway.sampling.queue import Batch, SampleQueue, Subjects, is_of
from gateway.sampling.row import SampleRow
from gateway.sampling.store import SinkFault, Store, fault_of, new_part

log = logging.getLogger(__name__)

_TICK_S = 0.25
_SLOW_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


class Writer:
    """Empties the queue into the store. `deleted` are the subjects whose rows are not written any more."""

    def __init__(self, queue: SampleQueue, open_store: Callable[[], Store], worker: str) -> None:
        self.deleted: Subjects = {}
        self._queue = queue
        self._open_store = open_store
        self._worker = worker
        self._store: Store | None = None
        self._fault: SinkFault | None = None
        self._detail = ""
        self._pause_s = _FIRST_PAUSE_S
        self._began: float | None = None
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples-writer", daemon=True)

    def start(self) -> None:
        """Begin, if that was not done yet."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self, limit_s: float) -> None:
        """Write what waits, for so long at most; the rest is given up and counted."""
        self._leave.set()
        if self._thread.is_alive():
            self._thread.join(limit_s)
        self._queue.drop_all("shutdown")

    @property
    def fault(self) -> SinkFault | None:
        """Why nothing gets written now; None while it does."""
        began = self._began
        if began is not None and time.monotonic() - began > _SLOW_S:
            return "slow"
        return self._fault

    @property
    def detail(self) -> str:
        """The fault in words."""
        return "a write takes very long" if self.fault == "slow" else self._detail

    def _run(self) -> None:
        with contextlib.suppress(ImportError):
            # What cannot be loaded is told when there is something to write.
            from gateway.sampling import parquet

            parquet.load()
        while not self._leave.wait(_TICK_S if self._fault is None else self._pause_s):
            self._write_due()
        self._write_due(everything=True)

    def _write_due(self, *, everything: bool = False) -> None:
        for partition in self._queue.due(everything=everything):
            more = True
            while more and (batch := self._queue.take(partition)) is not None:
                # What came while a file was written is not due yet; what did not fit into it is.
                more = self._queue.fills_a_file(batch)
                if not self._write(batch):
                    # Most often the next file would meet the same fault.
                    return

    def _write(self, batch: Batch) -> bool:
        """Write one file. On a fault of the store its rows wait again."""
        self._began = time.monotonic()
        try:
            rows = [row for row in batch.rows if not is_of(row, self.deleted)]
            data = self._encoded(rows)
            if data is not None:
                if self._store is None:
                    self._store = self._open_store()
                self._store.put(new_part(batch.partition, self._worker), data)
                metrics.SAMPLES_WRITTEN.inc(len(rows))
                metrics.SAMPLE_FILES_WRITTEN.inc()
        except Exception as error:  # noqa: BLE001 - stores raise errors of their own drivers; none may end the thread
            self._failed(batch, error)
            return False
        finally:
            self._began = None
        self._queue.done(batch)
        if self._fault is not None:
            log.warning("samples are written again")
        self._fault, self._pause_s = None, _FIRST_PAUSE_S
        return True

    def _encoded(self, rows: list[SampleRow]) -> bytes | None:
        """The rows as a file; None without rows, and for rows that cannot be one, which are dropped."""
        from gateway.sampling import parquet

        if not rows:
            return None
        try:
            return parquet.encode(rows)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with these rows, the next ones are better
            # The error may quote a row: only what kind it is may be told.
            log.error("%d samples cannot be written as Parquet: %s", len(rows), type(error).__name__)
            metrics.SAMPLES_DROPPED.labels("unwritable").inc(len(rows))
            return None

    def _failed(self, batch: Batch, error: Exception) -> None:
        self._queue.put_back(batch)
        fault = fault_of(error)
        metrics.SAMPLE_WRITES_FAILED.labels(fault).inc()
        # An error of the store names a path or an address, never a row.
        self._detail = f"{type(error).__name__}: {error}"[:300]
        if fault != self._fault:
            log.error(
                "samples cannot be written (%s): %s; they wait in memory, within bounds", fault, self._detail
            )
            self._fault = fault
        else:
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        self._store = None
