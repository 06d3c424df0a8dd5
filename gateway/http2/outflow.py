"""What one connection sends: its window, and whose data waits for it (RFC 9113 section 5.2).

Frames that are not data go out at once, as section 5.2.1 wants it. Streams that wait have a frame each in turn.
"""

import asyncio
from collections import deque
from typing import Protocol

from gateway.http2 import frames
from gateway.http2.codes import DATA, END_STREAM, FIRST_WINDOW, LEAST_FRAME, Code
from gateway.http2.stream import Stream

_BURST_BYTES = 256 * 1024
_LEAST_SAID_BYTES = 256


class Ends(Protocol):
    """Whoever must know how streams end: their connection."""

    def sent_all(self, stream: Stream) -> None:
        """Nothing more is sent on it."""

    def resets(self, stream: Stream, code: Code) -> None:
        """It ends before its time, from this side."""

    def consumed(self, count: int) -> None:
        """So much of what came is done with."""


class Outflow:
    """The way out. `window` is what the other side takes, `most_frame` its largest frame. `before_block` stands before the next block.

    While it is `gathering`, what is said waits for `flush`. `paused`: the transport takes no data for now. `spoke` is set
    when headers or data go out.
    """

    __slots__ = (
        "_ends",
        "_out",
        "_waiting",
        "before_block",
        "gathering",
        "most_frame",
        "paused",
        "spoke",
        "transport",
        "window",
    )

    def __init__(self, ends: Ends) -> None:
        self._ends: Ends | None = ends
        self.transport: asyncio.Transport | None = None
        self.window = FIRST_WINDOW
        self.most_frame = LEAST_FRAME
        self.gathering = self.paused = self.spoke = False
        self._out: list[bytes] = []
        self._waiting: dict[int, Stream] = {}
        self.before_block = b""

    # --- frames ---

    def say(self, data: bytes) -> None:
        """Send headers or data."""
        self.spoke = True
        self.control(data)

    def control(self, data: bytes) -> None:
        """Send any other frame."""
        if self.gathering:
            self._out.append(data)
        elif self.transport is not None:
            self.transport.write(data)

    def flush(self) -> None:
        """Send what was gathered."""
        out = self._out
        if out:
            if self.transport is not None:
                self.transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()

    def headers(self, block: bytes, flags: int, number: int) -> bytes:
        """A header block, in frames."""
        if self.before_block:
            block, self.before_block = self.before_block + block, b""
        return frames.headers(block, flags, number, LEAST_FRAME)

    # --- data ---

    def takes(self, size: int) -> bool:
        """Whether so many bytes may go out now, in one frame."""
        return size <= self.window and size <= self.most_frame and not self.paused

    def wait(self, stream: Stream) -> None:
        """The stream has more than may go out, perhaps not for long: its window has grown."""
        if stream.window > 0:
            self._waiting[stream.id] = stream
            self.pump()

    def pump(self) -> None:
        """Send of what waits as much as may go out now."""
        waiting = self._waiting
        while waiting and self.window > 0 and not self.paused and self.transport is not None:
            pieces: list[bytes | memoryview] = []
            over: list[Stream] = []
            ready = deque(waiting.values())
            size = 0
            while ready and size < _BURST_BYTES and self.window > 0:
                stream = ready.popleft()
                size += self._take_frame(stream, pieces)
                if stream.pending is None:
                    over.append(stream)
                elif stream.window > 0:
                    ready.append(stream)
                    continue
                del waiting[stream.id]
            # Who lets us send byte by byte is not spoken to (CVE-2019-9511).
            self.spoke = self.spoke or size > _LEAST_SAID_BYTES or bool(over)
            self.flush()
            self.transport.writelines(pieces)
            for stream in over:
                if stream.ending:
                    self.ended(stream)
                else:
                    stream.receiver.drained()

    def _take_frame(self, stream: Stream, pieces: list[bytes | memoryview]) -> int:
        """The stream's next frame, as far as the windows allow; behind its last one, its end. How many bytes of data that is."""
        pending = stream.pending
        assert pending
        view = pending[0]
        size = min(len(view), self.most_frame, stream.window, self.window)
        if size < len(view):
            pending[0] = view[size:]
        else:
            pending.popleft()
        stream.window -= size
        self.window -= size
        end = stream.ending and not stream.trailers and not pending
        pieces += (frames.head(size << 8 | DATA, END_STREAM if end else 0, stream.id), view[:size])
        if not pending:
            stream.pending = None
            if stream.trailers:
                pieces.append(self.headers(stream.trailers, END_STREAM, stream.id))
        return size

    # --- ends ---

    def ended(self, stream: Stream) -> None:
        """The end of the stream has gone out."""
        stream.sent_end = True
        if self._ends is not None:
            self._ends.sent_all(stream)

    def reset(self, stream: Stream, code: Code) -> None:
        """End a stream at once."""
        if self._ends is not None:
            self._ends.resets(stream, code)

    def forget(self, stream: Stream) -> None:
        """The stream is over: what it still had to send is dropped."""
        self._waiting.pop(stream.id, None)
        stream.pending = None
        stream.sent_end = True

    def consumed(self, count: int) -> None:
        """So much of what came is done with."""
        if self._ends is not None:
            self._ends.consumed(count)

    def close(self) -> None:
        """Nothing more can be sent."""
        self.transport = None
        self._ends = None
        self._waiting.clear()
        self._out.clear()
