"""Masks captured calls in one thread, before anything of them enters the queue.

What waits here is not masked yet. It waits for nothing but that thread's own computing: no disk, no network can hold it up,
so it is gone within moments. It is bounded in number and in bytes; a call that finds no room is dropped and counted. It is
neither written nor logged, nor does an error that it causes quote it.

The thread shares the interpreter with the event loop, so it takes its share and no more: it works in batches and rests in
between, and while it computes, the loop gets its turn within a millisecond.
"""

import logging
import sys
import threading
import time
from collections import deque

from gateway.observe import metrics
from gateway.sampling.mask import Masks
from gateway.sampling.queue import SampleQueue
from gateway.sampling.reading import Reader
from gateway.types import Captured
from gateway.upstream.tensors import VersionTensors

log = logging.getLogger(__name__)

_MOST_CALLS = 512
_GATHER_S, _GATHER_CALLS = 0.1, 64
"""So long, or so many, calls gather before they are masked: waking a thread for each would cost more than masking it."""

_SPELL_S = 0.002
_REST = 3.0
"""After a spell of work the thread rests three times as long: it takes a quarter of a core at most."""

_SWITCH_S = 0.001
"""How long a thread may keep the interpreter from another one that wants it; Python's own 5 ms are felt by callers."""

Work = tuple[Captured, Masks, VersionTensors]


class Masker:
    """Takes calls on the event loop, masks them in a thread. `most_bytes` is how much of bodies it may hold."""

    def __init__(self, reader: Reader, queue: SampleQueue, most_bytes: int) -> None:
        self._reader = reader
        self._queue = queue
        self._most_bytes = most_bytes
        self._work: deque[Work] = deque()
        # Each is written by one thread alone: the loop counts what it gives, the thread what it is done with.
        self._given_calls = self._given_bytes = 0
        self._done_calls = self._done_bytes = 0
        self._called = threading.Event()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples-masking", daemon=True)

    def start(self) -> None:
        """Begin, if that was not done yet."""
        if self._thread.ident is None:
            sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_S))
            self._thread.start()

    def stop(self, limit_s: float) -> None:
        """Mask what is here, for so long at most."""
        self._leave.set()
        self._called.set()
        if self._thread.is_alive():
            self._thread.join(limit_s)

    def has_room(self) -> bool:
        """Whether one more call may be captured."""
        return (
            self._given_calls - self._done_calls < _MOST_CALLS
            and self._given_bytes - self._done_bytes < self._most_bytes
        )

    def give(self, call: Captured, masks: Masks, known: VersionTensors) -> None:
        """Have a call masked and queued; without room it is dropped and counted."""
        if not self.has_room():
            metrics.SAMPLES_DROPPED.labels("masking_busy").inc()
            return
        self._given_calls += 1
        self._given_bytes += _size_bytes(call)
        self._work.append((call, masks, known))
        if len(self._work) >= _GATHER_CALLS and not self._called.is_set():
            self._called.set()

    def _run(self) -> None:
        while not self._leave.is_set():
            # Also where there is nothing to do: to wake it for the first call would be felt by that call.
            self._called.wait(_GATHER_S)
            self._called.clear()
            self._mask_all()
        # What was given between the last look and the end.
        self._mask_all()

    def _mask_all(self) -> None:
        began = time.thread_time()
        while self._work:
            self._mask(*self._work.popleft())
            spell_s = time.thread_time() - began
            if spell_s > _SPELL_S:
                self._leave.wait(spell_s * _REST)
                began = time.thread_time()

    def _mask(self, call: Captured, masks: Masks, known: VersionTensors) -> None:
        try:
            row = self._reader.row(call, masks, known)
            if self._queue.put(row):
                metrics.SAMPLES_TAKEN.labels(row.alias, row.model, str(row.version), row.arm).inc()
        except Exception as error:  # noqa: BLE001 - whatever a request holds, the next one is masked all the same
            # The error, and its traceback's values, may quote the request: only its kind may be told.
            log.error("a sample of alias %s could not be masked: %s", call.alias, type(error).__name__)
            metrics.SAMPLES_DROPPED.labels("masking_failed").inc()
        finally:
            self._done_calls += 1
            self._done_bytes += _size_bytes(call)


def _size_bytes(call: Captured) -> int:
    return len(call.request or b"") + len(call.reply or b"")
