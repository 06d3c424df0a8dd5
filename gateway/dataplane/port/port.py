"""One port of a worker: of its own, or shared with other workers, and who is connected to it."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from gateway.dataplane.port.shared_port import BACKLOG, SharedPort
from gateway.dataplane.port.turn_away import settle
from gateway.observe import metrics

C = TypeVar("C", bound=asyncio.BaseProtocol)


class Port(Generic[C]):
    """Accepts connections, each a `connect` of its own, and knows the open ones, `most` at a time; `protocol` is what is
    spoken, for metrics.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connect: Callable[[], C], protocol: str, most: int
    ) -> None:
        self.connections: set[C] = set()
        self._loop = loop
        self._connect = connect
        self._most = most
        self._server: asyncio.Server | None = None
        self._shared: SharedPort | None = None
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._open = metrics.CONNECTIONS.labels(protocol)
        self._refused = metrics.REFUSED_CONNECTIONS.labels(protocol)

    async def listen(self, host: str, port: int) -> int:
        """Accept from now on; the port that was bound. Raises `OSError` when it is taken."""
        self._server = await self._loop.create_server(self._connect, host, port, backlog=BACKLOG)
        bound: socket.socket = self._server.sockets[0]
        found: int = bound.getsockname()[1]
        return found

    def share(self, shared: SharedPort) -> None:
        """Take connections of a port that other workers take connections of too."""
        self._shared = shared
        shared.open(self._loop, self._connect)

    async def accept_no_more(self, *, handing_over: bool = False) -> None:
        """Close the port. `handing_over`: other workers go on accepting there, else nobody does."""
        if self._server is not None:
            await settle([sock.fileno() for sock in self._server.sockets])
            self._server.close()
        if self._shared is not None:
            if not handing_over:
                await settle(self._shared.filenos())
            self._shared.close()
            await self._shared.settled()

    async def emptied(self, limit_s: float) -> None:
        """Wait until nobody is connected any more, but not longer than that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._nobody.wait()

    def joined(self, connection: C) -> bool:
        """Count a new connection; False when there are too many."""
        if len(self.connections) >= self._most:
            self._refused.inc()
            return False
        self.connections.add(connection)
        self._count()
        return True

    def left(self, connection: C) -> None:
        """A connection is gone."""
        if connection in self.connections:
            self.connections.remove(connection)
            self._count()

    def _count(self) -> None:
        self._open.set(len(self.connections))
        if self.connections:
            self._nobody.clear()
        else:
            self._nobody.set()
        if self._shared is not None:
            self._shared.holds(len(self.connections))
