"""One caller's connection: requests in, replies out, in order.

One task per connection answers its requests one after another. Reading stops while there is nowhere to put more.
"""

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, cast

from gateway.dataplane.authenticate import credential_gone
from gateway.dataplane.http.faults import too_slow
from gateway.dataplane.http.reader import RequestReader
from gateway.dataplane.http.reply import Reply
from gateway.dataplane.http.request import Request
from gateway.dataplane.plane import Plane
from gateway.errors import GatewayError, internal_fault

if TYPE_CHECKING:
    from gateway.dataplane.http.listener import Listener

_MOST_PIPELINED = 16
_WRITE_HIGH_WATER = 256 * 1024
_LINGER_S = 2.0
_LINGER_BYTES = 64 * 1024 * 1024
_BODY_WINDOW_S = 10.0
_FIRST_REQUEST_S = 1.0

# Why reading is on hold; it goes on when no reason is left.
_HOLD_BODY, _HOLD_PIPELINE, _HOLD_STOPPED, _HOLD_WRITING = 1, 2, 4, 8


class Connection(asyncio.BufferedProtocol):
    """Speaks HTTP/1.1 with one caller. `busy` while a request is being answered."""

    def __init__(self, listener: "Listener") -> None:
        self._listener = listener
        self._limits = listener.limits
        self._loop = listener.loop
        self._reader = RequestReader(self, listener.handler, listener.limits, listener.ids)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._queue: deque[Request] = deque()
        self._arrived: asyncio.Future[None] | None = None
        self._unblocked: asyncio.Future[None] | None = None
        self._current: Request | None = None
        self._reply: Reply | None = None
        self._held = 0
        self._lingered_bytes = -1
        self._no_more = False
        self._farewell: asyncio.TimerHandle | None = None
        self._quiet_since = time.monotonic()
        self._unused = True
        self._window_s = 0.0
        self._window_bytes = 0

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._current is not None

    # --- the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller has connected."""
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        if not self._listener.port.joined(self):
            transport.close()
            return
        self._task = self._loop.create_task(self._run())

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller is gone: so is every call that it still waits for."""
        self._transport = None
        self._reader.forget()
        self._listener.port.left(self)
        if self._farewell is not None:
            # The timer would keep the whole connection in memory.
            self._farewell.cancel()
        if self._task is not None:
            self._task.cancel()

    def eof_received(self) -> bool:
        """The caller sends no more: with a call under way it is taken to have gone, and the call is cancelled.

        Otherwise it may have closed only its own half, and still gets what it has asked for.
        """
        self._reader.stopped = True
        self._no_more = True
        trail = self._reply.trail if self._reply is not None else None
        under_way = trail is not None and trail.exchange is not None
        if under_way or self._lingered_bytes >= 0 or self._reader.body_incomplete:
            return False
        self._wake()
        return True

    def pause_writing(self) -> None:
        """The caller reads too slowly: hold back the reply under way, begin no other, and read no more from it."""
        self._unblocked = self._loop.create_future()
        self._hold(_HOLD_WRITING, True)
        if self._reply is not None and self._reply.source is not None:
            self._reply.source.pause_reading()

    def resume_writing(self) -> None:
        """The caller reads again."""
        unblocked, self._unblocked = self._unblocked, None
        if unblocked is not None and not unblocked.done():
            unblocked.set_result(None)
        self._hold(_HOLD_WRITING, False)
        if self._reply is not None and self._reply.source is not None:
            self._reply.source.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have arrived."""
        if self._reader.stopped:
            self._discard(nbytes)
            return
        self._reader.read(nbytes)
        if len(self._queue) >= _MOST_PIPELINED:
            self._hold(_HOLD_PIPELINE, True)

    # --- from the reader ---

    def request_arrived(self, request: Request) -> None:
        """A request's head is whole, or the request is refused."""
        self._unused = False
        self._window_s = 0.0
        self._window_bytes = 0
        self._queue.append(request)
        self._wake()

    def request_ended(self) -> None:
        """The last byte of a request is here."""
        self._quiet_since = time.monotonic()

    def body_wanted(self) -> None:
        """Tell a caller that waits for it to go on and send its body."""
        request = self._current
        if self._transport is None or request is None or request.head is None or request.body is None:
            return
        if request.head.expects_continue and not request.body.received:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body_failed(self, error: GatewayError) -> None:
        """The body that is arriving may not pass: end the call that it belongs to."""
        error.close = True
        self._reader.stopped = True
        request = self._reader.receiving
        trail = self._reply.trail if self._reply is not None else None
        if (
            request is not None
            and request is self._current
            and trail is not None
            and trail.exchange is not None
        ):
            trail.exchange.fail(error)
        elif request is not None and not (request.body is not None and request.body.fail(error)):
            self._reader.refuse_whole(request, error)

    def hold_body(self, hold: bool) -> None:
        """Stop reading from the caller for its body's sake, or go on."""
        self._hold(_HOLD_BODY, hold)

    def _hold(self, reason: int, hold: bool) -> None:
        before = self._held
        self._held = before | reason if hold else before & ~reason
        if self._transport is not None and bool(before) != bool(self._held):
            if self._held:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # --- answering ---

    async def _run(self) -> None:
        try:
            while self._transport is not None:
                if self._unblocked is not None:
                    await self._unblocked
                elif self._queue:
                    request = self._queue.popleft()
                    if self._held & _HOLD_PIPELINE and len(self._queue) < _MOST_PIPELINED // 2:
                        self._hold(_HOLD_PIPELINE, False)
                    self._current = request
                    close = await self._answer(self._transport, request)
                    self._current = None
                    self._quiet_since = time.monotonic()
                    if close:
                        break
                elif self._reader.stopped:
                    break
                else:
                    self._arrived = self._loop.create_future()
                    await self._arrived
            self._linger()
        except asyncio.CancelledError:
            # Ended here: a task that ends as cancelled keeps the error, and with its frames the request.
            if self._transport is not None:
                self._transport.abort()
        finally:
            self._current = None
            self._queue.clear()

    async def _answer(self, transport: asyncio.Transport, request: Request) -> bool:
        """Answer one request; whether the connection ends with it."""
        body = request.body
        close = not request.keep_alive or self._listener.draining
        reply = self._reply = Reply(transport, request.request_id, request.http_11, close)
        try:
            if request.refusal is not None:
                raise request.refusal
            call = self._listener.handler.answer(request, reply)
            if call is not None:
                await call
        except GatewayError as error:
            if body is not None and not body.complete:
                reply.close = True
            reply.problem(error, request.target)
            error.let_go()
        except Exception as error:  # noqa: BLE001 - the edge: logged with its traceback and answered as a 500
            self._listener.fault(request.request_id, error)
            reply.problem(internal_fault(), request.target)
        finally:
            self._reply = None
            # Reply, trail and exchange refer to one another; undone here, they go at once instead of with the next GC.
            reply.trail = None
        if body is not None and not body.complete:
            # The rest of the body is not wanted any more, and what follows it cannot be told from it.
            return True
        return reply.close

    def _wake(self) -> None:
        arrived, self._arrived = self._arrived, None
        if arrived is not None and not arrived.done():
            arrived.set_result(None)

    # --- the end ---

    def _linger(self) -> None:
        """Close so that the caller can still read the reply: send the end, drop what it sends, and only then close.

        Closing at once would make the kernel reset the connection, and the reset can overtake the reply.
        """
        self._reader.stopped = True
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._no_more:
            transport.close()
            return
        self._lingered_bytes = 0
        for reason in (_HOLD_BODY, _HOLD_PIPELINE, _HOLD_STOPPED, _HOLD_WRITING):
            self._hold(reason, False)
        transport.write_eof()
        self._farewell = self._loop.call_later(_LINGER_S, transport.abort)

    def _discard(self, nbytes: int) -> None:
        if self._lingered_bytes < 0:
            # The caller goes on sending while its last request is being answered.
            self._hold(_HOLD_STOPPED, True)
            return
        self._lingered_bytes += nbytes
        if self._lingered_bytes > _LINGER_BYTES:
            self.abort()

    def end_if_idle(self) -> None:
        """Close now if no request is under way, nor one that is still arriving (drain).

        Who has only just connected has a request to send, and would not be told why the connection ended.
        """
        just_come = self._unused and time.monotonic() - self._quiet_since < _FIRST_REQUEST_S
        arriving = just_come or self._reader.head_bytes or self._reader.in_body
        if not self.busy and not self._queue and not arriving and self._lingered_bytes < 0:
            self._reader.stopped = True
            self._wake()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    # --- watched over by the listener ---

    def tick(self, now: float, passed_s: float) -> None:
        """Once a second: end a connection that is too slow or idle. `now` is monotonic seconds."""
        reader = self._reader
        if self._lingered_bytes >= 0 or (reader.stopped and self.busy):
            return
        if reader.in_body:
            if not self._held and reader.body_incomplete:
                self._watch_body(passed_s)
        elif reader.head_bytes and now - reader.head_since > self._limits.head_timeout_s:
            reader.refuse(too_slow("head"))
        elif not self.busy and now - self._quiet_since > self._limits.idle_timeout_s:
            self.abort()

    def _watch_body(self, passed_s: float) -> None:
        """Measured over windows of ten seconds in which nothing but the caller could have been slow."""
        self._window_s += passed_s
        if self._window_s < min(_BODY_WINDOW_S, self._limits.head_timeout_s):
            return
        arrived = self._reader.body_bytes - self._window_bytes
        if arrived < self._limits.body_min_bytes_per_s * self._window_s:
            self._reader.refuse(too_slow("body"))
        self._window_s = 0.0
        self._window_bytes = self._reader.body_bytes

    def check_principal(self, plane: Plane, now: float) -> None:
        """Cut a call short whose key or token has been revoked or has expired since it began. `now` is Unix seconds."""
        trail = self._reply.trail if self._reply is not None else None
        if trail is None or trail.principal is None or trail.exchange is None:
            return
        if not plane.accepts(trail.principal, now):
            trail.exchange.fail(credential_gone())
