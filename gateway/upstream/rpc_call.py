"""One call to a server under way over gRPC: what comes on its stream goes to its exchange, or ends it with what is wrong."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from gateway.errors import GatewayError, Kind, Source, internal_fault
from gateway.http2.codes import Code
from gateway.http2.decode import Head
from gateway.http2.stream import Stream
from gateway.rpc.codes import RpcFault, Status
from gateway.rpc.messages import MessageReader
from gateway.upstream.exchange import GRPC_STATUS, Exchange, Headers, overdue
from gateway.upstream.rpc_reply import HTTP_STATUS, End, end_of, head_of, read_end
from gateway.upstream.triton_http import NotLoaded
from gateway.wire import Malformed, Scan, tag_of, text_of

log = logging.getLogger(__name__)

_NOT_WHOLE = "no whole reply"
_NOT_LOADED = "Request for unknown model"
_ERROR = bytes([tag_of(1)])
_DEADLINE_SLACK_S = 0.05
_SOME_BYTES = 32 * 1024
"""What the window of a stream has room for in any case."""


class NotBegun(GatewayError):
    """The server has not begun with the call, by its own word; it may be sent again."""

    def __init__(self) -> None:
        super().__init__(
            Kind.BAD_GATEWAY,
            f"The model's server sent {_NOT_WHOLE}.",
            source=Source.UPSTREAM,
            retry_after_s=1,
        )


class Going(Protocol):
    """A connection, as far as its calls must know of it."""

    going: bool
    """Whether its server has said that it goes away."""


class Call:
    """A call with one message for a reply. A `Receiver` of its stream, and the exchange's way to abort it."""

    __slots__ = ("_exchange", "_fields", "_link", "_message", "_most_bytes", "_reader", "stream")

    def __init__(self, exchange: Exchange, link: Going, most_bytes: int) -> None:
        self.stream: Stream | None = None
        self._exchange = exchange
        self._link = link
        self._most_bytes = most_bytes
        self._reader: MessageReader | None = None
        self._fields: Headers = ()
        self._message: bytes | None = None

    # --- what comes ---

    def head(self, head: Head, *, ended: bool) -> None:
        """The reply's head, or all there is of it."""
        found = head_of(head)
        if not found.sound:
            self._break_off(_NOT_WHOLE)
        elif ended:
            self._want_no_more()
            self._alone(lambda: self._end(read_end(head)))
        else:
            self._fields = found.fields
            self._reader = MessageReader(self._most_bytes, found.encoding)

    def data(self, data: memoryview, *, ended: bool) -> None:
        """More of its message."""
        reader, stream = self._reader, self.stream
        assert reader is not None
        assert stream is not None
        stream.consumed(len(data))
        try:
            reader.feed(data, self._take)
        except RpcFault as fault:
            self._break_off(_words_of(fault))
            return
        if ended:
            self._break_off(_NOT_WHOLE)
        elif reader.missing > _SOME_BYTES:
            stream.expect(reader.missing)

    def trailers(self, head: Head) -> None:
        """How the call ended."""
        self._want_no_more()
        self._alone(lambda: self._end(end_of(head)))

    def reset(self, code: int, *, unprocessed: bool) -> None:
        """The server, or the connection, gave it up."""
        if unprocessed and self._reader is None:
            self._exchange.fail(NotBegun())
        elif code == Code.CANCEL and _is_over(self._exchange):
            # So some servers end a call at its deadline.
            self._exchange.fail(overdue(self._exchange))
        else:
            self._break_off(_NOT_WHOLE)

    def drained(self) -> None:
        """The whole request has gone."""

    # --- its end from this side ---

    def abort_exchange(self, _: Exchange) -> None:
        """Cancel the call: the server sees its stream reset."""
        if self.stream is not None:
            self.stream.reset()

    # --- what is made of it ---

    def _alone(self, passing: Callable[[], None]) -> None:
        """Pass on; what whoever takes it makes of it is this call's alone. Raised here, it would end the connection and all its calls."""
        try:
            passing()
        except GatewayError as error:
            self._exchange.fail(error)
        except Exception:
            log.exception("a reply could not be passed on")
            self._exchange.fail(internal_fault())

    def _want_no_more(self) -> None:
        """The reply is there: what has not gone of the request need not go."""
        if self.stream is not None and not self.stream.sent_end:
            self.stream.reset(Code.NO_ERROR)

    def _take(self, message: bytes) -> None:
        if self._message is not None:
            raise RpcFault(Status.INTERNAL, "There are two messages.")
        self._message = message

    def _end(self, end: End) -> None:
        exchange, message = self._exchange, self._message
        if end.status != Status.OK:
            self._fail(end)
        elif message is None or self._reader is None or not self._reader.empty:
            self._break_off(_NOT_WHOLE)
        else:
            exchange.status = 200
            exchange.reply_bytes = len(message)
            exchange.sink.reply_whole(200, self._fields, message)
            exchange.finish()

    def _fail(self, end: End) -> None:
        """Pass on the server's own error, if it is one."""
        exchange = self._exchange
        if end.status is None or (end.status == Status.UNAVAILABLE and self._link.going):
            # A server that is shut down says so of the calls it had; the model has said nothing.
            self._break_off(_NOT_WHOLE)
        elif end.words.startswith(_NOT_LOADED) and not exchange.status:
            # Between two probes a version can be unloaded. That is no fault of the caller's request.
            exchange.fail(NotLoaded())
        elif end.status == Status.DEADLINE_EXCEEDED and _is_over(exchange):
            exchange.fail(overdue(exchange))
        else:
            body = end.words.encode()
            exchange.status = HTTP_STATUS[end.status]
            exchange.reply_bytes = len(body)
            exchange.sink.reply_whole(exchange.status, ((GRPC_STATUS, b"%d" % end.status),), body)
            exchange.finish()

    def _break_off(self, what: str) -> None:
        self._exchange.fail(
            GatewayError(
                Kind.BAD_GATEWAY, f"The model's server sent {what}.", source=Source.UPSTREAM, retry_after_s=1
            )
        )


class Tap:
    """By which whoever takes the replies holds them back. It lets go of its call when that is over."""

    __slots__ = ("call", "open")

    def __init__(self, call: "StreamedCall") -> None:
        self.call: StreamedCall | None = call
        self.open = True

    def pause_reading(self) -> None:
        """The caller takes no more for now."""
        self.open = False

    def resume_reading(self) -> None:
        """The caller takes more."""
        if not self.open:
            self.open = True
            if self.call is not None:
                self.call.pass_on()


class StreamedCall(Call):
    """A call with any number of replies: each goes on when its caller has taken the one before it.

    What came beyond that is kept, and is not consumed: the server may send no more than the stream's window, and what it has begun.
    """

    __slots__ = ("_ending", "_owed", "_tap", "_waiting")

    def __init__(self, exchange: Exchange, link: Going, most_bytes: int) -> None:
        super().__init__(exchange, link, most_bytes)
        self._tap = Tap(self)
        self._waiting: deque[bytes] = deque()
        self._owed = 0
        # What ends the call once all that waits has gone: its end, or what broke it off.
        self._ending: End | str | None = None

    def data(self, data: memoryview, *, ended: bool) -> None:
        """More of its messages."""
        reader, stream = self._reader, self.stream
        assert reader is not None
        assert stream is not None
        self._owed += len(data)
        try:
            reader.feed(data, self._waiting.append)
        except RpcFault as fault:
            self._ending = _words_of(fault)
            stream.reset()
        else:
            if ended:
                self._ending = _NOT_WHOLE
        self.pass_on()

    def reset(self, code: int, *, unprocessed: bool) -> None:
        """The server, or the connection, gave it up; what came before goes on first."""
        if not self._waiting:
            super().reset(code, unprocessed=unprocessed)
        else:
            self._ending = _NOT_WHOLE

    def abort_exchange(self, exchange: Exchange) -> None:
        """Cancel the call; what waits is dropped."""
        self._waiting.clear()
        self._tap.call = None
        super().abort_exchange(exchange)

    def _end(self, end: End) -> None:
        self._ending = end
        self._pass_on()

    def pass_on(self) -> None:
        """Pass on what may go, and let as much follow as has gone."""
        self._alone(self._pass_on)

    def _pass_on(self) -> None:
        waiting, exchange = self._waiting, self._exchange
        while waiting and self._tap.open and not exchange.done.done():
            self._pass_one(waiting.popleft())
        if waiting or not self._tap.open or exchange.done.done():
            return
        if isinstance(self._ending, str):
            self._break_off(self._ending)
        elif self._ending is not None:
            self._tap.call = None
            self._finish(self._ending)
        elif self.stream is not None and self._reader is not None:
            self.stream.consumed(self._owed)
            self._owed = 0
            if self._reader.missing > _SOME_BYTES:
                self.stream.expect(self._reader.missing)

    def _pass_one(self, reply: bytes) -> None:
        exchange = self._exchange
        if not exchange.status:
            words = _error_in(reply)
            if words.startswith(_NOT_LOADED):
                exchange.fail(NotLoaded())
                return
            self._begin(400 if words else 200)
        exchange.reply_bytes += len(reply)
        exchange.sink.reply_data(reply)

    def _begin(self, status: int) -> None:
        exchange = self._exchange
        exchange.status = status
        exchange.reply_began()
        exchange.sink.reply_head(status, (), None, self._tap)

    def _finish(self, end: End) -> None:
        exchange = self._exchange
        if end.status != Status.OK:
            self._fail(end)
        elif self._reader is not None and not self._reader.empty:
            self._break_off(_NOT_WHOLE)
        else:
            if not exchange.status:
                self._begin(200)
            exchange.sink.reply_end()
            exchange.finish()


def _words_of(fault: RpcFault) -> str:
    return "a reply that is too large" if fault.status == Status.RESOURCE_EXHAUSTED else _NOT_WHOLE


def _error_in(reply: bytes) -> str:
    """What a `ModelStreamInferResponse` says is wrong; empty for one that is well. An error's words stand first in it."""
    if not reply.startswith(_ERROR):
        return ""
    try:
        for _, value in Scan().fields(memoryview(reply)):
            return text_of(value)
    except Malformed:
        # What is no message passes as it is: it is the caller's to read.
        pass
    return ""


def _is_over(exchange: Exchange) -> bool:
    return exchange.deadline - time.monotonic() < _DEADLINE_SLACK_S
