"""Quotas shared by worker processes on several hosts: real gateways, each in a folder of its own, and one Redis."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from gateway.dataplane.quota.store import SETTLE_S
from gateway.snapshot.document import LimitEntry, QuotaEntry
from tests.dataplane.raw import RawClient, Reply, ask, expect_problem, request, until_answered
from tests.dataplane.upstream import Upstream
from tests.db.servers import Redis
from tests.gateway_process import Gateway, changed, document, running, wait_for

pytestmark = pytest.mark.slow

RACERS = 64
SPLIT, SPREAD = "/v2/models/split/infer", "/v2/models/spread/infer"
PATIENT_S = 5
"""A machine that is busy with other tests is not a store that is away."""


@contextlib.contextmanager
def hosts(
    folder: Path,
    upstream: Upstream,
    redis: Redis,
    *policies: QuotaEntry,
    workers: int = 2,
    wait_s: float = PATIENT_S,
) -> Iterator[list[Gateway]]:
    """Two hosts with so many workers each, ready and sharing."""
    found = changed(document(upstream.url), quotas=policies)
    with contextlib.ExitStack() as stack:
        gateways = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            gateways.append(
                stack.enter_context(
                    running(
                        folder / name,
                        found,
                        WORKERS=workers,
                        QUOTA__REDIS_URL=redis.url,
                        QUOTA__WAIT_S=wait_s,
                    )
                )
            )
        for gateway in gateways:
            until_answered(gateway.address, path=SPREAD)
            wait_for(lambda: gateway.metric("maas_quota_store_connected") == 1, 10, "the store")  # noqa: B023
        yield gateways


def race(gateways: list[Gateway], path: str) -> list[Reply]:
    """Sixty-four requests at the same moment, over as many connections to all hosts."""
    barrier = threading.Barrier(RACERS)
    replies: list[Reply] = []

    def run(number: int) -> None:
        with RawClient(gateways[number % len(gateways)].address, 30) as client:
            barrier.wait(30)
            client.send(request(path))
            replies.append(client.reply())

    threads = [threading.Thread(target=run, args=(number,)) for number in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == RACERS
    return replies


def test_one_of_64_racers_gets_the_last_token(tmp_path: Path, own_redis: Redis) -> None:
    """On two hosts with two workers each: one of one, ten of ten, and all others are told when to come back."""
    upstream = Upstream()
    with hosts(
        tmp_path,
        upstream,
        own_redis,
        QuotaEntry("one", (LimitEntry("day", "requests", 1, 86_400),), alias="a"),
        QuotaEntry("ten", (LimitEntry("day", "requests", 10, 86_400),), application="*", alias="split"),
    ) as gateways:
        for path, tokens in (("/v2/models/a/infer", 1), (SPLIT, 10)):
            replies = race(gateways, path)
            statuses = [reply.status for reply in replies]
            assert (statuses.count(200), statuses.count(429)) == (tokens, RACERS - tokens)
            for reply in replies:
                if reply.status == 429:
                    expect_problem(reply, 429)
    upstream.close()


def test_slots_are_shared_and_a_killed_hosts_slots_come_back(tmp_path: Path, own_redis: Redis) -> None:
    """Three at a time over two hosts; when one of them is killed, what it held is free within seconds."""
    upstream = Upstream()
    limits = QuotaEntry("runs", (LimitEntry("parallel", "concurrent-requests", 3),), alias="split")
    with (
        hosts(tmp_path, upstream, own_redis, limits, workers=1) as (one, two),
        contextlib.ExitStack() as open_,
    ):
        upstream.behave = lambda talk: talk.take_then_hang(60)
        for gateway in (one, one, two):
            client = open_.enter_context(RawClient(gateway.address))
            before = len(upstream.talks)
            client.send(request(SPLIT))
            wait_for(lambda: len(upstream.talks) > before, 5, "the call to arrive")  # noqa: B023
        for gateway in (one, two):
            expect_problem(ask(gateway.address, request(SPLIT)), 429)
        one.stop()
        upstream.renew()
        wait_for(lambda: ask(two.address, request(SPLIT)).status == 200, 15, "a slot of the killed host")
        assert [ask(two.address, request(SPLIT)).status for _ in range(5)] == [200] * 5
    upstream.close()


def test_redis_may_stop_and_die_in_the_middle(tmp_path: Path, own_redis: Redis) -> None:
    """Stopped, killed, back again: requests go on, the sum stays within the shares, hard limits are closed meanwhile."""
    upstream = Upstream()
    quota = 60
    with hosts(
        tmp_path,
        upstream,
        own_redis,
        QuotaEntry("soft", (LimitEntry("day", "requests", quota, 86_400),), alias="a"),
        QuotaEntry("hard", (LimitEntry("day", "requests", 100_000, 86_400),), alias="split", hard=True),
        workers=1,
        wait_s=1.5,
    ) as gateways:

        def connected(value: int) -> bool:
            return all(gateway.metric("maas_quota_store_connected") == value for gateway in gateways)

        def calls(count: int) -> int:
            statuses = [ask(gateways[n % 2].address, request()).status for n in range(count)]
            assert set(statuses) <= {200, 429}
            return statuses.count(200)

        admitted = calls(20)
        assert admitted == 20
        assert ask(gateways[0].address, request(SPLIT)).status == 200

        own_redis.pause()
        admitted += calls(2)
        wait_for(lambda: connected(0), 10, "the circuit to open")
        began = time.monotonic()
        admitted += calls(30)
        assert time.monotonic() - began < 10, "nobody waits for a store that is away"
        for gateway in gateways:
            closed = ask(gateway.address, request(SPLIT))
            expect_problem(closed, 503)
            problem = json.loads(closed.body)
            assert problem["type"].endswith("#temporary-reduced-capacity")
            assert problem["violated-policies"] == ["hard/day"]
        own_redis.resume()
        wait_for(lambda: connected(1), 20, "the store again")
        assert all(ask(gateway.address, request(SPLIT)).status == 200 for gateway in gateways)
        admitted += calls(10)

        own_redis.kill()
        admitted += calls(10)
        wait_for(lambda: connected(0), 10, "the circuit to open")
        own_redis.start()
        wait_for(lambda: connected(1), 20, "an empty store")
        admitted += calls(80)
        # Each time that the store is away the shares might let in the quota once more; but each worker knows about how
        # much was used. What it cannot be sure of counts as used.
        assert quota * 2 // 3 <= admitted <= quota * 4 // 3
        assert calls(5) == 0
        assert sum(gateway.metric("maas_quota_local_total") for gateway in gateways) > 0
    upstream.close()


def test_a_hard_budget_survives_a_store_that_was_restored_from_an_older_copy(
    tmp_path: Path, shared_upstream: Upstream, own_redis: Redis
) -> None:
    """Redis saves a copy, is killed, and starts from it, while a worker that knows nothing finds it first."""
    budget = QuotaEntry("budget", (LimitEntry("day", "requests", 60, 86_400),), alias="split", hard=True)
    with hosts(tmp_path, shared_upstream, own_redis, budget) as gateways:

        def admitted(times: int) -> int:
            found = 0
            for number in range(times):
                # A host whose workers are being started again may not answer.
                with contextlib.suppress(OSError, EOFError):
                    found += ask(gateways[number % 2].address, request(SPLIT)).status == 200
            return found

        used = admitted(20)
        redis.Redis.from_url(own_redis.url).save()
        until = time.monotonic() + 30
        while used < 60 and time.monotonic() < until:
            used += admitted(10)
        assert used == 60
        own_redis.kill()
        for pid in gateways[0].workers().values():
            os.kill(pid, signal.SIGKILL)
        wait_for(
            lambda: all(each.metric("maas_quota_store_connected") == 0 for each in gateways), what="away"
        )
        own_redis.start()
        until = time.monotonic() + SETTLE_S + 2
        while time.monotonic() < until:
            assert admitted(4) == 0
        wait_for(
            lambda: all(each.metric("maas_quota_store_connected") == 1 for each in gateways), what="back"
        )
        assert admitted(20) == 0


def test_a_policy_that_is_revoked_binds_nobody(tmp_path: Path, own_redis: Redis) -> None:
    """A restart with a snapshot that has it no more, or has it again: counts are where they were, in Redis."""
    upstream = Upstream()
    one = QuotaEntry("one", (LimitEntry("day", "requests", 1, 86_400),), alias="a")
    (tmp_path / "x").mkdir()
    settings = {"QUOTA__REDIS_URL": own_redis.url, "QUOTA__WAIT_S": PATIENT_S}
    for policies, expected in (((one,), [200, 429]), ((), [200, 200]), ((one,), [429, 429])):
        with running(tmp_path / "x", changed(document(upstream.url), quotas=policies), **settings) as gateway:
            until_answered(gateway.address, path=SPREAD)
            wait_for(lambda: gateway.metric("maas_quota_store_connected") == 1, what="the store")
            assert [ask(gateway.address, request()).status for _ in range(2)] == expected
            assert "redis://" not in gateway.log
    upstream.close()
