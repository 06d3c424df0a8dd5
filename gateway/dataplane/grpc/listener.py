"""Serves the gRPC port, watches over connections and running calls, and drains when the worker goes."""

import asyncio
import time

from gateway.dataplane.authenticate import credential_gone
from gateway.dataplane.grpc.connection import Caller
from gateway.dataplane.grpc.health import Health
from gateway.dataplane.grpc.incoming import OpenCalls
from gateway.dataplane.grpc.opening import Method
from gateway.dataplane.grpc.service import Service
from gateway.dataplane.http.shared_port import BACKLOG, SharedPort
from gateway.dataplane.http.turn_away import settle
from gateway.dataplane.plane import Plane
from gateway.dataplane.request_id import RequestIds
from gateway.http2.limits import Limits
from gateway.observe import metrics
from gateway.snapshot.compile import Snapshot

_TICK_S = 1.0
_DRAIN_LOOK_S = 0.02

_MOST_STREAMS = 2048
"""Calls at a time on one connection; more wait at the caller's."""

_STREAM_WINDOW = 256 * 1024
"""What a call may send before it is read."""


class Listener:
    """The gRPC side of one worker.

    `methods` are those that it serves, by their path; `http2` are the limits of each connection; `open` are the calls under way.
    """

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.limits = limits = plane.limits
        self._service = Service(plane, RequestIds())
        self._health = Health(plane)
        self.methods: dict[bytes, Method] = {
            method.path: method for method in (*self._service.methods, *self._health.methods)
        }
        self.http2 = Limits(
            header_list_bytes=limits.max_header_bytes,
            streams=_MOST_STREAMS,
            stream_window=_STREAM_WINDOW,
            preface_s=limits.head_timeout_s,
            idle_s=limits.idle_timeout_s,
        )
        self.open = OpenCalls()
        self._shared: SharedPort | None = None
        self._server: asyncio.Server | None = None
        self._callers: set[Caller] = set()
        self._connections = metrics.CONNECTIONS.labels("grpc")
        self._watches: list[asyncio.Task[None]] = []
        plane.on_activate(self._activated)

    async def start(self) -> None:
        """Listen. Raises `OSError` when the port is taken."""
        limits = self.limits
        try:
            self._server = await self.plane.loop.create_server(
                lambda: Caller(self), limits.host, limits.grpc_port, backlog=BACKLOG
            )
        except OSError as error:
            reason = f"inference.grpc_port {limits.grpc_port} on {limits.host}: the port cannot be used; perhaps it is taken"
            raise OSError(error.errno, reason) from error
        self._watch()

    def share(self, shared: SharedPort) -> None:
        """Take connections of a port that other workers take connections of too."""
        self._shared = shared
        shared.open(self.plane.loop, lambda: Caller(self))
        self._watch()

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

    async def drain(self) -> None:
        """Take no more calls (GOAWAY), finish those under way, within the settings' limit, and close."""
        await self.accept_no_more()
        self._health.end()
        for stream in self._service.streams:
            stream.leave()
        until = time.monotonic() + self.limits.drain_limit_s
        while self._callers and time.monotonic() < until:
            for caller in list(self._callers):
                caller.leave()
            await asyncio.sleep(_DRAIN_LOOK_S)
        for caller in list(self._callers):
            caller.close()
        for watch in self._watches:
            watch.cancel()

    # --- connections ---

    def joined(self, caller: Caller) -> bool:
        """Count a new connection; False when there are too many."""
        if len(self._callers) >= self.limits.max_connections:
            metrics.REFUSED_CONNECTIONS.labels("grpc").inc()
            return False
        self._callers.add(caller)
        self._count()
        return True

    def left(self, caller: Caller) -> None:
        """A connection is gone."""
        if caller in self._callers:
            self._callers.remove(caller)
            self._count()

    def _count(self) -> None:
        self._connections.set(len(self._callers))
        if self._shared is not None:
            self._shared.holds(len(self._callers))

    def _watch(self) -> None:
        loop = self.plane.loop
        self._watches = [loop.create_task(self._tick()), loop.create_task(self._health.run())]

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            for caller in list(self._callers):
                caller.look(now, self.limits.max_deadline_s)
            self._check_principals(time.time())

    # --- calls ---

    def _activated(self, _: Snapshot) -> None:
        self._check_principals(time.time())

    def _check_principals(self, now: float) -> None:
        """Cut calls and streams short whose key or token has been revoked or has expired since they began. `now` is Unix seconds."""
        for stream in list(self._service.streams):
            if stream.principal is not None and not self.plane.accepts(stream.principal, now):
                stream.cut(credential_gone())
        for trail in list(self._service.running):
            if trail.principal is None or trail.exchange is None:
                continue
            if not self.plane.accepts(trail.principal, now):
                trail.exchange.fail(credential_gone())
