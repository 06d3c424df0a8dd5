"""One request on its way to an upstream and its reply on the way back.

The transport below (`http`) gives the body and takes the reply; the upstream moves bytes between the two without
waking a coroutine for each chunk. Back pressure goes both ways: whoever cannot take more pauses the other side.
"""

import asyncio
import time
from typing import Protocol

import msgspec

from gateway.errors import GatewayError, Kind, Source
from gateway.observe.metrics import DEADLINES_EXCEEDED, LOOP_DELAY
from gateway.observe.traces import RequestSpan
from gateway.types import Field, Operation

Headers = tuple[Field, ...]

GRPC_STATUS = b"grpc-status"
"""The header field of a reply over gRPC that is an error: its code's number; the body is then its message."""


class Receiver(Protocol):
    """Takes a request body as it arrives."""

    def body_data(self, data: bytes | memoryview) -> None:
        """The next bytes of the body; a view is only lent for the call."""

    def body_end(self) -> None:
        """The body is complete."""


SEEN_BYTES = 32 * 1024
"""So much of a request's body is here when it is handed over, or all of it, or none where the caller waits to be asked: a
small one is then forwarded whole, and the JSON part of a large one has been seen."""


class Body(Protocol):
    """A request's body."""

    @property
    def length(self) -> int | None:
        """Its size in bytes, None while it is not known (chunked)."""

    @property
    def received(self) -> int:
        """How many bytes of it are here already."""

    @property
    def complete(self) -> bool:
        """Whether all of it has arrived."""

    def open(self) -> None:
        """Look at what has arrived, and from now on at what follows. Raises `GatewayError` for what may not pass."""

    def text(self) -> bytes | None:
        """What has arrived of its JSON part and can be read, None where it has none; before `start`."""

    def take(self) -> bytes:
        """The whole body, once `complete`."""

    def start(self, receiver: Receiver) -> None:
        """Hand over what has arrived, then everything that follows."""

    def pause(self) -> None:
        """Stop reading from the caller."""

    def resume(self) -> None:
        """Read from the caller again."""


class ReplySource(Protocol):
    """Whoever sends the reply, as far as its receiver must hold it back."""

    def pause_reading(self) -> None:
        """Send no more for now."""

    def resume_reading(self) -> None:
        """Go on."""


class Flow:
    """Holds a reply back while its receiver takes no more: whoever sends it waits until it is `open`."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    def pause_reading(self) -> None:
        """Send no more for now."""
        self.open.clear()

    def resume_reading(self) -> None:
        """Go on."""
        self.open.set()


class Sink(Protocol):
    """Takes a reply. Either `reply_whole`, or `reply_head`, any number of `reply_data`, then `reply_end`."""

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A reply that is complete."""

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        """The head of a reply whose body follows; `length` is None when it is not known."""

    def reply_data(self, data: bytes | memoryview) -> None:
        """The next bytes of the body; a view is only lent for the call."""

    def reply_end(self) -> None:
        """The reply is complete."""


class ReplyAbort(Protocol):
    """Whoever can cancel a call under way."""

    def abort_exchange(self, exchange: "Exchange") -> None:
        """Cancel the call; nothing more may reach the exchange's sink."""


class ReplyListener(Protocol):
    """Whoever wants to know when a reply begins that does not come whole."""

    def reply_began(self, exchange: "Exchange") -> None:
        """Its head is here; `answered` is when."""


class Exchange(msgspec.Struct, eq=False):
    """What an upstream needs to know of one request, and what is learned about its reply.

    `path` and `headers` are the request's as they go upstream; `done` is set when the reply is complete or failed.
    `deadline` and the following are monotonic seconds: the call `started`, its body was `sent` whole, a reply that does
    not come whole `answered` with its head, and it `ended`. `on_reply` hears of the latter kind; `load` are the calls in
    flight when this one began. Of a traced request, `trace` are the fields of the attempt under way, and `span` is where
    it tells of itself.
    """

    operation: Operation
    path: bytes
    headers: bytes
    body: Body | None
    sink: Sink
    deadline: float
    done: "asyncio.Future[None]"
    on_abort: ReplyAbort | None = None
    started: float = 0.0
    sent: float = 0.0
    answered: float = 0.0
    ended: float = 0.0
    on_reply: ReplyListener | None = None
    load: int = 0
    status: int = 0
    reply_bytes: int = 0
    span: RequestSpan | None = None
    trace: bytes = b""

    @property
    def complete(self) -> bool:
        """Whether the whole reply has been passed on."""
        done = self.done
        return done.done() and not done.cancelled() and done.exception() is None

    def again(self, done: "asyncio.Future[None]", why: str) -> None:
        """Nothing was computed and nothing has reached the sink: another server is asked."""
        if self.span is not None:
            self.span.failed(why)
        self.done = done
        self.started = self.sent = self.ended = 0.0
        self.reply_bytes = 0

    def reply_began(self) -> None:
        """The head of a reply is here whose body follows."""
        self.answered = time.monotonic()
        if self.on_reply is not None and self.sent:
            self.on_reply.reply_began(self)

    def finish(self) -> None:
        """The reply is complete."""
        self.ended = time.monotonic()
        self.on_abort = None
        if not self.done.done():
            self.done.set_result(None)

    def enough(self) -> None:
        """The reply is complete though its source has more: that is cancelled."""
        self.abort()
        self.finish()

    def fail(self, error: GatewayError) -> None:
        """The exchange ends without a whole reply; whatever is under way upstream is cancelled."""
        self.ended = time.monotonic()
        if not self.done.done():
            self.done.set_exception(error)
        self.abort()

    def abort(self) -> None:
        """Cancel the call upstream, if one is under way."""
        on_abort, self.on_abort = self.on_abort, None
        if on_abort is not None:
            on_abort.abort_exchange(self)


class Deadlines:
    """Fails exchanges that outlive their deadline: one ticker for all, instead of a timer for each.

    `ticks` and by how many seconds they came late together tell how the event loop keeps up.
    """

    TICK_S = 0.02

    def __init__(self) -> None:
        self._running: set[Exchange] = set()
        self.ticks = 0
        self.late_s = 0.0
        self.add = self._running.add
        self.discard = self._running.discard

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            due = time.monotonic() + self.TICK_S
            await asyncio.sleep(self.TICK_S)
            now = time.monotonic()
            late_s = max(now - due, 0.0)
            LOOP_DELAY.observe(late_s)
            self.ticks += 1
            self.late_s += late_s
            for exchange in [exchange for exchange in self._running if exchange.deadline <= now]:
                self._running.discard(exchange)
                exchange.fail(overdue(exchange))


def overdue(exchange: Exchange) -> GatewayError:
    """The exchange is over its deadline: counted by how far it came, and worded for its caller."""
    stage = "reply" if exchange.status else "upstream" if exchange.started else "connect"
    DEADLINES_EXCEEDED.labels(stage).inc()
    return GatewayError(
        Kind.DEADLINE,
        "The model did not answer within the request's deadline; try again later or ask for more time.",
        source=Source.UPSTREAM,
        retry_after_s=1,
    )
