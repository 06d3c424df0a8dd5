"""The connections to one Triton server's gRPC port, each with many calls at a time. Messages pass as bytes; what they hold is not
looked at.
"""

import asyncio
import time

from gateway.http2.connection import Connection
from gateway.http2.decode import Head
from gateway.http2.faults import NoRoom
from gateway.http2.limits import Limits
from gateway.http2.stream import Receiver, Stream
from gateway.settings import Upstream
from gateway.types import STREAM_INFER, Target
from gateway.upstream.exchange import Exchange, overdue
from gateway.upstream.rpc_call import Call, StreamedCall
from gateway.upstream.rpc_request import block_of, openings, pieces_of

_ALL_STREAMS_WINDOW = 2**31 - 1
"""A stream that nobody reads holds up no other one: each is bounded by its own window."""

_MOST_OF_A_SERVER = 100_000
"""A server answers to nobody for resets and the like, as far as they are not without end."""


class Channel:
    """Carries exchanges to one server. A second connection is made where the first has no room. `retire` lets go of them all."""

    def __init__(self, host: str, port: int, settings: Upstream) -> None:
        self._address = (host, port)
        self._settings = settings
        self._openings = openings((f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode())
        self._limits = Limits(
            header_list_bytes=settings.max_reply_header_bytes,
            connection_window=_ALL_STREAMS_WINDOW,
            resets=_MOST_OF_A_SERVER,
            control_frames=_MOST_OF_A_SERVER,
        )
        self._links: list[_Link] = []
        self._connecting: asyncio.Task[None] | None = None
        self._retired = False

    async def connect(self, limit_s: float) -> None:
        """See to it that a connection stands that has room for a call. Raises `OSError`, `TimeoutError` among them."""
        if self._link() is not None:
            return
        until = time.monotonic() + limit_s
        while self._link() is None:
            connecting = self._connecting
            if connecting is None:
                connecting = self._connecting = asyncio.get_running_loop().create_task(self._connect())
            await asyncio.wait((connecting,), timeout=max(0.0, until - time.monotonic()))
            if not connecting.done():
                raise TimeoutError("the gRPC port does not answer")
            if self._connecting is connecting:
                self._connecting = None
            if connecting.cancelled():
                raise ConnectionError("the endpoint is let go")
            connecting.result()

    async def carry(self, exchange: Exchange, target: Target) -> None:
        """Send the exchange's message with the target's name and version; its reply goes to its sink.

        Raises `GatewayError`, `NotLoaded` and `NotBegun` among them, when no reply came that could be passed on, and
        `OSError` where nothing could be sent.
        """
        self._begin(exchange, target)
        await exchange.done

    def retire(self) -> None:
        """Carry no more; what is under way goes on to its end."""
        self._retired = True
        if self._connecting is not None:
            self._connecting.cancel()
        for link in tuple(self._links):
            link.connection.leave()

    def tick(self) -> None:
        """Look after the connections' time limits, about once a second."""
        now = time.monotonic()
        for link in tuple(self._links):
            link.connection.tick(now)

    def gone(self, link: "_Link") -> None:
        """A connection is there no more."""
        if link in self._links:
            self._links.remove(link)

    def _begin(self, exchange: Exchange, target: Target) -> None:
        """Send the exchange's call. While it is under way nothing here holds its message."""
        assert exchange.body is not None
        link = self._link()
        if link is None:
            raise ConnectionError("the connection has gone")
        now = time.monotonic()
        if exchange.deadline <= now:
            # A quick server could answer all the same.
            raise overdue(exchange)
        exchange.started = exchange.sent = now
        opening = self._openings[exchange.operation.name]
        block = block_of(opening, exchange.headers + exchange.trace, exchange.deadline - now)
        made = StreamedCall if exchange.operation is STREAM_INFER else Call
        call = made(exchange, link, self._settings.max_message_bytes)
        try:
            call.stream = stream = link.connection.open(block, call)
        except NoRoom as error:
            raise ConnectionError("the connection takes no call") from error
        exchange.on_abort = call
        *pieces, last = pieces_of(exchange.body.take(), target)
        for piece in pieces:
            stream.send_data(piece)
        stream.send_data(last, end=True)

    def _link(self) -> "_Link | None":
        for link in self._links:
            if link.connection.room:
                return link
        return None

    async def _connect(self) -> None:
        """One connection more. Raises `OSError` where none comes about, or one that has no room."""
        link = _Link(self, self._limits)
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await asyncio.get_running_loop().create_connection(lambda: link.connection, *self._address)
                await link.told
        except BaseException:
            link.connection.close()
            raise
        if not link.connection.room:
            link.connection.leave()
            raise ConnectionError("the gRPC port takes no call")
        self._links.append(link)
        if self._retired:
            link.connection.leave()


class _Link:
    """One of a channel's connections: the `Owner` of it. `told` is set once the server has said what it allows, `going` once it has
    said that it goes away.
    """

    def __init__(self, channel: Channel, limits: Limits) -> None:
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connection = Connection(self, limits, server=False)
        self.going = False
        self._channel = channel

    def request(self, stream: Stream, head: Head, *, ended: bool) -> Receiver:
        """Never: servers ask for nothing."""
        raise AssertionError("a server has sent a request")

    def ready(self) -> None:
        """The server's settings are here."""
        if not self.told.done():
            self.told.set_result(None)

    def room_made(self) -> None:
        """Nobody waits: who found no room took another connection."""

    def going_away(self, code: int, words: bytes) -> None:
        """The connection takes no more calls, and ends by itself behind those under way."""
        self.going = True

    def ponged(self, data: bytes) -> None:
        """Nobody asks."""

    def lost(self, fault: Exception | None) -> None:
        """The connection is gone."""
        self._channel.gone(self)
        if not self.told.done():
            self.told.set_exception(ConnectionError(f"the gRPC port speaks no HTTP/2 ({fault})"))
