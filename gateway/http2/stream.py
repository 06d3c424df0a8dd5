"""One stream: a request and its reply (RFC 9113 section 5)."""

from collections import deque
from typing import TYPE_CHECKING, Protocol

from gateway.http2 import frames
from gateway.http2.codes import DATA, END_HEADERS, END_STREAM, HEADERS, LEAST_FRAME, MOST, Code
from gateway.http2.decode import Head

if TYPE_CHECKING:
    from gateway.http2.outflow import Outflow


class Receiver(Protocol):
    """Takes what comes on one stream."""

    def head(self, head: Head, *, ended: bool) -> None:
        """A client's: the reply's status and fields (informational ones, 1xx, are left out); `ended`: nothing follows."""

    def data(self, data: memoryview, *, ended: bool) -> None:
        """The next bytes, lent for the call; perhaps none, where only the end comes. To be `consumed`, all of them, some time."""

    def trailers(self, head: Head) -> None:
        """The fields behind the data. Nothing follows."""

    def reset(self, code: int, *, unprocessed: bool) -> None:
        """The stream is over, and nothing more comes or can be sent; `code` is the reason, `codes.LOST` where the connection is.

        `unprocessed`: the other side has done nothing, it may be tried again on another connection.
        """

    def drained(self) -> None:
        """What had to wait (`send_data` said so) has gone; more may follow."""


class Stream:
    """One stream of a connection. Once it is over, or reset, what is sent on it is dropped.

    `window` is how many bytes the other side takes, `their_window` how many it may send. `got_head` and `got_end` say what has come,
    `sent_end` what has gone. `length_left` is what is missing of a `content-length`, below 0 where there is none.
    """

    __slots__ = (
        "_beyond",
        "_outflow",
        "_returned_at",
        "_unreturned",
        "ending",
        "got_end",
        "got_head",
        "held",
        "id",
        "length_left",
        "pending",
        "receiver",
        "sent_end",
        "their_window",
        "trailers",
        "window",
    )

    receiver: Receiver

    def __init__(self, number: int, outflow: "Outflow", window: int, their_window: int) -> None:
        self.id = number
        self.receiver = GONE
        self._outflow = outflow
        self.window = window
        self.their_window = their_window
        self._returned_at = their_window >> 1
        self._unreturned = self._beyond = self.held = 0
        self.got_head = self.got_end = self.sent_end = False
        self.length_left = -1
        # What waits for the windows or the transport: data, then the end of the stream (`ending`), with trailers or without.
        self.pending: deque[memoryview] | None = None
        self.ending = False
        self.trailers = b""

    def send_head(self, block: bytes, *, end: bool = False) -> None:
        """The fields that a reply begins with (a request's go with `Connection.open`)."""
        if not self.sent_end:
            outflow = self._outflow
            outflow.say(outflow.headers(block, END_STREAM if end else 0, self.id))
            if end:
                outflow.ended(self)

    def send_data(self, data: bytes | memoryview, *, end: bool = False) -> bool:
        """Send bytes, which may not change any more. False: some wait for the other side; `Receiver.drained` tells when none does."""
        if self.sent_end or self.ending:
            return True
        outflow = self._outflow
        size = len(data)
        if self.pending is None and (not size or (size <= self.window and outflow.takes(size))):
            self.window -= size
            outflow.window -= size
            outflow.say(b"".join((frames.head(size << 8 | DATA, END_STREAM if end else 0, self.id), data)))
            if end:
                outflow.ended(self)
            return True
        if size:
            if self.pending is None:
                self.pending = deque()
            self.pending.append(memoryview(data))
        self.ending = end
        outflow.wait(self)
        return self.pending is None

    def send_trailers(self, block: bytes) -> None:
        """The fields behind the data, and the end."""
        if self.sent_end or self.ending:
            return
        if self.pending is None:
            self.send_head(block, end=True)
        else:
            self.ending, self.trailers = True, block

    def send_whole(self, block: bytes, data: bytes, trailers: bytes) -> None:
        """All of a reply, in one write where the windows allow it."""
        outflow = self._outflow
        size = len(data)
        if (
            self.sent_end
            or size > self.window
            or not outflow.takes(size)
            or len(block) + len(trailers) > LEAST_FRAME
            or outflow.before_block
        ):
            self.send_head(block)
            self.send_data(data)
            self.send_trailers(trailers)
            return
        self.window -= size
        outflow.window -= size
        number, head = self.id, frames.head
        outflow.say(
            b"".join(
                (
                    head(len(block) << 8 | HEADERS, END_HEADERS, number),
                    block,
                    head(size << 8 | DATA, 0, number),
                    data,
                    head(len(trailers) << 8 | HEADERS, END_HEADERS | END_STREAM, number),
                    trailers,
                )
            )
        )
        outflow.ended(self)

    def reset(self, code: Code = Code.CANCEL) -> None:
        """End it at once. The receiver is told of nothing any more."""
        self._outflow.reset(self, code)

    def consumed(self, count: int) -> None:
        """So many bytes of what was received are done with: the other side may send as many again."""
        if not self.held:
            return
        self.held -= count
        self._outflow.consumed(count)
        if self._beyond:
            paid = min(self._beyond, count)
            self._beyond -= paid
            count -= paid
        self._unreturned += count
        if self._unreturned > self._returned_at and not self.got_end:
            self._grant(self._unreturned)
            self._unreturned = 0

    def expect(self, count: int) -> None:
        """Let the other side send so many bytes beyond those received, even if that is more than the window."""
        more = min(count, MOST) - self.their_window
        if more > 0 and not self.got_end:
            # What was consumed and not said yet is said now; only what goes beyond the window is owed.
            self._beyond += max(0, more - self._unreturned)
            self._unreturned = max(0, self._unreturned - more)
            self._grant(more)

    def _grant(self, count: int) -> None:
        self.their_window += count
        self._outflow.control(frames.window_update(self.id, count))


class _Gone:
    """The receiver of a stream that is over."""

    def head(self, head: Head, *, ended: bool) -> None:
        pass

    def data(self, data: memoryview, *, ended: bool) -> None:
        pass

    def trailers(self, head: Head) -> None:
        pass

    def reset(self, code: int, *, unprocessed: bool) -> None:
        pass

    def drained(self) -> None:
        pass


GONE = _Gone()
