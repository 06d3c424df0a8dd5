"""One call of a caller's: messages in, messages out, and an end with a status."""

import asyncio
import logging
import time
from collections.abc import Iterable

from gateway.dataplane.grpc.opening import REPLY, Opening
from gateway.errors import internal_fault
from gateway.http2.codes import Code
from gateway.http2.decode import Head
from gateway.http2.encode import encoded
from gateway.http2.stream import Stream
from gateway.problem import shortened
from gateway.rpc.codes import RpcFault, Status
from gateway.rpc.messages import MessageReader, prefix
from gateway.rpc.words import encoded_words
from gateway.types import Field

log = logging.getLogger(__name__)

_OK = encoded([(b"grpc-status", b"0")])
_ONE_WRITE_BYTES = 16_000


class OpenCalls:
    """How many `calls` are under way at a listener, whether they are answered yet or their messages are still coming."""

    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls = 0


class Incoming:
    """A call, as its stream's receiver. `began` is monotonic seconds; `task` is what answers it, once something does.

    `fault` is what is wrong with its messages.
    """

    __slots__ = ("_open", "_reader", "_room", "_told", "began", "fault", "opening", "stream", "task")

    def __init__(self, stream: Stream, opening: Opening, began: float, open_calls: OpenCalls) -> None:
        assert opening.method is not None
        self.stream = stream
        self.opening = opening
        self.began = began
        self.task: asyncio.Task[None] | None = None
        self.fault: RpcFault | None = None
        self._told = False
        self._open: OpenCalls | None = open_calls
        open_calls.calls += 1
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
        else:
            self._count_off()

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
            self._count_off()

    def _count_off(self) -> None:
        if self._open is not None:
            self._open.calls -= 1
            self._open = None

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
