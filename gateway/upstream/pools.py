"""All pools of the current snapshot, kept across snapshots where nothing changed."""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import zip_longest
from typing import Protocol

import httpx

from gateway.errors import GatewayError, Kind, Source
from gateway.observe import metrics
from gateway.settings import Upstream
from gateway.types import Pool, Target
from gateway.upstream.balance import TritonPool
from gateway.upstream.endpoint import Endpoint
from gateway.upstream.exchange import Exchange
from gateway.upstream.health import watch


class UpstreamPool(Protocol):
    """What a request is forwarded to: a pool of Triton servers, or the embedded engine."""

    async def run(self, exchange: Exchange, target: Target) -> None:
        """Carry the exchange out, or raise `GatewayError`."""

    async def run_grpc(self, exchange: Exchange, target: Target) -> None:
        """As `run`, with messages of `inference.GRPCInferenceService` for request and reply."""

    def place(self, target: Target, key: bytes) -> bytes:
        """Which of its servers is to keep the state of `key` (8 bytes stand for it). Raises UNAVAILABLE where none can."""

    async def run_at(self, place: bytes, exchange: Exchange, target: Target, *, grpc: bool) -> None:
        """As `run` or `run_grpc`, at that server only. Raises `StateGone` too."""

    def close(self) -> None:
        """Let go of what the pool holds."""


class Pools:
    """The pools by name. `embedded` is the engine that pools of kind embedded share, if this process has one."""

    def __init__(self, settings: Upstream, embedded: UpstreamPool | None = None) -> None:
        self._settings = settings
        self._embedded = embedded
        self._pools: dict[str, UpstreamPool] = {}
        self._watching: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._client: httpx.AsyncClient | None = None

    def get(self, name: str) -> UpstreamPool:
        """The pool. Raises `GatewayError` when this process cannot serve it."""
        pool = self._pools.get(name)
        if pool is None:
            raise GatewayError(
                Kind.UNAVAILABLE,
                f"This gateway has no pool {name}; ask its operators to look at `maas doctor`.",
                source=Source.GATEWAY,
                retry_after_s=5,
            )
        return pool

    def update(self, wanted: Mapping[str, Pool]) -> None:
        """Serve exactly these pools: start probing new endpoints, let go of old ones, keep the rest as they are."""
        known = {
            (endpoint.pool, endpoint.url): endpoint
            for pool in self._pools.values()
            if isinstance(pool, TritonPool)
            for endpoint in pool.endpoints
        }
        pools: dict[str, UpstreamPool] = {}
        for pool in wanted.values():
            if pool.engine == "embedded":
                if self._embedded is not None:
                    pools[pool.name] = self._embedded
                continue
            old = self._pools.get(pool.name)
            if (
                isinstance(old, TritonPool)
                and tuple(endpoint.url for endpoint in old.endpoints) == pool.endpoints
            ):
                pools[pool.name] = old
                continue
            endpoints = tuple(
                known.get((pool.name, url)) or Endpoint(pool.name, url, self._settings)
                for url in pool.endpoints
            )
            pools[pool.name] = TritonPool(endpoints, self._settings)
        self._pools = pools
        for endpoint, grpc_url in self._endpoints_of(wanted):
            endpoint.speak_grpc_at(grpc_url)
        kept = set(self.endpoints())
        for endpoint in known.values():
            if endpoint not in kept:
                endpoint.close()
        self._watch({(endpoint.pool, endpoint.url): endpoint for endpoint in self.endpoints()})

    def endpoints(self) -> list[Endpoint]:
        """Every endpoint of every pool of Triton servers."""
        return [
            endpoint
            for pool in self._pools.values()
            if isinstance(pool, TritonPool)
            for endpoint in pool.endpoints
        ]

    @property
    def probed(self) -> bool:
        """Whether every endpoint has been probed at least once, whatever came of it."""
        return all(endpoint.probed for endpoint in self.endpoints())

    async def close(self) -> None:
        """Stop probing and drop idle connections."""
        for task in self._watching.values():
            task.cancel()
        await asyncio.gather(*self._watching.values(), return_exceptions=True)
        self._watching.clear()
        for pool in self._pools.values():
            pool.close()
        if self._client is not None:
            await self._client.aclose()

    def _endpoints_of(self, wanted: Mapping[str, Pool]) -> Iterator[tuple[Endpoint, str | None]]:
        """Each endpoint, and where it speaks gRPC if that is told."""
        for name, pool in self._pools.items():
            if isinstance(pool, TritonPool):
                yield from zip_longest(pool.endpoints, wanted[name].grpc_endpoints)

    def _watch(self, wanted: dict[tuple[str, str], Endpoint]) -> None:
        """Run one probe task for each endpoint."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=self._settings.probe_timeout_s,
                follow_redirects=False,
                trust_env=False,
                # Endpoints are plain HTTP: reading the certificates of the world would take longer than all else here.
                verify=False,  # noqa: S501
            )
        for key in self._watching.keys() - wanted.keys():
            self._watching.pop(key).cancel()
            for gauge in (metrics.ENDPOINT_READY, metrics.ENDPOINT_IN_FLIGHT):
                gauge.remove(*key)
        for key, endpoint in wanted.items():
            metrics.ENDPOINT_IN_FLIGHT.labels(*key).set_function(partial(getattr, endpoint, "in_flight"))
            if key not in self._watching:
                loop = asyncio.get_running_loop()
                self._watching[key] = loop.create_task(
                    watch(endpoint, self._changed, self._client, self._settings)
                )

    def _changed(self) -> None:
        for pool in self._pools.values():
            if isinstance(pool, TritonPool):
                pool.changed()
