"""Quotas that workers share while the store is away, and after it was restarted empty."""

import pytest
import redis

from gateway.dataplane.quota.store import SETTLE_S
from tests.dataplane.quota.asks import policy
from tests.dataplane.quota.simulated import Clock, SimulatedWorker, limit, looped, pass_time, workers
from tests.db.servers import Redis

pytestmark = pytest.mark.slow


def by_its_share(worker: SimulatedWorker) -> int:
    """How many requests a worker admits by itself, having lost the store."""
    worker.rounds.lost(worker.clock())
    admitted = 0
    while worker.take_here():
        admitted += 1
    return admitted


@looped
def test_while_the_store_is_away_each_worker_has_its_share(redis_server: Redis) -> None:
    """Of what is left as far as it knows; what was counted meanwhile is counted by the store afterwards."""
    them = workers(redis_server.url, policy(limit(40, 40_000)), 4, Clock())
    assert sum(not them[n % 4].take() for n in range(20)) == 20
    pass_time(them, 1.0)
    shares = [by_its_share(worker) for worker in them]
    assert max(shares) <= 10
    assert 15 <= sum(shares) <= 24
    for worker in them:
        worker.connect()
    assert sum(not them[n % 4].take() for n in range(80)) <= 20 + 4 - min(sum(shares), 20)


@pytest.mark.parametrize("forgotten", [True, False])
@looped
def test_a_store_that_comes_back_makes_no_second_burst(redis_server: Redis, forgotten: bool) -> None:
    """Whether it kept what it knew or lost it: what was used up stays so, and a blip does not use up what was not."""
    clock = Clock()
    for used, least, most in ((40, 0, 0), (10, 20, 28)):
        them = workers(redis_server.url, policy(limit(40, 40_000)), 2, clock)
        assert sum(not them[n % 2].take() for n in range(used)) == used
        pass_time(them, 2.0)
        for worker in them:
            worker.take()
            worker.rounds.lost(clock())
        if forgotten:
            redis.Redis.from_url(redis_server.url).flushall()
        clock.now += 1
        assert [worker.connect() for worker in them] == [not forgotten] * 2
        clock.now += SETTLE_S
        assert all(worker.connect() for worker in them)
        assert least <= sum(not them[n % 2].take() for n in range(60)) <= most


def admits(worker: SimulatedWorker) -> bool:
    """Whether one request is admitted, by the store or, while that is away or settles, by the worker's share."""
    return not worker.take() if worker.leases.connected else worker.take_here()


def restarted_empty(
    server: Redis, them: list[SimulatedWorker], asked: list[SimulatedWorker]
) -> tuple[int, float]:
    """The store is killed and starts empty; the workers find that within a second, one after the other, and go on being
    asked. How many requests were admitted, and how long it took until all count together again.
    """
    clock = them[0].clock
    redis.Redis.from_url(server.url).flushall()
    for worker in them:
        worker.rounds.lost(clock())
    killed_at, admitted = clock.now, 0
    while not all(worker.leases.connected for worker in them):
        for number, worker in enumerate(them):
            if clock.now - killed_at > number / len(them) and not worker.leases.connected:
                worker.connect()
        admitted += sum(admits(worker) for worker in asked)
        clock.now += 0.05
    return admitted, clock.now - killed_at


@pytest.mark.parametrize("asked", [1, 4])
@looped
def test_a_limit_that_was_used_up_stays_so_through_restarts_of_an_empty_store(
    redis_server: Redis, asked: int
) -> None:
    """Whoever comes back first, and however many workers know of it; twice in a row."""
    them = workers(redis_server.url, policy(limit(200, 86_400)), 4, Clock())
    known = them[:asked]
    assert sum(admits(known[n % asked]) for n in range(300)) == 200
    for worker in known:
        assert not admits(worker)
    for _ in range(2):
        admitted, took_s = restarted_empty(redis_server, them, known)
        assert admitted == 0
        assert SETTLE_S <= took_s < SETTLE_S + 1.5
        for _ in range(20):
            assert not any(admits(worker) for worker in them)
            pass_time(them, 0.2)


@looped
def test_what_was_left_is_there_after_a_restart_of_an_empty_store(redis_server: Redis) -> None:
    """No more than that, with what the shares let through meanwhile; and hardly less."""
    them = workers(redis_server.url, policy(limit(200, 86_400)), 4, Clock())
    admitted = sum(admits(them[n % 4]) for n in range(100))
    pass_time(them, 1.0)
    for worker in them:
        admitted += admits(worker)
    admitted += restarted_empty(redis_server, them, them)[0]
    for _ in range(60):
        admitted += sum(admits(worker) for worker in them)
        pass_time(them, 0.1)
    assert 180 <= admitted <= 200


@looped
def test_a_store_that_settles_grants_nobody_anything(redis_server: Redis) -> None:
    """Nor those who found it first and know nothing, nor those who never lost the connection."""
    clock = Clock()
    one, other = workers(redis_server.url, policy(limit(10, 86_400)), 2, clock)
    assert sum(admits(one) for _ in range(12)) == 10
    redis.Redis.from_url(redis_server.url).flushall()
    clock.now += 0.1
    fresh = SimulatedWorker(
        "fresh", redis.Redis.from_url(redis_server.url), policy(limit(10, 86_400)), clock, 1
    )
    assert not fresh.connect(), "others may know what it has forgotten"
    clock.now += 0.1
    one.rounds.lost(clock())
    assert not one.connect()
    for worker in (fresh, other):
        clock.now += 1.0
        worker.round()
        assert not worker.leases.connected
        assert not worker.connect()
    clock.now += SETTLE_S - 2.0
    for worker in (fresh, other, one):
        assert worker.connect()
        assert worker.take()


@looped
def test_a_store_that_was_restored_from_an_older_copy_makes_no_second_burst(redis_server: Redis) -> None:
    """Another run of the server has it: what was counted since the copy is not forgotten, whoever comes first."""
    clock = Clock()
    them = workers(redis_server.url, policy(limit(200, 86_400)), 2, clock)
    client = redis.Redis.from_url(redis_server.url)
    assert sum(admits(them[n % 2]) for n in range(60)) == 60
    pass_time(them, 1.0)
    copy = {key: client.dump(key) or b"" for key in client.scan_iter()}
    assert sum(admits(them[n % 2]) for n in range(300)) == 140
    client.flushall()
    for key, value in copy.items():
        client.restore(key, 0, value)
    fresh = SimulatedWorker("fresh", client, policy(limit(200, 86_400)), clock, 1)
    for worker in them:
        worker.rounds.lost(clock())
    for worker in (fresh, *them):
        worker.run = "another-run"
        assert not worker.connect()
        clock.now += 0.5
    clock.now += SETTLE_S
    assert all(worker.connect() for worker in (fresh, *them))
    for _ in range(10):
        assert not any(admits(worker) for worker in (fresh, *them))
        pass_time(them, 0.2)
