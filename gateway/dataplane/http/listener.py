"""Accepts callers on the inference port, watches over their connections, and drains them when the worker goes."""

import asyncio
import logging
import time

from gateway.dataplane.http.connection import Connection
from gateway.dataplane.http.handler import Handler
from gateway.dataplane.plane import Plane
from gateway.dataplane.port.port import Port
from gateway.dataplane.port.shared_port import SharedPort
from gateway.dataplane.request_id import RequestIds
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
        self.port = Port(self.loop, lambda: Connection(self), "http", self.limits.max_connections)
        self._watch: asyncio.Task[None] | None = None
        plane.on_activate(self._activated)

    async def start(self) -> int:
        """Listen; the port that was bound. Raises `OSError` when it is taken."""
        port = await self.port.listen(self.limits.host, self.limits.port)
        self._watch = self.loop.create_task(self._tick())
        return port

    def share(self, shared: SharedPort) -> None:
        """Take connections of a port that other workers take connections of too."""
        self.port.share(shared)
        self._watch = self.loop.create_task(self._tick())

    async def drain(self) -> None:
        """Finish what is under way and close: the caller sees `Connection: close`, never an error."""
        self.draining = True
        await self.port.accept_no_more()
        until = time.monotonic() + self.limits.drain_limit_s
        while self.port.connections and time.monotonic() < until:
            for connection in list(self.port.connections):
                connection.end_if_idle()
            await asyncio.sleep(_DRAIN_LOOK_S)
        for connection in list(self.port.connections):
            connection.abort()
        if self._watch is not None:
            self._watch.cancel()

    def fault(self, request_id: str, error: Exception) -> None:
        """Log a fault of the gateway's own."""
        ids = {"request_id": request_id}
        log.error("request %s failed inside the gateway", request_id, exc_info=error, extra=ids)

    def _activated(self, _: Snapshot) -> None:
        now = time.time()
        for connection in self.port.connections:
            if connection.busy:
                connection.check_principal(self._plane, now)

    async def _tick(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            wall = time.time()
            for connection in list(self.port.connections):
                connection.tick(now, now - last)
                if connection.busy:
                    connection.check_principal(self._plane, wall)
            last = now
