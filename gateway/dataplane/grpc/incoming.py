"""One call of a caller's: messages in, messages out, and an end with a status."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable

from gateway.dataplane.grpc.opening import REPLY, Opening
from gateway.errors import internal_fault
from gateway.http2.codes import Code
from gateway.http2.decode import Head
from gateway.http2.encode import encoded
from gateway.http2.stream import Stream
from gateway.problem import shortened
from gateway.rpc.codes import RpcFault, Status
from gateway.rpc.messages import PREFIX_BYTES, MessageReader, prefix
from gateway.rpc.words import encoded_words
from gateway.types import Field

log = logging.getLogger(__name__)

_OK = encoded([(b"grpc-status", b"0")])
_ONE_WRITE_BYTES = 16_000


class Incoming:
    """A call, as its stream's receiver. `began` is monotonic seconds; `task` is what answers it, once something does.

    `fault` is what is wrong with its messages.
    """

    __slots__ = ("_reader", "_room", "_told", "began", "fault", "opening", "stream", "task")

    def __init__(self, stream: Stream, opening: Opening, began: float) -> None:
        assert opening.method is not None
        self.stream = stream
        self.opening = opening
        self.began = began
        self.task: asyncio.Task[None] | None = None
        self.fault: RpcFault | None = None
        self._told = False
        self._reader: MessageReader | None = None
        self._room: asyncio.Future[None] | None = None

    @property
    def remaining_s(self) -> float | None:
        """What is left until the caller's deadline, in seconds; None where it has none."""
        timeout_s = self.opening.timeout_s
        return None if timeout_s is None else max(0.0, self.began + timeout_s - time.monotonic())

    # --- to the caller ---

    def reply(self, block: bytes, message: bytes) -> None:
        """The whole reply, with its initial metadata as a block."""
        if len(message) < _ONE_WRITE_BYTES:
            self.stream.send_whole(block, prefix(len(message)) + message, _OK)
            return
        self.stream.send_head(block)
        self.stream.send_data(prefix(len(message)))
        self.stream.send_data(message)
        self.stream.send_trailers(_OK)

    def tell(self, block: bytes) -> None:
        """The initial metadata, as a block, of a reply whose messages follow."""
        if not self._told:
            self._told = True
            self.stream.send_head(block)

    async def write(self, message: bytes) -> None:
        """One message; waits while the caller takes no more."""
        self.tell(REPLY)
        if len(message) < _ONE_WRITE_BYTES:
            taken = self.stream.send_data(prefix(len(message)) + message)
        else:
            self.stream.send_data(prefix(len(message)))
            taken = self.stream.send_data(message)
        if not taken:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def end(self, status: Status, words: str = "", trailing: Iterable[Field] = ()) -> None:
        """No more messages, and why."""
        if status == Status.OK:
            block = _OK
        else:
            said = (b"grpc-message", encoded_words(shortened(words)))
            block = encoded([(b"grpc-status", b"%d" % status), said, *trailing])
        if self._told:
            self.stream.send_trailers(block)
        else:
            self.stream.send_head(REPLY + block, end=True)

    # --- from its stream ---

    def head(self, head: Head, *, ended: bool) -> None:
        """Never: that is a client's."""

    def data(self, data: memoryview, *, ended: bool) -> None:
        """More of its messages."""
        raise NotImplementedError

    def trailers(self, head: Head) -> None:
        """GRPC knows none from a client: the end."""
        self.data(memoryview(b""), ended=True)

    def reset(self, code: int, *, unprocessed: bool) -> None:
        """The caller has gone, or is no more waited for."""
        if self.task is not None:
            self.task.cancel()

    def drained(self) -> None:
        """The caller takes more."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def start(self) -> None:
        """Have it answered."""
        assert self.opening.method is not None
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        assert self.opening.method is not None
        try:
            await self.opening.method.answer(self)
        except RpcFault as fault:
            self.end(fault.status, fault.words)
        except asyncio.CancelledError:
            # Ended here: a task that ends as cancelled keeps the error, and with its frames the messages.
            self.stream.reset(Code.CANCEL)
        except Exception as error:
            log.exception("a call of %s failed inside the gateway", self.opening.method.path.decode())
            self.end(Status.INTERNAL, internal_fault().detail)
            error.__traceback__ = None
        finally:
            self.task = None

    def _feed(self, data: memoryview) -> None:
        """Make messages of what has come; they come to `_take`. What is too large is not waited for."""
        opening = self.opening
        reader = self._reader
        if reader is None:
            assert opening.method is not None
            reader = self._reader = MessageReader(opening.method.most_bytes, opening.encoding)
        reader.feed(data, self._take)

    def _take(self, message: bytes) -> None:
        raise NotImplementedError


class UnaryCall(Incoming):
    """A call with one message, which is there whole when the call is answered; None where it is not to be read, or there is a fault."""

    __slots__ = ("message",)

    def __init__(self, stream: Stream, opening: Opening, began: float) -> None:
        super().__init__(stream, opening, began)
        self.message: bytes | None = None

    def data(self, data: memoryview, *, ended: bool) -> None:
        """More of its message, or what nobody wants any more."""
        if self.task is not None or self.fault is not None:
            self.stream.consumed(len(data))
            return
        method = self.opening.method
        assert method is not None
        size = len(data) - PREFIX_BYTES
        if (
            ended
            and self._reader is None
            and 0 <= size <= method.most_bytes
            and data[0] == 0
            and int.from_bytes(data[1:PREFIX_BYTES]) == size
        ):
            # Nearly all come so: one message, not compressed, in one frame.
            self.message = bytes(data[PREFIX_BYTES:])
            self.start()
            return
        try:
            self._feed(data)
            if ended:
                self._check_end()
        except RpcFault as fault:
            self.fault = fault.with_traceback(None)
            self.message = None
        if ended or self.fault is not None:
            self.stream.consumed(len(data))
            self.start()
            return
        assert self._reader is not None
        self.stream.expect(self._reader.missing)
        self.stream.consumed(len(data))

    def _take(self, message: bytes) -> None:
        if self.message is not None:
            raise RpcFault(Status.INVALID_ARGUMENT, "The call has more than one message.")
        self.message = message

    def _check_end(self) -> None:
        if self.message is None or (self._reader is not None and not self._reader.empty):
            raise RpcFault(Status.INVALID_ARGUMENT, "The call ended without a message.")

    def too_slow(self) -> None:
        """Its message has not come in time."""
        self.fault = RpcFault(Status.DEADLINE_EXCEEDED, "The message did not come in time.")
        self.start()


class StreamCall(Incoming):
    """A call of several messages. What is not read yet is held within the stream's window, and one message."""

    __slots__ = ("_arrived", "_ended", "_messages", "_owed", "_timer")

    def __init__(self, stream: Stream, opening: Opening, began: float) -> None:
        super().__init__(stream, opening, began)
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
