"""Captures calls that are chosen as samples: what passes is noted on its way, within bounds, and handed on at the end.

Nothing here masks or writes: `SampleTaker` does, and is wired in by `app`. An alias that is not sampled costs one look.
"""

from typing import Protocol

from gateway.reports import SampleDeletion, SampleReport
from gateway.snapshot.compile import Snapshot
from gateway.types import Alias, Captured, Target
from gateway.upstream.exchange import Body, Headers, Receiver, ReplySource, Sink


class SampleTaker(Protocol):
    """Whoever keeps samples. `max_bytes` bounds what is captured of a request, and of a reply."""

    max_bytes: int

    def activated(self, snapshot: Snapshot) -> None:
        """Follow a snapshot."""

    def wants(self, alias: Alias, target: Target, request_id: str) -> float | None:
        """The probability with which this call was chosen, if it is to be captured; else None."""

    def hold(self, size_bytes: int) -> bool:
        """Whether so many more bytes may be kept until `let_go`."""

    def let_go(self, size_bytes: int) -> None:
        """So many bytes are not kept any more."""

    def take(self, call: Captured) -> None:
        """A captured call is over."""

    async def run(self) -> None:
        """What is to be done beside requests, until cancelled."""

    async def stop(self) -> None:
        """Finish what was taken, within a limit."""

    def report(self) -> SampleReport:
        """What the control plane is told."""

    def forget(self, deletions: list[SampleDeletion]) -> None:
        """Subjects whose samples are to go."""


class Tee:
    """The bytes of one body, as they pass: as long as they are few enough. `missing` says why they are not kept."""

    __slots__ = ("_pieces", "_taker", "held_bytes", "missing", "whole")

    def __init__(self, taker: SampleTaker) -> None:
        self._taker = taker
        self._pieces: list[bytes] = []
        self.held_bytes = 0
        self.whole = False
        self.missing: str | None = None

    def expect(self, length: int | None) -> None:
        """So many bytes will come (None: nobody knows)."""
        if length is not None and length > self._taker.max_bytes:
            self.give_up("too_large")

    def note(self, data: bytes | memoryview) -> None:
        """The next bytes; a view is copied."""
        if self.missing is not None:
            return
        size = len(data)
        if self.held_bytes + size > self._taker.max_bytes:
            self.give_up("too_large")
        elif not self._taker.hold(size):
            self.give_up("memory")
        else:
            self.held_bytes += size
            self._pieces.append(bytes(data))

    def give_up(self, why: str) -> None:
        """Keep nothing of it, nor of what may still come."""
        self.missing = why
        self._pieces.clear()
        self._taker.let_go(self.held_bytes)
        self.held_bytes = 0

    def take(self) -> tuple[bytes | None, str | None]:
        """The body, if it came whole and was kept, else why it is not there. The tee notes nothing more."""
        if self.missing is None and self.whole:
            body = b"".join(self._pieces)
            self.give_up("taken")
            return body, None
        if self.missing is None:
            self.give_up("incomplete")
        return None, self.missing


class Capture:
    """What is noted of one call that was chosen with the probability `inclusion`. `body` and `sink` stand in for the call's.

    Nothing here refers back to it: what a call leaves behind is gone at once, without the garbage collector.
    """

    __slots__ = ("_noting", "_reply", "_request", "_taker", "body", "inclusion", "sink")

    def __init__(self, taker: SampleTaker, inclusion: float, body: Body | None, sink: Sink) -> None:
        self.inclusion = inclusion
        self._taker = taker
        self._request = Tee(taker)
        self._reply = Tee(taker)
        self._noting: _NotingBody | None = None
        self.sink = NotingSink(sink, self._reply)
        self.body = body
        if body is not None:
            self._request.expect(body.length)
            if not body.complete and self._request.missing is None:
                # A body that is whole stays where it is until the call's end; one that is arriving is noted on its way.
                self.body = self._noting = _NotingBody(body, self._request)

    def request(self, body: Body | None) -> tuple[bytes | None, str | None]:
        """What came of the call's `body`, or why it is not there."""
        tee = self._request
        on_its_way = self._noting is not None and self._noting.started
        if body is not None and body.complete and not on_its_way and tee.missing is None:
            tee.note(body.take())
            tee.whole = True
        if self._noting is not None:
            self._noting.forget()
            self._noting = self.body = None
        return tee.take()

    def reply(self) -> tuple[bytes | None, str | None]:
        """The reply's body, or why it is not there."""
        return self._reply.take()

    def end(self, call: Captured) -> None:
        """The call is over."""
        self._taker.take(call)


class NotingSink:
    """A reply that is noted on its way to the caller."""

    __slots__ = ("_sink", "_tee", "headers")

    def __init__(self, sink: Sink, tee: Tee) -> None:
        self._sink = sink
        self._tee = tee
        self.headers: Headers = ()

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Note and pass on."""
        self.headers = headers
        self._tee.note(body)
        self._tee.whole = True
        self._sink.reply_whole(status, headers, body)

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        """Note and pass on."""
        self.headers = headers
        self._tee.expect(length)
        self._sink.reply_head(status, headers, length, source)

    def reply_data(self, data: bytes | memoryview) -> None:
        """Note and pass on."""
        self._tee.note(data)
        self._sink.reply_data(data)

    def reply_end(self) -> None:
        """Note and pass on."""
        self._tee.whole = True
        self._sink.reply_end()


class _NotingBody:
    """A request's body that is noted as it is handed over."""

    __slots__ = ("_body", "_receiver", "_tee", "started")

    def __init__(self, body: Body, tee: Tee) -> None:
        self._body = body
        self._tee = tee
        self._receiver: Receiver | None = None
        self.started = False

    @property
    def length(self) -> int | None:
        return self._body.length

    @property
    def received(self) -> int:
        return self._body.received

    @property
    def complete(self) -> bool:
        return self._body.complete

    def open(self) -> None:
        self._body.open()

    def text(self) -> bytes | None:
        return self._body.text()

    def take(self) -> bytes:
        return self._body.take()

    def start(self, receiver: Receiver) -> None:
        self.started = True
        self._receiver = receiver
        self._body.start(self)

    def pause(self) -> None:
        self._body.pause()

    def resume(self) -> None:
        self._body.resume()

    def forget(self) -> None:
        """The call is over. What still arrives goes nowhere; the body refers to this, and this no more to the body."""
        self._receiver = None
        del self._body

    # --- from the body ---

    def body_data(self, data: bytes | memoryview) -> None:
        if self._receiver is not None:
            self._tee.note(data)
            self._receiver.body_data(data)

    def body_end(self) -> None:
        if self._receiver is not None:
            self._tee.whole = True
            self._receiver.body_end()
