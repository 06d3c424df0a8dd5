"""The streams of one connection: what comes on them, in which state it may, and how they end (RFC 9113 sections 5.1 and 8.1)."""

from typing import Protocol

from gateway.http2 import frames
from gateway.http2.codes import FIRST_WINDOW, Code
from gateway.http2.decode import Decoder, Head
from gateway.http2.faults import ConnectionFault
from gateway.http2.fields import judge_reply, judge_request, judge_trailers
from gateway.http2.limits import Limits
from gateway.http2.outflow import Outflow
from gateway.http2.reader import FrameReader
from gateway.http2.stream import GONE, Receiver, Stream

_MOST_CLOSED = 1024

# How a stream was closed.
_ENDED, _RESET_HERE, _RESET_THERE = 1, 2, 3


class Owner(Protocol):
    """Whoever the connection belongs to: a listener's caller, or a client."""

    def request(self, stream: Stream, head: Head, *, ended: bool) -> Receiver:
        """A server's: a request has begun, and what follows goes to the receiver; `ended`: nothing does.

        Where the head is `too_large`, fields are missing, perhaps all of them. What it does at once (`stream.send_…`) goes out with the rest of this read.
        """

    def ready(self) -> None:
        """The other side's first SETTINGS are here: `room` is what it allows."""

    def room_made(self) -> None:
        """A client's: there was no `room`, and there is now."""

    def going_away(self, code: int, words: bytes) -> None:
        """The other side has sent GOAWAY: no stream can be opened any more; those that it will not serve have been reset."""

    def ponged(self, data: bytes) -> None:
        """The answer to a `ping` is here."""

    def lost(self, fault: Exception | None) -> None:
        """The connection is gone, all its streams having been reset. `fault` is a `ConnectionFault`, an `OSError`, or None."""


class Streams(FrameReader):
    """The open `streams` of a connection by number, and what is remembered of those that were closed of late."""

    def __init__(self, owner: Owner, limits: Limits, *, server: bool) -> None:
        super().__init__(limits, Outflow(self), server=server)
        self.streams: dict[int, Stream] = {}
        self._owner: Owner | None = owner
        self._server = server
        self._decoder = Decoder(limits.header_list_bytes)
        # The newest stream of the other side's, or of ours.
        self._newest = 0 if server else -1
        self._closed: dict[int, int] = {}
        # `final`: the other side was told that no stream beyond the newest one is served.
        self._final = False
        self._first_window = FIRST_WINDOW
        self._stream_window = max(limits.stream_window, FIRST_WINDOW)
        self._their_window = max(limits.connection_window, FIRST_WINDOW)
        self._unreturned = 0
        self._returned_at = self._their_window >> 1

    # --- data ---

    def _data(self, number: int, length: int, view: memoryview, *, ended: bool) -> Stream | None:
        self._their_window -= length
        if self._their_window < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more data than the connection's window")
        stream = self.streams.get(number)
        if stream is None or stream.got_end:
            self.consumed(length)
            self._late_data(number, stream)
            return None
        if not ended and not view:
            self._heard_control()
        stream.their_window -= length
        if stream.their_window < 0:
            self.consumed(length)
            self._stream_fault(stream, Code.FLOW_CONTROL_ERROR)
        elif not stream.got_head:
            self.consumed(length)
            self._stream_fault(stream, Code.PROTOCOL_ERROR)
        else:
            if length != len(view) and not self._missing:
                # Padding.
                stream.held += length - len(view)
                stream.consumed(length - len(view))
            self._more_data(stream, view, ended=ended)
            return stream
        return None

    def _more_data(self, stream: Stream, view: memoryview, *, ended: bool) -> None:
        size = len(view)
        if stream.id not in self.streams:
            self.consumed(size)
            return
        if stream.length_left >= 0:
            stream.length_left -= size
            if stream.length_left < 0 or (ended and stream.length_left):
                self.consumed(size)
                self._stream_fault(stream, Code.PROTOCOL_ERROR)
                return
        stream.held += size
        stream.got_end = ended
        stream.receiver.data(view, ended=ended)
        if ended and stream.sent_end:
            self._close(stream, _ENDED)

    def _late_data(self, number: int, stream: Stream | None) -> None:
        """Data for a stream that takes none."""
        if stream is not None:
            self._stream_fault(stream, Code.STREAM_CLOSED)
        elif self._is_idle(number):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "data on an idle stream")
        elif self._how_closed(number) != _RESET_HERE:
            self._flood.reset()
            self._outflow.control(frames.reset(number, Code.STREAM_CLOSED))

    def consumed(self, count: int) -> None:
        """So much of what came is done with: the other side may send as much again."""
        self._unreturned += count
        if self._unreturned > self._returned_at:
            self._their_window += self._unreturned
            self._outflow.control(frames.window_update(0, self._unreturned))
            self._unreturned = 0

    # --- headers ---

    def _headers(self, number: int, block: bytes, *, ended: bool, on_itself: bool) -> None:
        stream = self.streams.get(number)
        if stream is None:
            if self._server and number > self._newest:
                self._request(number, block, ended=ended, on_itself=on_itself)
            else:
                self._late_headers(number, block)
        elif stream.got_head:
            head = self._decoder.decode(block, judge_trailers)
            if stream.got_end:
                self._stream_fault(stream, Code.STREAM_CLOSED)
            elif head.fault is not None or head.too_large or not ended or on_itself or stream.length_left > 0:
                self._stream_fault(stream, Code.PROTOCOL_ERROR)
            else:
                stream.got_end = True
                stream.receiver.trailers(head)
                if stream.sent_end:
                    self._close(stream, _ENDED)
        else:
            self._reply(stream, self._decoder.decode(block, judge_reply), ended=ended)

    def _request(self, number: int, block: bytes, *, ended: bool, on_itself: bool) -> None:
        if not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a stream with an even number")
        head = self._decoder.decode(block, judge_request)
        if self._final:
            self._remember(number, _RESET_HERE)
            return
        self._newest = number
        if len(self.streams) >= self._limits.streams:
            self._refuse(number, Code.REFUSED_STREAM)
        elif head.fault is not None or on_itself or (ended and head.length > 0):
            self._refuse(number, Code.PROTOCOL_ERROR)
        elif self._owner is not None:
            stream = Stream(number, self._outflow, self._first_window, self._stream_window)
            stream.got_head, stream.got_end, stream.length_left = True, ended, head.length
            self.streams[number] = stream
            receiver = self._owner.request(stream, head, ended=ended)
            if number in self.streams:
                stream.receiver = receiver

    def _block_too_large(self, number: int) -> None:
        """Whoever asks with it is still told so, by whoever answers."""
        if (
            self._server
            and number & 1
            and number > self._newest
            and not self._final
            and self._owner is not None
        ):
            self._newest = number
            stream = Stream(number, self._outflow, self._first_window, self._stream_window)
            stream.got_head = stream.got_end = True
            self.streams[number] = stream
            self._owner.request(stream, Head((), too_large=True), ended=True)

    def _reply(self, stream: Stream, head: Head, *, ended: bool) -> None:
        if head.fault is not None:
            self._stream_fault(stream, Code.PROTOCOL_ERROR)
        elif head.fields[0][1][:1] == b"1":
            self._heard_control()
            if ended:
                self._stream_fault(stream, Code.PROTOCOL_ERROR)
        else:
            stream.got_head, stream.got_end = True, ended
            if not ended:
                stream.length_left = head.length
            stream.receiver.head(head, ended=ended)
            if ended and stream.sent_end:
                self._close(stream, _ENDED)

    def _late_headers(self, number: int, block: bytes) -> None:
        """Headers of a stream that is closed; or of one that nobody may open."""
        self._decoder.decode(block, judge_trailers)
        how = self._how_closed(number)
        if how is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "headers of a stream that cannot be opened")
        if how != _RESET_HERE:
            raise ConnectionFault(Code.STREAM_CLOSED, "headers of a stream that is closed")
        self._flood.control()

    # --- ends ---

    def sent_all(self, stream: Stream) -> None:
        """Nothing more is sent on it."""
        if stream.got_end:
            self._close(stream, _ENDED)
        elif self._server:
            # The reply is whole: the rest of the request is not wanted (section 8.1).
            self._outflow.control(frames.reset(stream.id, Code.NO_ERROR))
            self._close(stream, _RESET_HERE)

    def resets(self, stream: Stream, code: Code) -> None:
        """It ends before its time, from this side."""
        if stream.id in self.streams:
            self._outflow.control(frames.reset(stream.id, code))
            self._close(stream, _RESET_HERE)

    def _was_reset(self, number: int, code: int) -> None:
        """The other side ends a stream."""
        stream = self.streams.get(number)
        if stream is None:
            if self._is_idle(number):
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a reset of an idle stream")
            self._flood.control()
            return
        self._flood.reset()
        receiver, began = stream.receiver, stream.got_head
        whole = stream.got_end and not self._server
        self._close(stream, _RESET_THERE)
        if not (whole and code == Code.NO_ERROR):
            receiver.reset(code, unprocessed=code == Code.REFUSED_STREAM and (self._server or not began))

    def _stream_fault(self, stream: Stream, code: Code) -> None:
        """The other side does on a stream what may not be. What makes this side reset counts as if it did so itself."""
        receiver = stream.receiver
        self.resets(stream, code)
        receiver.reset(code, unprocessed=False)
        self._flood.reset()

    def _refuse(self, number: int, code: Code) -> None:
        """A stream that is never opened."""
        self._outflow.control(frames.reset(number, code))
        self._remember(number, _RESET_HERE)
        self._flood.reset()

    def _close(self, stream: Stream, how: int) -> None:
        if self.streams.pop(stream.id, None) is None:
            return
        self._remember(stream.id, how)
        if stream.held:
            self.consumed(stream.held)
            stream.held = 0
        self._outflow.forget(stream)
        stream.got_end = True
        # A receiver knows its stream.
        stream.receiver = GONE
        self._stream_left()

    def _remember(self, number: int, how: int) -> None:
        closed = self._closed
        if len(closed) >= _MOST_CLOSED:
            for old in list(closed)[: _MOST_CLOSED // 2]:
                del closed[old]
        closed[number] = how

    def _drop_all(self, code: int, above: int = 0) -> None:
        """End the streams beyond a number without a word to the other side."""
        for stream in [stream for stream in self.streams.values() if stream.id > above]:
            receiver, untouched = stream.receiver, code == Code.REFUSED_STREAM and not stream.got_head
            self._close(stream, _RESET_HERE)
            receiver.reset(code, unprocessed=untouched)

    def _how_closed(self, number: int) -> int | None:
        """How a stream was closed; None where it was never opened. A client's own were, and what is not remembered it has reset."""
        opened = not self._server and number & 1 and number <= self._newest
        return self._closed.get(number, _RESET_HERE if opened else None)

    def _is_idle(self, number: int) -> bool:
        """Whether a stream was never opened (section 5.1.1). Nobody pushes, so none has an even number."""
        return not number & 1 or (number > self._newest and number not in self._closed)

    def _heard_control(self) -> None:
        """A frame came that cost its sender nothing."""
        if self._outflow.spoke:
            self._outflow.spoke = False
            self._flood.spoke()
        self._flood.control()

    def _stream_left(self) -> None:
        """There is one stream less."""
        raise NotImplementedError
