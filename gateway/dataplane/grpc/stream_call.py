"""A call of several messages, read one after another."""

import asyncio
from collections import deque
from collections.abc import Iterable

from gateway.dataplane.grpc.incoming import Incoming, OpenCalls
from gateway.dataplane.grpc.opening import Opening
from gateway.http2.stream import Stream
from gateway.rpc.codes import RpcFault, Status
from gateway.types import Field


class StreamCall(Incoming):
    """A call of several messages. What is not read yet is held within the stream's window, and one message."""

    __slots__ = ("_arrived", "_ended", "_messages", "_owed", "_timer")

    def __init__(self, stream: Stream, opening: Opening, began: float, open_calls: OpenCalls) -> None:
        super().__init__(stream, opening, began, open_calls)
        self._messages: deque[bytes] = deque()
        self._arrived: asyncio.Future[None] | None = None
        self._ended = False
        self._owed = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Have it answered, until its caller's deadline at most."""
        super().start()
        if (remaining_s := self.remaining_s) is not None:
            self._timer = asyncio.get_running_loop().call_later(remaining_s, self._overdue)

    async def read(self) -> bytes | None:
        """The next message; None when there are no more, or none is wanted. Raises `RpcFault`."""
        while not self._messages:
            if self.fault is not None:
                raise self.fault
            if self._ended:
                return None
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        message = self._messages.popleft()
        if not self._messages:
            self._pay()
        return message

    def read_no_more(self) -> None:
        """What comes from now on is not wanted."""
        self._ended = True
        self._messages.clear()
        self._pay()
        self._wake()

    def data(self, data: memoryview, *, ended: bool) -> None:
        """More of its messages."""
        self._owed += len(data)
        if not self._ended and self.fault is None:
            try:
                self._feed(data)
                if ended and self._reader is not None and not self._reader.empty:
                    raise RpcFault(Status.INVALID_ARGUMENT, "The call ended within a message.")
            except RpcFault as fault:
                self.fault = fault.with_traceback(None)
            self._ended = ended
            self._wake()
        if not self._messages:
            self._pay()

    def reset(self, code: int, *, unprocessed: bool) -> None:
        """The caller has gone."""
        super().reset(code, unprocessed=unprocessed)
        self._stop_timer()

    def end(self, status: Status, words: str = "", trailing: Iterable[Field] = ()) -> None:
        """No more messages, and why."""
        self._stop_timer()
        super().end(status, words, trailing)

    def _take(self, message: bytes) -> None:
        self._messages.append(message)

    def _pay(self) -> None:
        """Nothing waits to be read: the caller may send more, of a large message all that it still needs."""
        owed, self._owed = self._owed, 0
        if self._reader is not None and self._reader.missing:
            self.stream.expect(self._reader.missing)
        self.stream.consumed(owed)

    def _wake(self) -> None:
        arrived, self._arrived = self._arrived, None
        if arrived is not None and not arrived.done():
            arrived.set_result(None)

    def _overdue(self) -> None:
        self.end(Status.DEADLINE_EXCEEDED, "The call's deadline has passed.")
        if self.task is not None:
            self.task.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
