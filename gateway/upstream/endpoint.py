"""One Triton server of a pool: its connections, its load, and what is known of it."""

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING

from gateway.errors import Kind
from gateway.observe import metrics
from gateway.settings import Upstream
from gateway.snapshot.endpoints import grpc_address, split_endpoint
from gateway.upstream.triton_http import TritonConnection
from gateway.upstream.triton_reply import KnownReplies

if TYPE_CHECKING:
    from gateway.upstream.triton_grpc import Channel

Version = tuple[str, int]


class Endpoint:
    """One Triton server: its connections, its load and what the last probe found.

    `versions` are the (model, version) pairs that are ready there; None where the server does not tell.
    `lost_versions` are those that it was found not to have since the last probe began. `probed` once a probe has come to an
    end. `answered` is when it last answered a call whole, monotonic seconds. `digest` stands for its address where there is
    little room.
    """

    def __init__(self, pool: str, url: str, settings: Upstream) -> None:
        self.pool = pool
        self.url = url
        self.digest = hashlib.blake2b(url.encode(), digest_size=8).digest()
        self.ready = False
        self.versions: frozenset[Version] | None = frozenset()
        self.lost_versions: set[Version] = set()
        self.probed = False
        self.detail = "not probed yet"
        self.since = time.time()
        self.in_flight = 0
        self.answered = 0.0
        self._settings = settings
        self._known_replies = KnownReplies()
        self._idle: list[TritonConnection] = []
        self._closed = False
        self._channel: Channel | None = None
        self._grpc_address = grpc_address(url, None)
        host, port = split_endpoint(url)
        self.address = (host, port)
        self._host = f"[{host}]:{port}".encode() if ":" in host else f"{host}:{port}".encode()
        self.connecting = metrics.UPSTREAM_CONNECTIONS.of(pool, url)
        self.failures = {
            reason: metrics.UPSTREAM_FAILURES.labels(pool, url, reason)
            for reason in ("connect", Kind.BAD_GATEWAY.value, Kind.DEADLINE.value)
        }

    def serves(self, version: Version) -> bool:
        """Whether the endpoint is ready and has the version loaded, as far as it is known."""
        return self.ready and (self.versions is None or version in self.versions)

    def lost(self, version: Version) -> None:
        """The server says that it does not have the version; so it is until a probe that begins from now on."""
        self.lost_versions.add(version)
        if self.versions is not None:
            self.versions -= {version}

    def idle_connection(self) -> TritonConnection | None:
        """A connection that stands and carries nothing, if there is one; the one used last first."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                self.connecting.reused += 1
                return connection
        return None

    async def connect(self, timeout_s: float) -> TritonConnection:
        """A new connection. Raises `OSError`, `TimeoutError` among them."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            _, connection = await loop.create_connection(self._new_connection, *self.address)
        self.connecting.opened += 1
        return connection

    def speak_grpc_at(self, grpc_url: str | None) -> None:
        """Where it speaks gRPC; None: where Triton does by its own convention."""
        address = grpc_address(self.url, grpc_url)
        if address != self._grpc_address:
            self._grpc_address = address
            self.drop_channel()

    async def connect_grpc(self, timeout_s: float) -> "Channel":
        """The way to its gRPC port, connected. Raises `OSError`, `TimeoutError` among them."""
        from gateway.upstream.triton_grpc import Channel

        channel = self._channel
        if channel is None:
            channel = self._channel = Channel(*self._grpc_address, self._settings)
        await channel.connect(timeout_s)
        return channel

    def drop_channel(self) -> None:
        """Let go of the connections to its gRPC port, once what they carry has ended."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.retire()

    def trim(self) -> None:
        """Close connections that nothing was sent on for a while; the one used last is used first."""
        if not self.ready:
            # Its connection may be one that nobody ever hears of again.
            self.drop_channel()
        elif self._channel is not None:
            self._channel.tick()
        before = time.monotonic() - self._settings.idle_connection_s
        while self._idle and self._idle[0].idle_since < before:
            self._idle.pop(0).close()

    def close(self) -> None:
        """Drop the idle connections; those in use end with their exchange."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        self.drop_channel()

    def _new_connection(self) -> TritonConnection:
        return TritonConnection(
            self._host, self._settings.max_reply_header_bytes, self._known_replies, self._released
        )

    def _released(self, connection: TritonConnection) -> None:
        if len(self._idle) < self._settings.max_idle_connections and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()
