"""Quotas that workers share: real Redis, real script, a clock that the tests turn."""

from random import Random

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.dataplane.quota.gcra import Bucket
from gateway.dataplane.quota.leased import LEASE_S
from gateway.dataplane.quota.store import WORKER_LAPSE_S
from gateway.snapshot.document import LimitEntry, Unit
from tests.dataplane.quota.asks import policy
from tests.dataplane.quota.simulated import (
    Clock,
    SimulatedWorker,
    demand,
    limit,
    looped,
    on_a_loop,
    pass_time,
    workers,
)
from tests.db.servers import Redis

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("quota", "window_s", "burst", "asks_per_s", "seconds"),
    [
        (100, 60, 0, 4, 3600),
        (5, 60, 0, 0.5, 1200),
        (1000, 3600, 10, 0.6, 3600),
        (10, 1, 0, 25, 200),
        (60_000, 60, 1000, 1_500, 8),
    ],
)
@looped
def test_demand_gets_all_but_a_twentieth_of_the_bound_and_never_more(
    redis_server: Redis, quota: int, window_s: int, burst: int, asks_per_s: float, seconds: float
) -> None:
    """Four workers, asked at random: the sum is never above burst + rate * t, and over the time at most 5 % below it."""
    them = workers(redis_server.url, policy(limit(quota, window_s, burst)), 4, Clock())
    began = them[0].clock.now
    admitted = demand(them, asks_per_s, seconds, seed=quota)
    burst, rate = burst or quota, quota / window_s
    bound = burst + rate * (them[0].clock.now - began)
    assert 0.95 * bound <= len(admitted) <= bound
    # Also from any moment on, but for what was leased before it and told after it.
    level, last = 0.0, began
    for at in admitted:
        level, last = max(0.0, level - rate * (at - last)) + 1, at
        assert level <= burst + rate * 2 * LEASE_S + 1e-6


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize(
    ("unit", "rate", "burst", "units"),
    [
        ("inferences", 60, 60, 32),
        ("inferences", 60, 14, 7),
        ("inferences", 300, 64, 16),
        ("content-bytes", 2_000, 400, 200),
        ("tokens", 1_000, 1_000, 500),
        ("tokens", 5_000, 1_000, 500),
        ("tokens", 60_000, 60_000, 50),
    ],
)
@looped
def test_requests_that_need_much_at_once_get_it_too(
    redis_server: Redis, unit: Unit, rate: int, burst: int, units: int, count: int
) -> None:
    """What each worker has leased is never too little for any of its requests and too much for all others."""
    them = workers(redis_server.url, policy(limit(rate, 1, burst, unit, units)), count, Clock())
    began = them[0].clock.now
    # A burst of few requests is soon full again: it takes somebody who asks often to be there in time.
    eager = 2 if burst > 10 * units else 20
    admitted = demand(them, eager * rate / units, 10, seed=count, units=units)
    bound = burst + rate * (them[0].clock.now - began)
    assert 0.95 * bound - units <= len(admitted) * units <= bound
    level, last = 0.0, began
    for at in admitted:
        level, last = max(0.0, level - rate * (at - last)) + units, at
        assert level <= burst + rate * 2 * LEASE_S + 1e-6


@looped
def test_large_and_small_requests_share_a_limit(redis_server: Redis) -> None:
    """In one worker and in several: the small ones leave no worker with stock that keeps the large ones out."""
    them = workers(redis_server.url, policy(limit(60, 1, unit="inferences")), 4, Clock())
    clock, random = them[0].clock, Random(7)
    began, admitted = clock.now, {1: 0, 8: 0, 32: 0}
    while clock.now < began + 20:
        clock.now += random.expovariate(20)
        units = random.choice(list(admitted))
        if not random.choice(them).take(units):
            admitted[units] += 1
        for worker in them:
            worker.round()
    bound = 60 + 60 * (clock.now - began)
    assert 0.95 * bound <= sum(units * times for units, times in admitted.items()) <= bound
    assert all(admitted.values())


@pytest.mark.parametrize(("quota", "units"), [(1_000, 200), (100, 7), (10_000, 200)])
@looped
def test_all_of_a_long_window_is_had(redis_server: Redis, quota: int, units: int) -> None:
    """Racers get all requests that fit, whichever workers they ask; those who are refused for what another worker has
    leased are told about a second, and then it is there.
    """
    them = workers(redis_server.url, policy(limit(quota, 86_400, unit="inferences")), 4, Clock())
    admitted = 0
    for _ in range(3):
        for number in range(64):
            lacks = them[number % 4].take(units)
            admitted += not lacks
            if lacks and admitted < quota // units:
                assert lacks[0].after_s <= 1.0
        pass_time(them, 1.0)
    assert admitted == quota // units
    (lack,) = them[0].take(units)
    assert lack.after_s == pytest.approx((units - quota % units) * 86_400 / quota, rel=0.05)


@looped
def test_one_caller_after_another_gets_the_whole_burst(redis_server: Redis) -> None:
    """Nothing is leased ahead of the last requests that fit."""
    them = workers(redis_server.url, policy(limit(1_000, 3_600, 600, "content-bytes", 200)), 2, Clock())
    for _ in range(3):
        assert not them[0].take(200)
        them[0].end((200, 200))
        them[0].clock.now += 0.01
    (lack,) = them[0].take(200)
    assert lack.after_s == pytest.approx(200 * 3.6, rel=0.01)


@looped
def test_a_calm_limit_is_asked_for_rarely(redis_server: Redis) -> None:
    """A request hardly ever waits where there is plenty."""
    them = workers(redis_server.url, policy(limit(600_000)), 4, Clock())
    before = sum(worker.calls for worker in them)
    admitted = demand(them, 2_000, 5, seed=1)
    assert len(admitted) > 9_000
    assert sum(worker.calls for worker in them) - before < len(admitted) / 50


@looped
def test_one_of_many_racers_gets_the_last_token(redis_server: Redis) -> None:
    """Whichever worker they ask, in one call or in several."""
    them = workers(redis_server.url, policy(limit(10)), 4, Clock())
    assert sum(not them[0].take() for _ in range(9)) == 9
    pass_time(them, 0.6)
    asks = [worker.leases.ask(worker.counters, (1,), worker.clock()) for worker in them for _ in range(16)]
    for worker in them:
        worker.settle_down()
    assert [ask.verdict.result() == [] for ask in asks].count(True) == 1


@looped
def test_all_limits_are_taken_or_none(redis_server: Redis) -> None:
    """What one limit refuses takes nothing of the others, in stock or in the store."""
    both = policy(limit(1_000), LimitEntry("tight", "requests", 3, 60))
    them = workers(redis_server.url, both, 2, Clock())
    assert [bool(them[n % 2].take()) for n in range(10)].count(False) == 3
    pass_time(them, 1.0)
    left = {worker.counters[0].left_at(worker.clock()) for worker in them}
    wide = workers_like(them, redis_server, policy(limit(1_000)))
    wide.take()
    assert left
    assert wide.counters[0].left_at(wide.clock()) >= 1_000 - 3 - 1


def workers_like(them: list[SimulatedWorker], server: Redis, entry: object) -> SimulatedWorker:
    """One more worker on the same store."""
    made = SimulatedWorker("extra", redis.Redis.from_url(server.url), entry, them[0].clock, 1)  # type: ignore[arg-type]
    made.connect()
    return made


@looped
def test_requests_at_a_time_are_shared_and_come_back(redis_server: Redis) -> None:
    """Two at a time over two workers; one that ends is there for the other worker at once."""
    them = workers(redis_server.url, policy(LimitEntry("l", "concurrent-requests", 2)), 2, Clock())
    one, other = them
    assert not one.take()
    assert not one.take()
    assert other.take()
    one.end((1, 0))
    assert not other.take()
    assert one.take()
    other.end((1, 0))
    one.end((1, 0))
    pass_time(them, 1.0)
    assert not other.take()
    assert not other.take()
    assert other.take()


@looped
def test_a_killed_workers_slots_come_back_within_seconds(redis_server: Redis) -> None:
    """It calls no more: after `WORKER_LAPSE_S` its slots are free. What it had leased of a rate counts as used."""
    both = policy(LimitEntry("slots", "concurrent-requests", 2), limit(10, 3600))
    them = workers(redis_server.url, both, 2, Clock())
    killed, other = them
    assert not killed.take(1, 4)
    assert not killed.take(1, 4)
    assert other.take(1, 1)
    pass_time([other], WORKER_LAPSE_S - 1)
    assert other.take(1, 1)
    pass_time([other], 2)
    assert not other.take(1, 1)
    assert [lack.limit.name for lack in other.take(1, 2)] == ["p/l"]


@looped
def test_a_worker_that_leaves_gives_back_what_it_had_leased(redis_server: Redis) -> None:
    """Drained in good order, nothing is lost with it."""
    them = workers(redis_server.url, policy(limit(1_000, 36_000)), 2, Clock())
    for _ in range(200):
        them[0].take()
    assert them[0].counters[0].stock > 0
    them[0].leave()
    them[1].take()
    assert them[1].counters[0].left_at(them[1].clock()) >= 798


@looped
def test_tokens_are_reserved_and_put_right_across_workers(redis_server: Redis) -> None:
    """What one worker reserves the other cannot have; what was not used it can."""
    them = workers(redis_server.url, policy(limit(1_000, 3600, unit="tokens", estimate=400)), 2, Clock())
    one, other = them
    assert not one.take(400)
    assert not one.take(400)
    assert other.take(400)
    one.end((400, 50))
    one.end((400, 50))
    pass_time(them, 1.0)
    assert not other.take(400)
    assert not other.take(400)
    assert other.take(400)
    other.end((400, 3_000))
    pass_time(them, 1.0)
    assert other.take(1)
    assert one.take(1)


@looped
def test_a_caller_who_goes_while_waiting_takes_nothing_along(redis_server: Redis) -> None:
    """Before the call, during it, and just after it."""
    them = workers(redis_server.url, policy(limit(4, 36_000)), 1, Clock())
    worker, now = them[0], them[0].clock()
    before = worker.leases.ask(worker.counters, (1,), now)
    before.verdict.cancel()
    worker.leases.give_up(before, now)
    after = worker.leases.ask(worker.counters, (1,), now)
    worker.settle_down()
    worker.leases.give_up(after, now)
    pass_time(them, 2.0)
    assert sum(not worker.take() for _ in range(10)) == 4


@looped
def test_the_stores_clock_may_be_put_right(redis_server: Redis) -> None:
    """A step back drains nothing twice; an hour back locks nobody out; an hour ahead lets in one burst, not more."""
    clock = Clock()
    them = workers(redis_server.url, policy(limit(10, 10)), 1, clock)
    assert sum(not them[0].take() for _ in range(12)) == 10
    for _ in range(50):
        clock.now += 0.05
        them[0].round()
        clock.now -= 0.05
        them[0].counters[0].follow(them[0].counters[0].limit, clock())
        assert them[0].take()
    fresh = Clock()
    fresh.now = clock.now - 3600
    later = SimulatedWorker("later", redis.Redis.from_url(redis_server.url), policy(limit(10, 10)), fresh, 1)
    later.connect()
    assert later.take()
    fresh.now += 1.5
    assert not later.take()
    ahead = Clock()
    ahead.now = fresh.now + 3600
    last = SimulatedWorker("last", redis.Redis.from_url(redis_server.url), policy(limit(10, 10)), ahead, 1)
    last.connect()
    assert sum(not last.take() for _ in range(30)) == 10


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.integers(1, 30),
    st.sampled_from([1, 7, 60]),
    st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, 6)), min_size=1, max_size=15),
)
def test_the_script_counts_as_the_bucket_does(
    redis_server: Redis, quota: int, window_s: int, asks: list[tuple[float, int]]
) -> None:
    """One arithmetic in two languages: each decision is the same."""

    def run() -> None:
        clock = Clock()
        (worker,) = workers(redis_server.url, policy(limit(quota, window_s)), 1, clock)
        bucket, rate = Bucket(clock()), quota / window_s
        for step_s, units in asks:
            clock.now += step_s
            counter = worker.counters[0]
            # Nothing leased ahead, nothing remembered: the script itself decides.
            counter.asked = 0
            counter.follow(counter.limit, clock())
            counter.stock = 0
            leases = worker.leases
            ask = leases.ask(worker.counters, (units,), clock())
            leases.wants.clear()
            counter.wanted = False
            if not ask.verdict.done():
                worker.round()
            granted = ask.verdict.result() == []
            room = quota - bucket.level_at(rate, clock()) - units
            if abs(room) > 1e-6:
                assert granted == (room >= 0)
            if granted:
                leases.granted(ask)
                leases.urgent.add(counter)
                worker.settle_down()
                bucket.count(units, rate, clock())

    on_a_loop(run)


@looped
def test_a_request_that_waited_and_was_shed_gives_back_what_it_took(redis_server: Redis) -> None:
    """It is held in the store while it waits, and free for the other worker afterwards; served, it counts."""
    one, other = workers(redis_server.url, policy(limit(2, 36_000)), 2, Clock())
    ask = one.leases.ask(one.counters, (1,), one.clock())
    one.round()
    assert ask.verdict.result() == []
    one.leases.granted(ask)
    one.leases.hold(one.counters[0], 1)
    one.settle_down()
    assert not other.take()
    assert other.take()
    pass_time([one, other], 1.5)
    assert other.take()
    one.end((1, 0))
    pass_time([one, other], 1.5)
    assert not other.take()
