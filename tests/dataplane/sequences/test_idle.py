"""For how long a sequence that is left alone is kept: what its version's configuration says, asked for once in a while."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from gateway.dataplane.sequences.pins import HostPins
from gateway.dataplane.sequences.sequences import Sequences, idle_s_of
from gateway.errors import GatewayError, Kind
from gateway.supervisor.pins import PinTable
from gateway.types import Target
from gateway.upstream.exchange import Deadlines, Exchange
from gateway.upstream.tensors import VersionConfig

TARGET = Target("m", 1, 10_000, "stable", "main", b"/v2/models/m/versions/1", b"m/1")
UNSAID_S = 60.0


@pytest.mark.parametrize(
    ("config", "idle_s"),
    [
        (b'{"sequence_batching":{"max_sequence_idle_microseconds":5000000}}', 5.0),
        (b'{"sequence_batching":{}}', 1.0),
        (b'{"sequence_batching":{"max_sequence_idle_microseconds":0}}', 1.0),
        (b'{"ensemble_scheduling":{"step":[]}}', UNSAID_S),
        (b'{"dynamic_batching":{}}', 0.0),
    ],
)
def test_what_a_configuration_says(config: bytes, idle_s: float) -> None:
    """Triton's own second where it has sequence batching and says no time; an ensemble's models decide; others keep nothing."""
    assert idle_s_of(msgspec.json.decode(config, type=VersionConfig), UNSAID_S) == idle_s


class Clock:
    """Time that a test sets."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Pool:
    """Answers the question as it is told."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Callable[[Exchange], Awaitable[None]] = self.say(5)

    def say(self, idle_s: int) -> Callable[[Exchange], Awaitable[None]]:
        async def answer(exchange: Exchange) -> None:
            body = b'{"sequence_batching":{"max_sequence_idle_microseconds":%d}}' % (idle_s * 10**6)
            exchange.sink.reply_whole(200, (), body)

        return answer

    async def run(self, exchange: Exchange, target: Target) -> None:
        assert exchange.path.endswith(b"/config")
        self.asked += 1
        await self.answer(exchange)


def run(test: Callable[[Sequences, Any, Clock], Awaitable[None]]) -> None:
    async def with_parts() -> None:
        clock = Clock()
        pins = HostPins(PinTable.create(64), 64)
        await test(Sequences(b"s" * 32, pins, UNSAID_S, Deadlines(), clock), Pool(), clock)

    asyncio.run(with_parts())


def test_it_is_asked_for_once_a_minute() -> None:
    """A version that is configured anew is noticed."""

    async def test(sequences: Sequences, pool: Any, clock: Clock) -> None:
        for _ in range(3):
            assert await sequences.idle_s(TARGET, pool) == 5
        pool.answer = pool.say(7)
        clock.now_s += 61
        assert await sequences.idle_s(TARGET, pool) == 7
        assert pool.asked == 2

    run(test)


def test_a_server_that_does_not_tell_delays_nobody_for_long() -> None:
    """What it said before counts, else the setting; and it is not asked again for a while."""

    async def refuse(_: Exchange) -> None:
        raise GatewayError(Kind.UNAVAILABLE, "no")

    async def hang(_: Exchange) -> None:
        await asyncio.sleep(600)

    async def test(sequences: Sequences, pool: Any, clock: Clock) -> None:
        pool.answer = refuse
        assert await sequences.idle_s(TARGET, pool) == UNSAID_S
        assert await sequences.idle_s(TARGET, pool) == UNSAID_S
        assert pool.asked == 1
        pool.answer = pool.say(5)
        clock.now_s += 61
        assert await sequences.idle_s(TARGET, pool) == 5
        pool.answer = hang
        clock.now_s += 61
        assert await sequences.idle_s(TARGET, pool) == 5
        assert pool.asked == 3

    run(test)
