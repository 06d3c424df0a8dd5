"""Accepts callers on the inference port, watches over their connections, and drains them when the worker goes."""

import asyncio
import logging
import socket
import time
from contextlib import suppress

from gateway.dataplane.http.connection import Connection
from gateway.dataplane.http.handler import Handler
from gateway.dataplane.http.shared_port import BACKLOG, SharedPort
from gateway.dataplane.http.turn_away import settle
from gateway.dataplane.plane import Plane
from gateway.dataplane.request_id import RequestIds
from gateway.observe import metrics
from gateway.snapshot.compile import Snapshot

log = logging.getLogger(__name__)

_TICK_S = 1.0
_DRAIN_LOOK_S = 0.02


class Listener:
    """The HTTP side of one worker. `draining` makes every reply the last one of its connection."""

    def __init__(self, plane: Plane) -> None:
        self.handler = Handler(plane)
        self.limits = plane.limits
        self.loop = plane.loop
        self.ids = RequestIds()
        self.draining = False
        self._plane = plane
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._shared: SharedPort | None = None
        self._watch: asyncio.Task[None] | None = None
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._open = metrics.CONNECTIONS.labels("http")
        plane.on_activate(self._activated)

    async def start(self) -> int:
        """Listen; the port that was bound. Raises `OSError` when it is taken."""
        loop = self.loop
        self._server = await loop.create_server(
            lambda: Connection(self), self.limits.host, self.limits.port, backlog=BACKLOG
        )
        self._watch = loop.create_task(self._tick())
        bound: socket.socket = self._server.sockets[0]
        port: int = bound.getsockname()[1]
        return port

    def share(self, shared: SharedPort) -> None:
        """Take connections of a port that other workers take connections of too."""
        self._shared = shared
        shared.open(self.loop, lambda: Connection(self))
        self._watch = self.loop.create_task(self._tick())

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

    async def drain(self) -> None:
        """Finish what is under way and close: the caller sees `Connection: close`, never an error."""
        self.draining = True
        await self.accept_no_more()
        until = time.monotonic() + self.limits.drain_limit_s
        while self._connections and time.monotonic() < until:
            for connection in list(self._connections):
                connection.end_if_idle()
            await asyncio.sleep(_DRAIN_LOOK_S)
        for connection in list(self._connections):
            connection.abort()
        if self._watch is not None:
            self._watch.cancel()

    def joined(self, connection: Connection) -> bool:
        """Count a new connection; False when there are too many."""
        if len(self._connections) >= self.limits.max_connections:
            metrics.REFUSED_CONNECTIONS.labels("http").inc()
            return False
        self._connections.add(connection)
        self._count()
        return True

    def left(self, connection: Connection) -> None:
        """A connection is gone."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._count()

    def _count(self) -> None:
        self._open.set(len(self._connections))
        if self._connections:
            self._nobody.clear()
        else:
            self._nobody.set()
        if self._shared is not None:
            self._shared.holds(len(self._connections))

    def fault(self, request_id: str, error: Exception) -> None:
        """Log a fault of the gateway's own."""
        ids = {"request_id": request_id}
        log.error("request %s failed inside the gateway", request_id, exc_info=error, extra=ids)

    def _activated(self, _: Snapshot) -> None:
        now = time.time()
        for connection in self._connections:
            if connection.busy:
                connection.check_principal(self._plane, now)

    async def _tick(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            wall = time.time()
            for connection in list(self._connections):
                connection.tick(now, now - last)
                if connection.busy:
                    connection.check_principal(self._plane, wall)
            last = now
