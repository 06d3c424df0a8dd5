"""Where pins are kept: one behaviour, in the memory of a host and in a Redis."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.dataplane.sequences.asked import Asked
from gateway.dataplane.sequences.names import Name, name_of
from gateway.dataplane.sequences.pins import HostPins, Pins
from gateway.dataplane.sequences.redis_pins import RedisPins
from gateway.errors import GatewayError, Kind
from gateway.supervisor.pins import PLACES, Pin, PinTable
from tests.db.servers import Redis
from tests.patience import PATIENT_S

MOST = PLACES
Test = Callable[[Pins, Pins], Awaitable[None]]


def name(tenant: str, number: int) -> Name:
    return name_of(b"s" * 32, tenant, "alias", None, Asked(number))


def pin(life: int) -> Pin:
    return Pin(life, "model", 2**63 - 1, b"\0endpoint"[:8])


@asynccontextmanager
async def two_of(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Pins, Pins]]:
    """Those of two workers that share them."""
    if kind == "host":
        table = PinTable.create(4 * MOST)
        pair: tuple[Pins, Pins] = (HostPins(table, MOST), HostPins(PinTable(table.fd), MOST))
    else:
        url = request.getfixturevalue("redis_server").url
        pair = (RedisPins(url, PATIENT_S, MOST), RedisPins(url, PATIENT_S, MOST))
    yield pair
    for each in pair:
        await each.close()


@pytest.fixture(params=["host", pytest.param("redis", marks=pytest.mark.slow)])
def run(request: pytest.FixtureRequest) -> Callable[[Test], None]:
    """Runs a test on both."""

    async def on_both(test: Test) -> None:
        async with two_of(request.param, request) as (one, other):
            await test(one, other)

    return lambda test: asyncio.run(on_both(test))


def test_what_one_worker_keeps_another_finds(run: Callable[[Test], None]) -> None:
    """Until it ends, begins anew, or lapses."""

    async def test(one: Pins, other: Pins) -> None:
        first = name("app:first", 1)
        assert await other.find(first) is None
        assert await one.keep(first, pin(1), 60) is None
        assert await other.find(first) == pin(1)
        assert await other.find(name("app:second", 1)) is None
        assert await other.keep(first, pin(2**64 - 1), 60) is None
        await one.drop(first, pin(1))
        await one.extend(first, pin(1), 0.001)
        assert await one.find(first) == pin(2**64 - 1)
        await one.extend(first, pin(2**64 - 1), 0.05)
        async with asyncio.timeout(PATIENT_S):
            while await other.find(first) is not None:
                await asyncio.sleep(0.01)
        assert await one.keep(first, pin(3), 60) is None
        await other.drop(first, pin(3))
        assert await one.find(first) is None

    run(test)


def test_each_tenant_has_its_own_room(run: Callable[[Test], None]) -> None:
    """Who has as many as it may begins none until one ends or lapses; those that are open may begin anew."""

    async def test(one: Pins, other: Pins) -> None:
        for number in range(MOST):
            assert await one.keep(name("app:many", number), pin(number), 60) is None
        assert await other.keep(name("app:many", MOST), pin(MOST), 60) == "principal"
        assert await other.keep(name("app:few", MOST), pin(MOST), 60) is None
        assert await other.keep(name("app:many", 0), pin(MOST), 0.05) is None
        async with asyncio.timeout(PATIENT_S):
            while await other.keep(name("app:many", MOST), pin(MOST), 60) is not None:
                await asyncio.sleep(0.01)
        await one.drop(name("app:many", 1), pin(1))
        assert await other.keep(name("app:many", MOST + 1), pin(1), 60) is None

    run(test)


def test_a_worker_that_was_stopped_with_the_table_in_hand_keeps_nobody_for_long() -> None:
    """One that only waits for a core is waited for; else it cannot be told where a sequence is."""

    async def test() -> None:
        table = PinTable.create(MOST)
        pins = HostPins(table, MOST)
        first = name("app:first", 1)
        await pins.keep(first, pin(1), 60)
        program = (
            f"import fcntl, sys; fcntl.lockf({table.fd}, fcntl.LOCK_EX); print(flush=True); sys.stdin.read(1)"
        )
        other = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            pass_fds=[table.fd],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert other.stdout is not None
        assert other.stdin is not None
        await other.stdout.readline()
        with pytest.raises(GatewayError) as unsaid:
            await pins.find(first)
        assert (unsaid.value.kind, unsaid.value.retry_after_s) == (Kind.UNAVAILABLE, 1)
        waiting = asyncio.ensure_future(pins.find(first))
        await asyncio.sleep(0)
        other.stdin.write(b"x")
        try:
            assert await waiting == pin(1)
        except GatewayError:
            # Its process takes longer than that to hear of it, where the machine is busy.
            await other.wait()
            assert await pins.find(first) == pin(1)
        await other.wait()

    asyncio.run(test())


@pytest.mark.slow
def test_a_redis_that_is_away_knows_nothing(redis_server: Redis) -> None:
    """Nobody is sent anywhere then; once it is back, all goes on."""

    async def test() -> None:
        pins = RedisPins(redis_server.url, 0.5, MOST)
        first = name("app:away", 1)
        assert await pins.keep(first, pin(1), 60) is None
        redis_server.kill()
        try:
            for verb in (pins.find(first), pins.keep(first, pin(1), 1), pins.extend(first, pin(1), 1)):
                with pytest.raises(GatewayError) as unsaid:
                    await verb
                assert (unsaid.value.kind, unsaid.value.retry_after_s) == (Kind.UNAVAILABLE, 1)
        finally:
            redis_server.start()
        async with asyncio.timeout(PATIENT_S):
            while True:
                try:
                    await pins.find(first)
                except GatewayError:
                    await asyncio.sleep(0.05)
                else:
                    break
        assert await pins.keep(first, pin(2), 60) is None
        assert await pins.find(first) == pin(2)
        await pins.close()

    asyncio.run(test())
