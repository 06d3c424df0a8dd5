"""Active readiness checks: every endpoint is asked once a second whether it is ready and which versions it has loaded."""

import asyncio
import logging
import time
from collections.abc import Callable

import httpx
import msgspec

from gateway.observe import metrics
from gateway.settings import Upstream
from gateway.types import VERSION
from gateway.upstream.endpoint import Endpoint, Version

log = logging.getLogger(__name__)


class _IndexEntry(msgspec.Struct):
    name: str
    version: str = ""
    state: str = ""


_INDEX = msgspec.json.Decoder(list[_IndexEntry])
_MOST_BYTES = 16 * 1024 * 1024
_LONGEST_DETAIL = 500
_LATE = "no answer within the probe time-out"
_LATE_PROBES = 3


class _Unready(Exception):
    """The endpoint answered, but not that it is ready."""


async def watch(
    endpoint: Endpoint, changed: Callable[[], None], client: httpx.AsyncClient, settings: Upstream
) -> None:
    """Probe one endpoint until cancelled; `changed` is called when it serves other versions than before."""
    gauge = metrics.ENDPOINT_READY.labels(endpoint.pool, endpoint.url)
    missed = 0
    while True:
        began = time.monotonic()
        endpoint.lost_versions.clear()
        versions, detail = await probe(endpoint.url, client, settings.probe_timeout_s)
        if versions is not None:
            # What a call has met meanwhile is newer than what the probe was told.
            versions -= endpoint.lost_versions
        # Late may be the server or this gateway, busy either way. Only one that is late again and again, and has
        # answered no call meanwhile, is taken out.
        late = detail == _LATE
        missed = missed + 1 if late and endpoint.answered < began else 0
        if not (late and endpoint.ready and missed < _LATE_PROBES):
            _note(endpoint, versions, detail, changed)
        endpoint.probed = True
        gauge.set(endpoint.ready)
        endpoint.trim()
        await asyncio.sleep(max(0.0, settings.probe_interval_s - (time.monotonic() - began)))


def _note(
    endpoint: Endpoint, versions: frozenset[Version] | None, detail: str, changed: Callable[[], None]
) -> None:
    ready = not detail
    endpoint.detail = detail
    if (ready, versions) == (endpoint.ready, endpoint.versions):
        return
    if ready != endpoint.ready:
        endpoint.since = time.time()
        level = logging.INFO if ready else logging.WARNING
        state = "ready" if ready else f"not ready: {detail}"
        log.log(level, "pool %s: endpoint %s is %s", endpoint.pool, endpoint.url, state)
    endpoint.ready, endpoint.versions = ready, versions
    changed()


async def probe(
    url: str, client: httpx.AsyncClient, timeout_s: float
) -> tuple[frozenset[Version] | None, str]:
    """The versions ready at `url` (None: it does not tell) and why it is not ready ("" when it is)."""
    try:
        async with asyncio.timeout(timeout_s):
            status, _ = await _ask(client, "GET", f"{url}/v2/health/ready")
            if status != httpx.codes.OK:
                raise _Unready(f"/v2/health/ready answers {status}")
            return await _loaded(url, client), ""
    except TimeoutError:
        return frozenset(), _LATE
    except Exception as error:  # noqa: BLE001 - whatever a server answers, the probing of it goes on
        return frozenset(), (str(error) or type(error).__name__)[:_LONGEST_DETAIL]


async def _loaded(url: str, client: httpx.AsyncClient) -> frozenset[Version] | None:
    """The repository index; a server that does not give it away (4xx) is taken to have what it is asked for."""
    status, data = await _ask(client, "POST", f"{url}/v2/repository/index", b'{"ready":true}')
    if 400 <= status < 500:
        return None
    if status != httpx.codes.OK:
        raise _Unready(f"/v2/repository/index answers {status}")
    return frozenset(
        (entry.name, int(entry.version))
        for entry in _INDEX.decode(data)
        if entry.state == "READY" and VERSION.fullmatch(entry.version)
    )


async def _ask(
    client: httpx.AsyncClient, method: str, url: str, content: bytes = b""
) -> tuple[int, bytearray]:
    async with client.stream(method, url, content=content) as reply:
        data = bytearray()
        async for piece in reply.aiter_raw(64 * 1024):
            data += piece
            if len(data) > _MOST_BYTES:
                raise _Unready(f"{url} answers more than {_MOST_BYTES} bytes")
    return reply.status_code, data
