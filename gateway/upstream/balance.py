"""Pools of Triton endpoints: which endpoint gets a request, and the connections to it."""

import asyncio
import time
from typing import TYPE_CHECKING

from gateway.errors import GatewayError, Kind, Source
from gateway.observe import metrics
from gateway.settings import Upstream
from gateway.snapshot.endpoints import grpc_address, split_endpoint
from gateway.types import Target
from gateway.upstream.exchange import Exchange
from gateway.upstream.triton_http import NotLoaded, TritonConnection
from gateway.upstream.triton_reply import KnownReplies

if TYPE_CHECKING:
    from gateway.upstream.triton_grpc import Channel

Version = tuple[str, int]


class Endpoint:
    """One Triton server: its connections, its load and what the last probe found.

    `versions` are the (model, version) pairs that are ready there; None where the server does not tell.
    `lost_versions` are those that it was found not to have since the last probe began. `probed` once a probe has come to an end. `answered` is when it last answered a call whole, monotonic seconds.
    """

    def __init__(self, pool: str, url: str, settings: Upstream) -> None:
        self.pool = pool
        self.url = url
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
        """The channel to its gRPC port, connected. Raises `OSError`, `TimeoutError` among them."""
        from gateway.upstream.triton_grpc import Channel

        channel = self._channel
        if channel is None:
            channel = self._channel = Channel(*self._grpc_address, self._settings.max_message_bytes)
        try:
            await channel.connect(timeout_s)
        except OSError:
            # The next call tries anew: a channel that has failed waits before it does.
            if channel is self._channel:
                self.drop_channel()
            raise
        return channel

    def drop_channel(self) -> None:
        """Let go of the channel to its gRPC port, once what it carries has ended."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.retire()

    def trim(self) -> None:
        """Close connections that nothing was sent on for a while; the one used last is used first."""
        if not self.ready:
            # Its connection may be one that nobody ever hears of again.
            self.drop_channel()
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


class TritonPool:
    """The endpoints of one pool; `changed` must be called when a probe finds something new."""

    def __init__(self, endpoints: tuple[Endpoint, ...], settings: Upstream) -> None:
        self.endpoints = endpoints
        self._settings = settings
        self._serving: dict[Version, tuple[Endpoint, ...]] = {}
        self._turn = 0

    def changed(self) -> None:
        """Forget which endpoints serve which version."""
        self._serving.clear()

    def close(self) -> None:
        """Drop the idle connections to every endpoint."""
        for endpoint in self.endpoints:
            endpoint.close()

    async def run(self, exchange: Exchange, target: Target) -> None:
        """Carry the exchange out on the least loaded endpoint that serves the target. Raises `GatewayError`.

        An endpoint that does not take the connection, or that has unloaded the version since the last probe, is
        passed over once: it has computed nothing.
        """
        again = exchange.body is None or exchange.body.complete
        while True:
            endpoint = self._choose(target)
            connection = endpoint.idle_connection()
            if connection is None:
                endpoint, connection = await self._connect_any(endpoint, exchange, target)
            if exchange.span is not None:
                exchange.trace = exchange.span.sent(endpoint.url)
            endpoint.in_flight += 1
            try:
                connection.begin(exchange)
                await exchange.done
                endpoint.answered = exchange.ended
                return
            except GatewayError as error:
                if not self._may_ask_another(error, endpoint, exchange, target, again):
                    raise
                again = False
            finally:
                endpoint.in_flight -= 1

    async def run_grpc(self, exchange: Exchange, target: Target) -> None:
        """As `run`, over gRPC. Readiness is what the probes found over HTTP."""
        again = True
        unreached: Endpoint | None = None
        while True:
            endpoint = self._choose(target, unreached)
            endpoint.in_flight += 1
            try:
                channel = await self._channel_to(endpoint, exchange)
                if exchange.span is not None:
                    exchange.trace = exchange.span.sent(endpoint.url)
                await channel.carry(exchange, target)
                endpoint.answered = exchange.ended
                return
            except OSError as error:
                if unreached is not None:
                    raise _not_served(target) from error
                unreached = endpoint
                metrics.UPSTREAM_RETRIES.by["connect"] += 1
            except GatewayError as error:
                if not self._may_ask_another(error, endpoint, exchange, target, again):
                    raise
                again = False
            finally:
                endpoint.in_flight -= 1

    async def _channel_to(self, endpoint: Endpoint, exchange: Exchange) -> "Channel":
        began = time.monotonic()
        limit_s = min(self._settings.connect_timeout_s, exchange.deadline - began)
        try:
            return await endpoint.connect_grpc(limit_s)
        except OSError:
            await self._unreached(endpoint, exchange)
            raise

    def _may_ask_another(
        self, error: GatewayError, endpoint: Endpoint, exchange: Exchange, target: Target, again: bool
    ) -> bool:
        """Account for a failed attempt; whether the exchange, if it may be carried out `again`, is ready for another server."""
        if not isinstance(error, NotLoaded):
            counter = endpoint.failures.get(error.kind.value)
            if counter is not None:
                counter.inc()
            return False
        endpoint.lost((target.model, target.version))
        self.changed()
        if again:
            metrics.UPSTREAM_RETRIES.by["not_loaded"] += 1
            exchange.again(asyncio.get_running_loop().create_future())
        return again

    async def _unreached(self, endpoint: Endpoint, exchange: Exchange) -> None:
        """Count a connection that did not come about. Raises DEADLINE where the caller's time is up."""
        if time.monotonic() >= exchange.deadline:
            # That says nothing about the endpoint.
            await exchange.done
        endpoint.failures["connect"].inc()

    async def _connect_any(
        self, endpoint: Endpoint, exchange: Exchange, target: Target
    ) -> tuple[Endpoint, TritonConnection]:
        try:
            return endpoint, await self._connect(endpoint, exchange)
        except OSError:
            endpoint = self._choose(target)
            metrics.UPSTREAM_RETRIES.by["connect"] += 1
        try:
            return endpoint, endpoint.idle_connection() or await self._connect(endpoint, exchange)
        except OSError as error:
            raise _not_served(target) from error

    async def _connect(self, endpoint: Endpoint, exchange: Exchange) -> TritonConnection:
        began = time.monotonic()
        try:
            connection = await endpoint.connect(
                min(self._settings.connect_timeout_s, exchange.deadline - began)
            )
        except OSError as error:
            if exchange.span is not None:
                exchange.span.step("connect", began, {"maas.endpoint": endpoint.url, "error.type": "connect"})
            await self._unreached(endpoint, exchange)
            endpoint.ready = False
            endpoint.detail = f"cannot connect: {str(error) or 'timed out'}"
            endpoint.since = time.time()
            self.changed()
            raise
        if exchange.span is not None:
            exchange.span.step("connect", began, {"maas.endpoint": endpoint.url})
        return connection

    def _choose(self, target: Target, unreached: Endpoint | None = None) -> Endpoint:
        """The candidate with the fewest requests in flight; equals take turns. `unreached` is taken only where it is alone."""
        candidates = self._candidates((target.model, target.version))
        if unreached is not None and len(candidates) > 1:
            candidates = tuple(endpoint for endpoint in candidates if endpoint is not unreached)
        if not candidates:
            raise _not_served(target)
        if len(candidates) == 1:
            return candidates[0]
        self._turn += 1
        start = self._turn % len(candidates)
        best = candidates[start]
        for endpoint in candidates[start + 1 :] + candidates[:start]:
            if endpoint.in_flight < best.in_flight:
                best = endpoint
        return best

    def _candidates(self, version: Version) -> tuple[Endpoint, ...]:
        found = self._serving.get(version)
        if found is None:
            found = tuple(endpoint for endpoint in self.endpoints if endpoint.serves(version))
            self._serving[version] = found
        return found


def _not_served(target: Target) -> GatewayError:
    return GatewayError(
        Kind.UNAVAILABLE,
        f"Version {target.version} of model {target.model} is not loaded on any ready server now; try again shortly.",
        source=Source.UPSTREAM,
        retry_after_s=1,
    )
