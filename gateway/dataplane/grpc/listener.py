"""Serves the gRPC port on grpcio, watches over running calls, and drains when the worker goes."""

import asyncio
import errno
import time

import grpc.aio

from gateway.dataplane.authenticate import credential_gone
from gateway.dataplane.grpc.health import Health
from gateway.dataplane.grpc.service import Service
from gateway.dataplane.plane import Plane
from gateway.dataplane.request_id import RequestIds
from gateway.snapshot.compile import Snapshot

_TICK_S = 1.0

_MOST_STREAMS = 2048
"""Calls at a time on one connection; more wait at the caller's."""

_PING_EVERY_MS = 10_000
"""Callers may ask so often whether the connection still stands, also while they call nothing."""


class Listener:
    """The gRPC side of one worker. `shared`: other workers of this host serve the same port."""

    def __init__(self, plane: Plane, *, shared: bool) -> None:
        self._plane = plane
        self._service = Service(plane, RequestIds())
        self._health = Health(plane)
        limits = plane.limits
        self._server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", int(shared)),
                ("grpc.max_receive_message_length", limits.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                # The first is when core begins to refuse at random, the second when it refuses all.
                ("grpc.max_metadata_size", limits.max_header_bytes),
                ("grpc.absolute_max_metadata_size", limits.max_header_bytes),
                ("grpc.max_concurrent_streams", _MOST_STREAMS),
                ("grpc.max_connection_idle_ms", round(limits.idle_timeout_s * 1000)),
                ("grpc.server_handshake_timeout_ms", round(limits.head_timeout_s * 1000)),
                ("grpc.http2.min_ping_interval_without_data_ms", _PING_EVERY_MS),
                ("grpc.keepalive_permit_without_calls", 1),
            ),
            maximum_concurrent_rpcs=limits.max_connections,
        )
        self._server.add_generic_rpc_handlers((self._service, self._health))
        self._watches: list[asyncio.Task[None]] = []
        plane.on_activate(self._activated)

    async def start(self) -> None:
        """Listen. Raises `OSError` when the port is taken."""
        host, port = self._plane.limits.host, self._plane.limits.grpc_port
        address = f"[{host or '::'}]:{port}" if ":" in host or not host else f"{host}:{port}"
        try:
            self._server.add_insecure_port(address)
        except RuntimeError as error:
            reason = f"inference.grpc_port {port} on {host}: the port cannot be used; perhaps it is taken"
            raise OSError(errno.EADDRINUSE, reason) from error
        await self._server.start()
        loop = self._plane.loop
        self._watches = [loop.create_task(self._tick()), loop.create_task(self._health.run())]

    async def drain(self) -> None:
        """Take no more calls (GOAWAY), finish those under way, within the settings' limit, and close."""
        self._health.end()
        for stream in self._service.streams:
            stream.leave()
        await self._server.stop(self._plane.limits.drain_limit_s)
        for watch in self._watches:
            watch.cancel()

    def _activated(self, _: Snapshot) -> None:
        self._check_principals(time.time())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._check_principals(time.time())

    def _check_principals(self, now: float) -> None:
        """Cut calls and streams short whose key or token has been revoked or has expired since they began. `now` is Unix seconds."""
        for stream in list(self._service.streams):
            if stream.principal is not None and not self._plane.accepts(stream.principal, now):
                stream.cut(credential_gone())
        for trail in list(self._service.running):
            if trail.principal is None or trail.exchange is None:
                continue
            if not self._plane.accepts(trail.principal, now):
                trail.exchange.fail(credential_gone())
