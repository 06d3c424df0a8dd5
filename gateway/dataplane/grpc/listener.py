"""Serves the gRPC port, watches over connections and running calls, and drains when the worker goes."""

import asyncio
import time

from gateway.dataplane.authenticate import credential_gone
from gateway.dataplane.grpc.connection import Caller
from gateway.dataplane.grpc.health import Health
from gateway.dataplane.grpc.incoming import OpenCalls
from gateway.dataplane.grpc.opening import Method
from gateway.dataplane.grpc.service import Service
from gateway.dataplane.plane import Plane
from gateway.dataplane.port.port import Port
from gateway.dataplane.port.shared_port import SharedPort
from gateway.dataplane.request_id import RequestIds
from gateway.http2.limits import Limits
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
        self.port = Port(plane.loop, lambda: Caller(self), "grpc", limits.max_connections)
        self._watches: list[asyncio.Task[None]] = []
        plane.on_activate(self._activated)

    async def start(self) -> None:
        """Listen. Raises `OSError` when the port is taken."""
        limits = self.limits
        try:
            await self.port.listen(limits.host, limits.grpc_port)
        except OSError as error:
            reason = f"inference.grpc_port {limits.grpc_port} on {limits.host}: the port cannot be used; perhaps it is taken"
            raise OSError(error.errno, reason) from error
        self._watch()

    def share(self, shared: SharedPort) -> None:
        """Take connections of a port that other workers take connections of too."""
        self.port.share(shared)
        self._watch()

    async def drain(self) -> None:
        """Take no more calls (GOAWAY), finish those under way, within the settings' limit, and close."""
        await self.port.accept_no_more()
        self._health.end()
        for stream in self._service.streams:
            stream.leave()
        until = time.monotonic() + self.limits.drain_limit_s
        while self.port.connections and time.monotonic() < until:
            for caller in list(self.port.connections):
                caller.leave()
            await asyncio.sleep(_DRAIN_LOOK_S)
        for caller in list(self.port.connections):
            caller.close()
        for watch in self._watches:
            watch.cancel()

    def _watch(self) -> None:
        loop = self.plane.loop
        self._watches = [loop.create_task(self._tick()), loop.create_task(self._health.run())]

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            for caller in list(self.port.connections):
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
