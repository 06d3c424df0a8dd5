"""Pools of Triton endpoints: which endpoint gets a request, and the connections to it."""

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING

from gateway.errors import GatewayError, Kind, Source
from gateway.observe import metrics
from gateway.settings import Upstream
from gateway.types import Target
from gateway.upstream.endpoint import Endpoint, Version
from gateway.upstream.exchange import Exchange
from gateway.upstream.rpc_call import NotBegun
from gateway.upstream.state import StateGone, not_ready
from gateway.upstream.triton_http import NotLoaded, TritonConnection

if TYPE_CHECKING:
    from gateway.upstream.triton_grpc import Channel


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
                self._tell_sent(endpoint, exchange)
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
                if isinstance(error, NotBegun):
                    unreached = endpoint
            finally:
                endpoint.in_flight -= 1

    def place(self, target: Target, key: bytes) -> bytes:
        """Where the state of `key` is to be kept: of those that serve the target, the same for everybody (rendezvous hashing).

        Raises UNAVAILABLE where none does. Which others there are matters to no key but those of an endpoint that goes.
        """
        candidates = self._candidates((target.model, target.version))
        if not candidates:
            raise _not_served(target)
        return max(
            (endpoint.digest for endpoint in candidates),
            key=lambda digest: hashlib.blake2b(key, key=digest, digest_size=8).digest(),
        )

    async def run_at(self, place: bytes, exchange: Exchange, target: Target, *, grpc: bool) -> None:
        """Carry the exchange out where `place` said, or nowhere, once. Raises `StateGone` where no server is that place any more,
        UNAVAILABLE while that server cannot be reached, and what `run` raises once it was.
        """
        endpoint = next((each for each in self.endpoints if each.digest == place), None)
        if endpoint is None:
            raise StateGone("endpoint")
        if not endpoint.ready:
            raise not_ready()
        if not endpoint.serves((target.model, target.version)):
            raise StateGone("unloaded")
        try:
            way = await (self._channel_to if grpc else self._connection_to)(endpoint, exchange)
        except OSError as error:
            raise not_ready() from error
        self._tell_sent(endpoint, exchange)
        endpoint.in_flight += 1
        try:
            if isinstance(way, TritonConnection):
                way.begin(exchange)
                await exchange.done
            else:
                await self._carry_there(way, endpoint, exchange, target)
            endpoint.answered = exchange.ended
        except OSError as error:
            raise not_ready() from error
        except GatewayError as error:
            self._may_ask_another(error, endpoint, exchange, target, again=False)
            if isinstance(error, NotLoaded):
                raise StateGone("unloaded") from error
            raise
        finally:
            endpoint.in_flight -= 1

    async def _carry_there(
        self, channel: "Channel", endpoint: Endpoint, exchange: Exchange, target: Target
    ) -> None:
        """Carry the exchange out over gRPC; a server that has not begun with it is asked once more, since no other may be."""
        try:
            await channel.carry(exchange, target)
        except NotBegun as error:
            self._may_ask_another(error, endpoint, exchange, target, again=True)
            channel = await self._channel_to(endpoint, exchange)
            await channel.carry(exchange, target)

    def _tell_sent(self, endpoint: Endpoint, exchange: Exchange) -> None:
        if exchange.span is not None:
            exchange.trace = exchange.span.sent(endpoint.url)

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
        why = (
            "refused" if isinstance(error, NotBegun) else "not_loaded" if isinstance(error, NotLoaded) else ""
        )
        if why == "not_loaded":
            endpoint.lost((target.model, target.version))
            self.changed()
        elif why == "" or not again:
            counter = endpoint.failures.get(error.kind.value)
            if counter is not None:
                counter.inc()
            return False
        if again:
            metrics.UPSTREAM_RETRIES.by[why] += 1
            exchange.again(asyncio.get_running_loop().create_future(), why)
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
            return endpoint, await self._connection_to(endpoint, exchange)
        except OSError as error:
            raise _not_served(target) from error

    async def _connection_to(self, endpoint: Endpoint, exchange: Exchange) -> TritonConnection:
        return endpoint.idle_connection() or await self._connect(endpoint, exchange)

    async def _connect(self, endpoint: Endpoint, exchange: Exchange) -> TritonConnection:
        began = time.monotonic()
        # Whoever chooses meanwhile is to see it: of calls that come at once none would be seen otherwise.
        endpoint.in_flight += 1
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
        finally:
            endpoint.in_flight -= 1
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
