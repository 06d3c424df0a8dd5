"""One of the numbered workers: kept up by one process after another."""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable

from gateway.observe.metrics import WORKER_RESTARTS
from gateway.supervisor.child import Child

log = logging.getLogger(__name__)

STEADY_S = 10.0
"""A process that has lived for so long did not fail in its start: when it ends, the next one comes at once."""

FIRST_DELAY_S = 0.5
MOST_DELAY_S = 30.0
READY_WITHIN_S = 60.0

Spawn = Callable[[int], Awaitable[Child]]


def delay_s(failures: int) -> float:
    """How long to wait before the next start after so many short lives in a row: 0, 0.5, 1, 2, … 30 seconds."""
    return 0.0 if failures < 2 else min(MOST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures - 2, 20))


class Seat:
    """Worker `number`; `spawn` starts a process for it. `current` is the one at work, or the last one that was."""

    def __init__(self, number: int, spawn: Spawn) -> None:
        self.number = number
        self.current: Child | None = None
        self._spawn = spawn
        self._failures = 0
        self._changing = asyncio.Lock()

    @property
    def at_work(self) -> Child | None:
        """The process that is there now."""
        return None if self.current is None or self.current.ended.done() else self.current

    @property
    def trouble(self) -> str:
        """Why this worker is in trouble; empty when it is not."""
        child = self.at_work
        if self._failures < 2 or (child is not None and time.monotonic() - child.born > STEADY_S):
            return ""
        return f"worker {self.number} has ended {self._failures} times soon after its start; see the log"

    async def start(self) -> None:
        """Start the first process. Raises `OSError`."""
        self.current = await self._spawn(self.number)

    async def keep_up(self) -> None:
        """Have a process at work, until cancelled."""
        while True:
            async with self._changing:
                if self.at_work is None:
                    await self._start_again()
            child = self.current
            if child is not None:
                await asyncio.wait([child.ended])
                if child is not self.current:
                    continue  # it was replaced
                self._note_end(child)
            pause_s = delay_s(self._failures)
            if pause_s:
                log.error("%s; the next start is in %g s", self.trouble or "no worker starts", pause_s)
            await asyncio.sleep(pause_s)
            WORKER_RESTARTS.labels(str(self.number)).inc()

    async def replace(self, notice_s: float, limit_s: float) -> bool:
        """Start another process, wait until it is ready, then have the old one drain, and end it after `limit_s`.

        False when the new one does not get ready: the old one then stays.
        """
        async with self._changing:
            old = self.at_work
            # Without a snapshot nobody is ready, and no caller can be served worse by a new process.
            asleep = old is None or old.state in ("starting", "not_ready")
            try:
                new = await self._spawn(self.number)
            except OSError as error:
                log.error("worker %d cannot be replaced: %s", self.number, error)
                return False
            if not await new.until(
                lambda: new.state == "ready" or (asleep and new.state == "not_ready"), READY_WITHIN_S
            ):
                for problem in new.problems:
                    log.error("worker %d: %s", self.number, problem)
                log.error("the new process of worker %d did not get ready; the old one stays", self.number)
                new.kill()
                await asyncio.wait([new.ended])
                return False
            self.current = new
        if old is not None:
            old.leave(notice_s, handing_over=True)
            await end_of(old, limit_s)
        return True

    async def _start_again(self) -> None:
        try:
            await self.start()
        except OSError as error:
            self._failures += 1
            log.error("worker %d cannot be started: %s", self.number, error)

    def _note_end(self, child: Child) -> None:
        lived_s = time.monotonic() - child.born
        self._failures = 1 if lived_s >= STEADY_S else self._failures + 1
        for problem in child.problems:
            log.error("worker %d: %s", self.number, problem)
        status = child.ended.result()
        how = f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
        log.warning("worker %d (process %d) has ended %s after %.1f s", self.number, child.pid, how, lived_s)


async def end_of(child: Child, limit_s: float) -> None:
    """Wait for a process that was told to leave; one that does not go within the limit is killed."""
    await asyncio.wait([child.ended], timeout=limit_s)
    if not child.ended.done():
        log.error("worker %d (process %d) has not ended in time and is killed", child.number, child.pid)
        child.kill()
        await asyncio.wait([child.ended])
