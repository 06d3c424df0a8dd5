"""One keep-alive connection to a Triton server over HTTP/1.1.

A reply's body of known length that did not come whole with its head is passed on past the parser, as it is read.
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast

import httptools

from gateway.errors import GatewayError, Kind, Source
from gateway.upstream.exchange import Exchange
from gateway.upstream.read_buffer import BYTES, LARGE, SMALL
from gateway.upstream.triton_reply import KnownReplies, ReplyParser
from gateway.upstream.write_through import socket_of, write_through

_WRITE_HIGH_WATER = 256 * 1024
_NOT_LOADED = b'{"error":"Request for unknown model'
_NOT_LOADED_STATUSES = (400, 404, 503)


class NotLoaded(GatewayError):
    """The server does not have the version, so nothing was computed; another one may have it."""

    def __init__(self) -> None:
        super().__init__(
            Kind.UNAVAILABLE,
            "The version is not loaded any more; try again shortly.",
            source=Source.UPSTREAM,
            retry_after_s=1,
        )


class TritonConnection(asyncio.BufferedProtocol):
    """Carries one exchange at a time.

    `released` is called when an exchange is over and the connection can take another one; `idle_since`, monotonic
    seconds, is when that was.
    """

    __slots__ = (
        "_chunked_request",
        "_exchange",
        "_fd",
        "_head_sent",
        "_host",
        "_known",
        "_left",
        "_max_head",
        "_paused",
        "_released",
        "_reply",
        "_streaming_body",
        "_transport",
        "idle_since",
        "usable",
    )

    def __init__(
        self,
        host: bytes,
        max_head_bytes: int,
        known: KnownReplies,
        released: "Callable[[TritonConnection], None]",
    ) -> None:
        self._host = b" HTTP/1.1\r\nHost: " + host + b"\r\n"
        self._max_head = max_head_bytes
        self._known = known
        self._released = released
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self.usable = False
        self.idle_since = 0.0
        self._reply = ReplyParser()
        self._head_sent = False
        self._left = 0
        self._fd = -1
        self._paused = False
        self._streaming_body = False
        self._chunked_request = False

    # --- the request ---

    def begin(self, exchange: Exchange) -> None:
        """Send the exchange's request; its reply goes to its sink."""
        transport = self._transport
        assert transport is not None and self._exchange is None
        self._exchange = exchange
        exchange.on_abort = self
        exchange.started = now = time.monotonic()
        head = (
            exchange.operation.method + b" " + exchange.path + self._host + exchange.headers + exchange.trace
        )
        body = exchange.body
        if body is None:
            exchange.sent = now
            transport.write(head + b"\r\n")
        elif body.complete:
            exchange.sent = now
            data = body.take()
            transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(data), data))
        elif body.length is not None:
            transport.write(b"%bContent-Length: %d\r\n\r\n" % (head, body.length))
            self._streaming_body = True
            body.start(self)
        else:
            transport.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
            self._chunked_request = True
            self._streaming_body = True
            body.start(self)

    def body_data(self, data: bytes | memoryview) -> None:
        """More of the request's body."""
        if self._transport is None:
            return
        if self._chunked_request:
            data = b"%x\r\n%b\r\n" % (len(data), bytes(data))
        write_through(self._transport, self._fd, data)

    def body_end(self) -> None:
        """The request is complete."""
        self._streaming_body = False
        if self._exchange is not None:
            self._exchange.sent = time.monotonic()
        if self._chunked_request:
            self._chunked_request = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(b"0\r\n\r\n")

    def close(self) -> None:
        """Use this connection no more."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def abort_exchange(self, exchange: Exchange) -> None:
        """Cancel the call: Triton sees the connection close."""
        if self._exchange is exchange:
            self._exchange = None
            self.close()

    # --- the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = transport = cast(asyncio.Transport, transport)
        self._fd = socket_of(transport)
        self.usable = True
        transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)

    def eof_received(self) -> None:
        """Triton sends no more; the transport closes itself after this."""
        self.usable = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; a reply that runs until the connection's end is complete now."""
        self.usable = False
        self._transport = None
        exchange = self._exchange
        reply = self._reply
        if exchange is not None:
            if reply.head_done and reply.length is None and not reply.chunked and exc is None:
                reply.complete = True
                try:
                    self._flush(exchange)
                    self._end(exchange, keep=False)
                except GatewayError as error:
                    exchange.fail(error)
            else:
                self._fail("closed the connection before its reply was complete")
        reply.forget()

    def pause_writing(self) -> None:
        """Triton takes no more for now."""
        if self._exchange is not None and self._exchange.body is not None:
            self._exchange.body.pause()

    def resume_writing(self) -> None:
        """Triton takes more."""
        if self._exchange is not None and self._exchange.body is not None:
            self._exchange.body.resume()

    def pause_reading(self) -> None:
        """The caller takes no more for now."""
        if self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """The caller takes more."""
        if self._transport is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()

    # --- the reply ---

    def get_buffer(self, sizehint: int) -> memoryview:
        """A large buffer while a large body passes, else a small one."""
        return LARGE if self._left else SMALL

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of a reply have arrived in the shared buffer."""
        exchange = self._exchange
        if exchange is None:
            # Nothing was asked: whatever this is, the connection cannot be trusted any more.
            self.close()
            return
        try:
            if self._left:
                self._pass_on(exchange, nbytes)
            elif not (self._reply.fresh and self._take_known(exchange, nbytes)):
                self._parse(exchange, nbytes)
        except GatewayError as error:
            exchange.fail(error)

    def _take_known(self, exchange: Exchange, nbytes: int) -> bool:
        """Pass on a reply that came whole and whose head is known."""
        start = BYTES.find(b"\r\n\r\n", 0, nbytes) + 4
        known = self._known.find(bytes(SMALL[:start]))
        if known is None or start + known.length != nbytes:
            return False
        exchange.status = 200
        exchange.reply_bytes = known.length
        exchange.sink.reply_whole(200, known.headers, bytes(SMALL[start:nbytes]))
        self._end(exchange, keep=True)
        return True

    def _pass_on(self, exchange: Exchange, nbytes: int) -> None:
        surplus = nbytes - self._left
        data = LARGE[: min(nbytes, self._left)]
        self._left -= len(data)
        exchange.reply_bytes += len(data)
        exchange.sink.reply_data(data)
        if not self._left:
            self._reply.skip_body()
            exchange.sink.reply_end()
            self._end(exchange, keep=self._reply.keep_alive and surplus == 0)
            self._reply.expect()

    def _parse(self, exchange: Exchange, nbytes: int) -> None:
        reply = self._reply
        fresh = reply.fresh
        try:
            reply.feed(SMALL[:nbytes])
        except httptools.HttpParserError as error:
            self._fail(f"sent what is no HTTP reply ({error})")
            return
        if reply.framing_bytes > self._max_head + len(SMALL):
            self._fail("sent a reply head that is too large")
        elif reply.head_done:
            self._flush(exchange)
            if reply.complete:
                if fresh and reply.keep_alive and reply.length is not None and not reply.surplus:
                    self._known.learn(bytes(SMALL[: nbytes - reply.length]), reply.headers, reply.length)
                self._end(exchange, keep=reply.keep_alive and not reply.surplus)
                reply.expect()

    def _flush(self, exchange: Exchange) -> None:
        """Pass on what has come since the last time."""
        reply = self._reply
        body = reply.take_body()
        exchange.reply_bytes += len(body)
        if not self._head_sent:
            if reply.complete and reply.status in _NOT_LOADED_STATUSES and body.startswith(_NOT_LOADED):
                # Between two probes a version can be unloaded. That is no fault of the caller's request.
                raise NotLoaded
            self._head_sent = True
            exchange.status = reply.status
            if reply.complete:
                exchange.sink.reply_whole(reply.status, reply.headers, body)
                return
            exchange.reply_began()
            exchange.sink.reply_head(reply.status, reply.headers, reply.length, self)
        if body:
            exchange.sink.reply_data(body)
        if reply.complete:
            exchange.sink.reply_end()
        elif reply.length is not None:
            self._left = reply.length - exchange.reply_bytes

    def _end(self, exchange: Exchange, *, keep: bool) -> None:
        """The reply is complete; whether the connection may carry another one."""
        self._exchange = None
        self._head_sent = False
        # A server that answers before it has read the request has not read it: no next request may follow.
        keep = keep and self.usable and not self._streaming_body
        exchange.finish()
        self.idle_since = exchange.ended
        # Whoever held this reply back holds back no other.
        self.resume_reading()
        if keep:
            self._released(self)
        else:
            self.close()

    def _fail(self, what: str) -> None:
        exchange, self._exchange = self._exchange, None
        self.close()
        if exchange is not None:
            exchange.on_abort = None
            exchange.fail(
                GatewayError(
                    Kind.BAD_GATEWAY, f"The model's server {what}.", source=Source.UPSTREAM, retry_after_s=1
                )
            )
