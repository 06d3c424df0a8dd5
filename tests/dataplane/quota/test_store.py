"""A quota store that is not what it should be: nobody waits for it, and nothing is admitted beyond the share."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from prometheus_client import REGISTRY

from gateway.dataplane.quota import open_quotas
from gateway.dataplane.quota.quotas import Quotas
from gateway.dataplane.quota.store import Store
from gateway.dataplane.quota.taken import Taken
from gateway.errors import GatewayError
from gateway.settings import Quota, Settings
from gateway.snapshot.document import LimitEntry
from gateway.types import Alias, Permit, Principal, Target
from tests.dataplane.quota.asks import call, policy, snapshot
from tests.db.servers import Redis
from tests.patience import PATIENT_S

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PERMIT = Permit(Principal("app:x", "k"), Alias("a", "t", b"", True, (), (), (), {}, {}), "infer", False)
TARGET = Target("m", 1, 10_000, "stable", "main", b"", b"")
SECRET = "a-secret-of-redis"


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Talks no RESP."""
    while await reader.read(65536):
        writer.write(b"\x00\xffHTTP/1.1 200 OK\r\n\r\n" * 10)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads, and says nothing."""
    while await reader.read(65536):
        pass


async def another_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Talks RESP, and of something else."""
    while await reader.read(65536):
        writer.write(b"+OK\r\n")


async def a_large_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Announces what never comes."""
    while await reader.read(65536):
        writer.write(b"$1000000000\r\nxxx")


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closes at once."""
    writer.close()


@contextlib.asynccontextmanager
async def sharing(url: str, wait_s: float = 0.2) -> AsyncIterator[tuple[Quotas, Store]]:
    """One worker of two, with four requests an hour, that tries to share them through `url`."""
    quotas, store = open_quotas(Settings(quota=Quota(redis_url=url, workers=2, wait_s=wait_s)), "w")
    assert store is not None
    quotas.activate(snapshot(policy(LimitEntry("l", "requests", 4, 3600))), time.monotonic())
    task = asyncio.create_task(store.run())
    try:
        await store.tried()
        yield quotas, store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.leave()


async def admitted(quotas: Quotas, count: int) -> int:
    """How many of so many requests are."""
    found = 0
    for _ in range(count):
        with contextlib.suppress(GatewayError):
            taken = quotas.take(PERMIT, TARGET, call(), time.monotonic())
            if taken is not None and not isinstance(taken, Taken):
                await taken
            found += 1
    return found


@pytest.mark.parametrize("behave", [garbage, silence, another_answer, a_large_answer, hang_up])
def test_a_store_that_talks_nonsense_is_away(behave: Behaviour, caplog: pytest.LogCaptureFixture) -> None:
    """Each worker goes on by its share, at once; the log says so once, without the password."""

    async def run() -> None:
        server = await asyncio.start_server(behave, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with sharing(f"redis://:{SECRET}@127.0.0.1:{port}/0") as (quotas, _):
            assert await admitted(quotas, 10) == 2
            await asyncio.sleep(0.5)
            assert await admitted(quotas, 10) == 0
        server.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert caplog.text.count("is away") == 1
    assert SECRET not in caplog.text


@pytest.mark.slow
def test_a_password_that_is_wrong_is_told_without_it(
    redis_server: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that lets nobody in is away; the password is not in the log."""

    async def run() -> None:
        url = redis_server.url.replace("redis://", f"redis://:{SECRET}@")
        async with sharing(url) as (quotas, _):
            assert await admitted(quotas, 10) == 2

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert "is away" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.slow
def test_a_request_is_cut_off_while_it_waits(own_redis: Redis) -> None:
    """A caller who goes while his request waits for a stopped store leaves nothing behind; the store's return is noticed."""

    async def run() -> None:
        async with sharing(own_redis.url, wait_s=3) as (quotas, _):
            async with asyncio.timeout(PATIENT_S):
                # An empty store settles first.
                while not REGISTRY.get_sample_value("maas_quota_store_connected", {"store": "redis"}):
                    await asyncio.sleep(0.05)
            assert await admitted(quotas, 1) == 1
            own_redis.pause()
            taking = quotas.take(PERMIT, TARGET, call(), time.monotonic())
            assert not isinstance(taking, Taken)
            assert taking is not None
            waiting = asyncio.ensure_future(taking)
            await asyncio.sleep(0.1)
            waiting.cancel()
            own_redis.resume()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await admitted(quotas, 10) == 3

    asyncio.run(run())
