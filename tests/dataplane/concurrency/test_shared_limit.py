"""Several workers of a host and one limit: fair between tenants wherever they call, and whoever comes or goes."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gateway.dataplane.concurrency.criticality import CRITICAL
from gateway.dataplane.concurrency.gates import Gates
from gateway.settings import AdmissionSettings
from gateway.supervisor.loads import Loads, OwnLoads
from gateway.types import Target
from tests.dataplane.concurrency.simulated import Call, Host, Pace, Server, Worker, around, now, simulate

pytestmark = pytest.mark.slow

SETTLED_S = 40.0
UNTIL_S = 120.0
FIXED_20 = {"initial_limit": 20, "min_limit": 20, "max_limit": 20}
"""Sixteen are open to most calls, thirteen of them to one tenant."""


def p99(calls: list[Call]) -> float:
    """Of the time that they took."""
    took = sorted(call.took_s for call in calls)
    return took[int(0.99 * len(took))]


def on_host(
    story: Callable[[Host], Coroutine[Any, Any, Any]], slots: int, workers: int = 4, **settings: Any
) -> Host:
    """The story with a host of so many workers before a server of so many slots, a tenth of a second each."""

    async def told() -> Host:
        host = Host(Server(slots, around(0.1, 0.15)), workers, **settings)
        await asyncio.sleep(1)
        await story(host)
        return host

    found: Host = simulate(told())
    return found


async def everywhere(host: Host, count: int, tenant: str, until: float, pause_s: float = 0.0) -> None:
    """So many callers at each worker."""
    await asyncio.gather(*(worker.callers(count, tenant, until, pause_s) for worker in host.workers))


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("slots", [8, 16, 32])
def test_a_flood_costs_the_other_tenant_at_most_half_more_with_several_workers_too(
    slots: int, workers: int
) -> None:
    """The promise of a single worker: none of the quiet tenant's calls is refused, and its p99 is at most 1.5 times what it is
    alone; the server is not left idle.
    """

    def quiet_and(flood: int) -> Host:
        async def story(host: Host) -> None:
            await asyncio.gather(
                everywhere(host, 1, "quiet", UNTIL_S, 0.2),
                everywhere(host, flood // workers, "flood", UNTIL_S),
            )

        return on_host(story, slots, workers, alone_s=300.0)

    alone = [call for call in quiet_and(0).calls if call.began > SETTLED_S]
    calls = [call for call in quiet_and(200).calls if call.began > SETTLED_S]
    together = [call for call in calls if call.tenant == "quiet"]
    assert all(call.status == 200 for call in together)
    assert p99(together) <= 1.5 * p99(alone)
    served = sum(call.status == 200 for call in calls)
    assert served > 0.75 * slots / 0.1 * (UNTIL_S - SETTLED_S)


def test_workers_together_send_what_one_limit_allows() -> None:
    """Four flooded workers have as many calls of one tenant in flight as one would, and share them evenly."""

    async def story(host: Host) -> None:
        flood = asyncio.ensure_future(everywhere(host, 30, "flood", 10))
        await asyncio.sleep(2)
        for _ in range(50):
            await asyncio.sleep(0.1)
            assert host.in_flight == 13
            assert sorted(worker.gate.in_flight for worker in host.workers) == [3, 3, 3, 4]
        await flood

    on_host(story, 16, **FIXED_20)


def test_who_floods_through_one_worker_has_the_others_parts_too() -> None:
    """Connections are not always spread: what the others do not want is not left lying."""

    async def story(host: Host) -> None:
        flood = asyncio.ensure_future(host.workers[2].callers(60, "flood", 10))
        await asyncio.sleep(2)
        assert host.in_flight == 13
        call = await host.workers[0].call("other")
        assert call.status == 200
        assert call.queued_s == 0
        await flood

    on_host(story, 16, **FIXED_20)


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_nobody_starves_where_there_are_fewer_slots_than_workers(limit: int) -> None:
    """Each worker's callers are served, about as often as any other's."""

    async def story(host: Host) -> None:
        await everywhere(host, 5, "flood", 30)

    host = on_host(story, limit, initial_limit=limit, min_limit=limit, max_limit=limit)
    served = [sum(call.status == 200 for call in worker.calls) for worker in host.workers]
    assert min(served) > 0.5 * max(served)
    assert sum(served) > 0.7 * 29 * limit / 0.1


def test_a_tenant_alone_is_not_refused() -> None:
    """An application with more callers than the server has slots, and nobody else there: every call is answered."""

    async def story(host: Host) -> None:
        await everywhere(host, 75, "lone", 20)

    host = on_host(story, 4, alone_s=300.0)
    assert {call.status for call in host.calls} == {200}


@pytest.mark.parametrize("dies", [0, 2])
def test_the_slots_of_a_worker_that_dies_are_the_others(dies: int) -> None:
    """Its calls count no more once it is known to be gone, whether it was the one that moves the limit or not."""

    async def story(host: Host) -> None:
        flood = asyncio.ensure_future(everywhere(host, 30, "flood", 20))
        await asyncio.sleep(2)
        host.kill(host.workers[dies])
        await asyncio.sleep(2)
        left = [worker for place, worker in enumerate(host.workers) if place != dies]
        assert sorted(worker.gate.in_flight for worker in left) == [4, 4, 5]
        assert host.start().gate.limit.slots == 20
        await flood

    on_host(story, 16, **FIXED_20)


def test_a_worker_that_hangs_keeps_what_it_has_taken_and_no_more() -> None:
    """The server still has its calls; the rest of the limit is the others', within about a second."""

    async def story(host: Host) -> None:
        held = [asyncio.ensure_future(host.workers[0].call("flood", takes_s=60.0)) for _ in range(2)]
        await asyncio.sleep(0.5)
        host.stop(host.workers[0])
        flood = [asyncio.ensure_future(worker.callers(30, "flood", 10)) for worker in host.workers[1:]]
        await asyncio.sleep(3)
        assert [worker.gate.elsewhere >= 2 for worker in host.workers[1:]] == [True] * 3
        assert sum(worker.gate.in_flight for worker in host.workers[1:]) == 13
        await asyncio.gather(*flood)
        for call in held:
            call.cancel()

    on_host(story, 16, **FIXED_20)


def test_who_moves_the_limit_next_goes_on_from_what_is_known() -> None:
    """The oldest worker is replaced, again and again, as in a rolling restart: the limit stays where it had settled."""

    async def story(host: Host) -> None:
        quiet = [asyncio.ensure_future(worker.callers(1, "quiet", 100, 0.2)) for worker in host.workers]
        flood = [asyncio.ensure_future(worker.callers(50, "flood", 100)) for worker in host.workers]
        await asyncio.sleep(SETTLED_S)
        settled = host.workers[0].gate.limit.slots
        assert settled < 48
        for place in range(4):
            flood[place].cancel()
            quiet[place].cancel()
            host.kill(host.workers[place])
            worker = host.start()
            flood.append(asyncio.ensure_future(worker.callers(50, "flood", 100)))
            await asyncio.sleep(0.2)
            assert sum(worker.gate.in_flight for worker in host.workers[place + 1 :]) < 48
            await asyncio.sleep(5)
            assert 0.5 * settled <= worker.gate.limit.slots <= 1.5 * settled
        await asyncio.gather(*flood[4:])

    on_host(story, 16)


def test_a_quiet_night_is_forgotten_by_nobody() -> None:
    """All workers rest; the first that is called again has the limit that they had found, and hears of the others' calls."""

    async def story(host: Host) -> None:
        await asyncio.gather(everywhere(host, 1, "quiet", 60, 0.2), everywhere(host, 50, "flood", 60))
        settled = host.workers[3].gate.limit.slots
        await asyncio.sleep(3600)
        assert {worker.gate.limit.slots for worker in host.workers} == {settled}
        calls = await asyncio.gather(*(host.workers[3].call("early") for _ in range(8)))
        assert [call.status for call in calls] == [200] * 8
        assert settled / 2 <= host.workers[0].gate.limit.slots <= 2 * settled

    on_host(story, 16)


def test_two_tenants_that_call_different_workers_know_of_each_other() -> None:
    """What one worker has seen of a second tenant keeps the others from taking theirs to be alone."""

    async def story(host: Host) -> None:
        first, second, *_ = host.workers
        await first.call("one")
        await first.call("two")
        call = asyncio.ensure_future(second.call("one"))
        await asyncio.sleep(0.05)
        assert not second.gate.alone(now())
        await call

    on_host(story, 16, alone_s=300.0)


def test_versions_for_which_there_is_no_room_in_the_table_are_limited_by_each_worker() -> None:
    """The second name in a row has a limit of its own; when the first one is gone, the row is free for the next gate."""

    async def story() -> None:
        loads = Loads.create(1, rows=1)
        loads.occupy(0, 1)
        gates = Gates(AdmissionSettings(), asyncio.get_running_loop(), Pace(), OwnLoads(loads, 0))
        first, second = (
            gates.of(Target("m", number, 10_000, "stable", "main", b"", b"m/%d" % number))
            for number in (1, 2)
        )
        assert first.part is not None
        assert second.part is None
        share = second.enter("app:shop", CRITICAL)
        assert share is not None
        share.leave()

    simulate(story())


def test_a_single_worker_shares_nothing() -> None:
    """Without the memory of a host there is no tick and no part."""

    async def story() -> None:
        assert Worker(Server(1, around(0.1, 0.1))).gate.part is None
        assert not Gates(AdmissionSettings(), asyncio.get_running_loop(), Pace()).shares

    simulate(story())
