"""A worker's own end of the line to its supervisor."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

from gateway.observe.merge import told
from gateway.supervisor.loads import Loads, OwnLoads
from gateway.supervisor.messages import (
    Ask,
    Beat,
    Begin,
    FromWorker,
    Leave,
    Refused,
    Reopen,
    Told,
    framed,
    hear,
    hear_first,
    to_worker,
)
from gateway.supervisor.pins import PinTable
from gateway.supervisor.shares import Shares

BEAT_S = 0.5
_LOOK_S = 0.1

TELL_S = 1.0
"""A worker that is killed takes along what it has counted since it last told its metrics unasked."""
_TELL_SHARE = 1 / 200
"""So much of its time it spends on that at most: to tell many series takes longer, and holds calls up meanwhile."""


class Member:
    """What one worker was given, and what it tells. Made before the event loop; waits for the first message.

    Raises `EOFError` when the supervisor is gone already.
    """

    def __init__(self, line_fd: int) -> None:
        self._line = socket.socket(fileno=line_fd)
        self.begin: Begin = hear_first(self._line)
        self.shares = Shares(self.begin.shares, self.begin.places)
        self.grpc_shares = Shares(self.begin.grpc_shares, self.begin.places)
        self.loads = OwnLoads(Loads(self.begin.loads, self.begin.places), self.begin.place)
        self.pins = PinTable(self.begin.pins)
        self.sockets = [socket.socket(fileno=fd) for fd in self.begin.sockets]
        self._writer: asyncio.StreamWriter | None = None
        # What was collected earlier must not be told later.
        self._telling = asyncio.Lock()
        self._ended = False

    def refuse(self, problems: list[str]) -> None:
        """Say why this worker cannot start. Only before `run`."""
        self._line.sendall(framed(Refused(problems)))

    async def run(
        self, ready: Callable[[], bool], reopen: Callable[[], None], leave: Callable[[Leave], None]
    ) -> None:
        """Answer the supervisor until it goes; `leave` is called with its request."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._line)
        standing = [asyncio.create_task(work) for work in (self._beat(ready), self._keep_told())]
        try:
            while (message := await hear(reader, to_worker)) is not None:
                if isinstance(message, Ask):
                    await self._tell_metrics()
                elif isinstance(message, Reopen):
                    reopen()
                elif isinstance(message, Leave):
                    leave(message)
        finally:
            for task in standing:
                task.cancel()

    async def end(self) -> None:
        """Tell the metrics a last time, and close the line."""
        if self._writer is not None:
            with contextlib.suppress(ConnectionError):
                await self._tell_metrics()
                self._ended = True
                self._writer.close()
                await self._writer.wait_closed()

    async def _tell_metrics(self, *, asked: bool = True) -> float:
        """How long that took of a processor, in seconds."""
        async with self._telling:
            metrics, took_s = await asyncio.to_thread(_collected)
            if not self._ended:
                self._tell(Told(metrics, asked))
        return took_s

    async def _keep_told(self) -> None:
        assert self._writer is not None
        took_s = 0.0
        while True:
            # A supervisor that hangs reads nothing: what it was told then would only heap up here.
            if not self._writer.transport.get_write_buffer_size():
                took_s = await self._tell_metrics(asked=False)
            await asyncio.sleep(max(TELL_S, took_s / _TELL_SHARE))

    async def _beat(self, ready: Callable[[], bool]) -> None:
        said: bool | None = None
        said_at = 0.0
        while True:
            now, at = ready(), time.monotonic()
            if now != said or at - said_at >= BEAT_S:
                self._tell(Beat(now))
                said, said_at = now, at
            await asyncio.sleep(_LOOK_S)

    def _tell(self, message: FromWorker) -> None:
        assert self._writer is not None
        self._writer.write(framed(message))


def _collected() -> tuple[bytes, float]:
    began = time.thread_time()
    return told(), time.thread_time() - began
