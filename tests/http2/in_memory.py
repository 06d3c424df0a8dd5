"""A connection, either role, on a transport that is only memory: what it is told by what comes, and what it sends."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from hyperframe.frame import Frame

from gateway.http2.connection import Connection
from gateway.http2.decode import Head
from gateway.http2.encode import encoded
from gateway.http2.limits import Limits
from gateway.http2.stream import Receiver, Stream
from tests.http2.wire import EMPTY_MESSAGE, FIELDS, PREFACE

REPLY = encoded([(b":status", b"200"), (b"content-type", b"application/grpc")])
END = encoded([(b"grpc-status", b"0")])
REQUEST = encoded(FIELDS)

Event = tuple[Any, ...]


@contextlib.contextmanager
def no_timers() -> Iterator[None]:
    """Within it a connection may ask for a timer as in an event loop; none of them is ever due."""
    loop = asyncio.new_event_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(None)
        loop.close()


class Memory(asyncio.Transport):
    """Keeps what is written, which the other side takes at once. `closed`: nothing more is written; `aborted`: nor read."""

    def __init__(self) -> None:
        super().__init__()
        self.out = bytearray()
        self.closed = self.aborted = False
        self.reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        self.out += data

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        for data in list_of_data:
            self.out += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.aborted

    def close(self) -> None:
        self.closed = self.aborted = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def write_eof(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return True

    def is_reading(self) -> bool:
        return self.reading and not self.aborted

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Line:
    """The connection and all that it tells. What it is sent it consumes at once, and as a server it answers what has come whole."""

    def __init__(self, *, server: bool, limits: Limits | None = None, answers: bool = True) -> None:
        self.events: list[Event] = []
        self.calls: dict[int, _Call] = {}
        self.answers = answers
        self.transport = Memory()
        self.connection = Connection(self, limits or Limits(), server=server)
        self.connection.connection_made(self.transport)
        self._parsed = 0

    def feed(self, data: bytes, sizes: Iterable[int] = ()) -> None:
        """Let it read the bytes, in pieces of these sizes and then the rest."""
        left = memoryview(data)
        for size in (*sizes, len(data)):
            piece, left = left[:size], left[size:]
            while piece and not self.transport.aborted:
                buffer = memoryview(self.connection.get_buffer(-1))
                count = min(len(buffer), len(piece))
                buffer[:count] = piece[:count]
                self.connection.buffer_updated(count)
                piece = piece[count:]

    def lose(self, error: Exception | None = None) -> None:
        """The transport is gone."""
        self.connection.connection_lost(error)

    def ask(self, *, end: bool = False) -> "_Call":
        """A client's: a request, of which the body is still to come unless it ends here."""
        call = _Call(self)
        call.stream = self.connection.open(REQUEST, call, end=end)
        self.calls[call.stream.id] = call
        return call

    def meaning(self) -> list[Event]:
        """What was told, but for data of calls that were reset: how much of that comes before goes by pieces."""
        resets = {event[1] for event in self.events if event[0] == "reset"}
        return [event for event in self.events if event[0] != "data" or event[1] not in resets]

    def said(self) -> list[Frame]:
        """The frames that it has sent since the last time."""
        found = []
        out = bytes(self.transport.out)
        if not self._parsed and out.startswith(PREFACE):
            self._parsed = len(PREFACE)
        while self._parsed < len(out):
            frame, length = Frame.parse_frame_header(memoryview(out[self._parsed : self._parsed + 9]))
            frame.parse_body(memoryview(out[self._parsed + 9 : self._parsed + 9 + length]))
            self._parsed += 9 + length
            found.append(frame)
        return found

    # --- its owner ---

    def request(self, stream: Stream, head: Head, *, ended: bool) -> Receiver:
        self.events.append(("request", stream.id, head.fields, head.too_large))
        call = self.calls[stream.id] = _Call(self)
        call.stream = stream
        if ended:
            call.over()
        return call

    def ready(self) -> None:
        self.events.append(("ready",))

    def room_made(self) -> None:
        self.events.append(("room",))

    def going_away(self, code: int, words: bytes) -> None:
        self.events.append(("going away", code, words))

    def ponged(self, data: bytes) -> None:
        self.events.append(("ponged", bytes(data)))

    def lost(self, fault: Exception | None) -> None:
        self.events.append(("lost", type(fault), str(fault)))


class _Call:
    stream: Stream

    def __init__(self, line: Line) -> None:
        self._line = line

    def _tell(self, what: str, *more: Any) -> None:
        self._line.events.append((what, self.stream.id, *more))

    def head(self, head: Head, *, ended: bool) -> None:
        self._tell("head", head.fields, head.too_large)
        if ended:
            self.over()

    def data(self, data: memoryview, *, ended: bool) -> None:
        last = self._line.events[-1] if self._line.events else ()
        if last[:2] == ("data", self.stream.id):
            self._line.events[-1] = (*last[:2], last[2] + bytes(data))
        elif data:
            self._tell("data", bytes(data))
        self.stream.consumed(len(data))
        if ended:
            self.over()

    def trailers(self, head: Head) -> None:
        self._tell("trailers", head.fields)
        self.over()

    def reset(self, code: int, *, unprocessed: bool) -> None:
        self._tell("reset", int(code), unprocessed)

    def drained(self) -> None:
        self._tell("drained")

    def over(self) -> None:
        """Nothing more comes."""
        self._tell("over")
        if self._line.answers and ("request", self.stream.id) in [
            event[:2] for event in self._line.events if event[0] == "request"
        ]:
            self.stream.send_whole(REPLY, EMPTY_MESSAGE, END)
