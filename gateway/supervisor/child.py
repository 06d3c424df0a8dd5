"""One worker process, as its supervisor sees it."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from gateway.supervisor.messages import (
    Ask,
    Beat,
    Begin,
    FromSupervisor,
    Leave,
    Refused,
    Reopen,
    Told,
    framed,
    hear,
    to_supervisor,
)

log = logging.getLogger(__name__)

State = Literal["starting", "ready", "not_ready", "draining", "silent"]

SILENT_AFTER_S = 3.0
"""A worker says something twice a second. One that has not for so long hangs, or the machine is far too busy."""


class Child:
    """A process that was started with `command` and the number of its line's file descriptor behind it.

    `metrics` is what it told last; `ended` is done when the process is gone, with its exit status (negative: the signal).
    """

    def __init__(self, begin: Begin, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self.number = begin.number
        self.place = begin.place
        self.pid = process.pid
        self.born = self.heard = time.monotonic()
        self.metrics = b""
        self.problems: list[str] = []
        self.leaving = False
        self._process = process
        self._ready: bool | None = None
        self._changed = asyncio.Event()
        self._asked: asyncio.Future[None] | None = None
        self._line = line
        self._writer: asyncio.StreamWriter | None = None
        self.ended: asyncio.Task[int] = asyncio.create_task(self._live(begin))

    @classmethod
    async def spawn(cls, command: Sequence[str], begin: Begin) -> "Child":
        """Start the process; it inherits the file descriptors that `begin` names. Raises `OSError`."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[
                        theirs.fileno(),
                        begin.shares,
                        begin.grpc_shares,
                        begin.loads,
                        begin.pins,
                        *begin.sockets,
                    ],
                )
            except BaseException:
                ours.close()
                raise
        return cls(begin, process, ours)

    @property
    def state(self) -> State:
        """What it does."""
        if self.leaving:
            return "draining"
        if time.monotonic() - self.heard > SILENT_AFTER_S and self._ready is not None:
            return "silent"
        return "starting" if self._ready is None else "ready" if self._ready else "not_ready"

    async def until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Wait until `condition` holds, looked at whenever the state may be another; False when it does not come to that."""
        try:
            async with asyncio.timeout(limit_s):
                while not condition():
                    if self.ended.done():
                        return False
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def leave(self, notice_s: float, *, handing_over: bool) -> None:
        """Have it drain and end."""
        self.leaving = True
        self._say(Leave(notice_s, handing_over))

    def reopen(self) -> None:
        """Have it open its log files anew."""
        self._say(Reopen())

    async def ask(self, limit_s: float) -> bool:
        """Have `metrics` told anew; False when it does not answer within the limit. Asked once at a time."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().create_future()
            self._say(Ask())
        # Not cancelled at the limit: an answer that comes late is as good for the next scrape.
        waited: set[asyncio.Future[Any]] = {self._asked, self.ended}
        done, _ = await asyncio.wait(waited, timeout=limit_s, return_when="FIRST_COMPLETED")
        return self._asked in done

    def kill(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            self._process.kill()

    def _say(self, message: FromSupervisor) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(framed(message))

    async def _live(self, begin: Begin) -> int:
        """Listen until the process is gone, and its last word is heard."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._line)
        self._say(begin)
        try:
            while (message := await hear(reader, to_supervisor)) is not None:
                self.heard = time.monotonic()
                if isinstance(message, Beat):
                    self._ready = message.ready
                elif isinstance(message, Told):
                    self.metrics = message.metrics
                    if message.asked and self._asked is not None and not self._asked.done():
                        self._asked.set_result(None)
                elif isinstance(message, Refused):
                    self.problems = message.problems
                self._changed.set()
        except msgspec.MsgspecError as error:
            log.error("worker %d (process %d) talks nonsense and is ended: %s", self.number, self.pid, error)
            self.kill()
        finally:
            self._writer.close()
        status = await self._process.wait()
        self._changed.set()
        return status
