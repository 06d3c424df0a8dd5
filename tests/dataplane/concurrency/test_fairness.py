"""What one tenant's flood costs another: the promise, to the letter, in simulated time."""

import asyncio

import pytest

from gateway.dataplane.concurrency.criticality import CRITICAL, CRITICAL_PLUS
from tests.dataplane.concurrency.simulated import Call, Server, Worker, around, now, simulate

pytestmark = pytest.mark.slow

SHEDDABLE = 3
SETTLED_S = 30.0


def percentile(calls: list[Call], share: float) -> float:
    """The latency that this share of the calls stays below."""
    took = sorted(call.took_s for call in calls)
    return took[min(len(took) - 1, int(share * len(took)))]


def story_of(slots: int, spread: float, flood: int, until: float = 180.0) -> dict[str, list[Call]]:
    """`quiet` calls one at a time, a fifth of a second after the last; `flood` has so many callers. Calls by tenant, once
    the limit has settled.
    """

    async def story() -> Worker:
        worker = Worker(Server(slots, around(0.1, spread)), alone_s=300.0)
        await asyncio.gather(
            worker.callers(1, "quiet", until, pause_s=0.2), worker.callers(flood, "flood", until)
        )
        return worker

    found: dict[str, list[Call]] = {"quiet": [], "flood": []}
    for call in simulate(story()).calls:
        if call.began > SETTLED_S:
            found[call.tenant].append(call)
    return found


@pytest.mark.parametrize("slots", [8, 16, 32])
@pytest.mark.parametrize("spread", [0.15, 0.5])
def test_a_hundred_times_its_share_costs_the_other_tenant_at_most_half_more(
    slots: int, spread: float
) -> None:
    """Tenant A sends a hundred times what B does: none of B's calls is refused, and its p99 is at most 1.5 times what it is
    without A.
    """
    alone = story_of(slots, spread, 0)["quiet"]
    together = story_of(slots, spread, 100)
    assert all(call.status == 200 for call in together["quiet"])
    assert percentile(together["quiet"], 0.99) <= 1.5 * percentile(alone, 0.99)
    served = sum(call.status == 200 for call in together["flood"])
    assert served > 0.75 * slots / 0.115 * (180 - SETTLED_S)


def test_slots_are_shared_evenly_however_long_each_tenants_calls_are() -> None:
    """Two tenants that both want all: the one whose calls take ten times as long gets no more of the server."""

    async def story() -> Worker:
        worker = Worker(Server(10, around(0.1, 0.2)), initial_limit=12, min_limit=12, max_limit=12)
        await asyncio.gather(
            worker.callers(40, "long", 60, takes_s=1.0), worker.callers(40, "short", 60, takes_s=0.1)
        )
        return worker

    worker = simulate(story())
    busy_s = {
        tenant: sum(
            call.took_s - call.queued_s
            for call in worker.calls
            if call.tenant == tenant and call.status == 200
        )
        for tenant in ("long", "short")
    }
    assert 0.8 < busy_s["long"] / busy_s["short"] < 1.25


def test_who_comes_to_a_gate_full_of_long_calls_is_served() -> None:
    """One tenant holds all that it may, for minutes; another's first calls start at once."""

    async def story() -> list[Call]:
        fixed = {"initial_limit": 100, "min_limit": 100, "max_limit": 100}
        worker = Worker(Server(100, around(0.1, 0.2)), **fixed)
        hog = asyncio.ensure_future(worker.callers(100, "hog", 250, takes_s=200.0, deadline_s=300.0))
        await asyncio.sleep(5)
        calls = [await worker.call("other") for _ in range(20)]
        hog.cancel()
        return calls

    calls = simulate(story())
    assert all(call.status == 200 and call.queued_s == 0 for call in calls)


def test_tenants_at_their_share_do_not_pay_for_one_that_is_not() -> None:
    """Ten tenants with one call each at a time, and one with a hundred: the ten get all that they ask for."""

    async def story() -> Worker:
        worker = Worker(Server(16, around(0.1, 0.3)))
        await asyncio.gather(
            *(worker.callers(1, f"tenant-{number}", 90, pause_s=0.3) for number in range(10)),
            worker.callers(100, "flood", 90),
        )
        return worker

    worker = simulate(story())
    modest = [call for call in worker.calls if call.tenant != "flood" and call.began > SETTLED_S]
    assert all(call.status == 200 for call in modest)
    assert percentile(modest, 0.99) < 0.5


def test_under_overload_the_lower_criticality_is_shed_first() -> None:
    """Twice what the server can take, half of it sheddable: nearly all critical calls are served, and of those that are
    refused nearly all are sheddable.
    """

    async def story() -> Worker:
        worker = Worker(Server(16, around(0.1, 0.2)))
        await asyncio.gather(
            worker.arrivals(1 / 120, "shop", 90, 1, level=CRITICAL),
            worker.arrivals(1 / 120, "batch", 90, 2, level=SHEDDABLE),
        )
        return worker

    calls = [call for call in simulate(story()).calls if call.began > SETTLED_S]
    served = {
        tenant: sum(call.status == 200 for call in calls if call.tenant == tenant)
        / sum(call.tenant == tenant for call in calls)
        for tenant in ("shop", "batch")
    }
    assert served["shop"] > 0.95
    assert served["batch"] < 0.5


def test_critical_plus_gets_through_a_flood_of_everything_else() -> None:
    """A fifth of the limit is there for it, at once."""

    async def story() -> list[Call]:
        worker = Worker(Server(20, around(0.1, 0.2)))
        floods = [asyncio.ensure_future(worker.callers(60, f"flood-{number}", 60)) for number in range(3)]
        await asyncio.sleep(SETTLED_S)
        calls = []
        while now() < 55:
            calls.append(await worker.call("pager", level=CRITICAL_PLUS))
            await asyncio.sleep(0.05)
        await asyncio.gather(*floods)
        return calls

    calls = simulate(story())
    assert all(call.status == 200 and call.queued_s == 0 for call in calls)
