"""A slot is taken at once, or waited for, and given back exactly once, whatever happens: the real gate in simulated time."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gateway.dataplane.concurrency.criticality import CRITICAL, CRITICAL_PLUS, NAMES
from gateway.dataplane.concurrency.gate import MOST_WAITING, Gate, Share
from gateway.dataplane.concurrency.shedding import REDUCED_CAPACITY
from gateway.errors import GatewayError, Kind, Source
from gateway.observe import metrics
from tests.dataplane.concurrency.simulated import Server, Worker, around, now, simulate

SHEDDABLE = 3
FAR = 1e9


def gate_of(slots: int, **settings: Any) -> Gate:
    """A gate whose limit stays what it is."""
    fixed = {"initial_limit": slots, "min_limit": slots, "max_limit": slots}
    return Worker(Server(1, around(1.0, 0.0)), **(fixed | settings)).gate


def fill(gate: Gate, level: int = CRITICAL) -> list[Share]:
    """Take every slot that is open to the level, each by a tenant of its own."""
    shares: list[Share] = []
    while (share := gate.enter(f"filler-{len(shares)}", level)) is not None:
        shares.append(share)
    return shares


def waiting(gate: Gate, name: str, level: int = CRITICAL, deadline: float = FAR) -> "asyncio.Task[Share]":
    """A call that waits."""
    assert gate.enter(name, level) is None
    return asyncio.ensure_future(gate.wait(name, level, deadline))


def shed_total(reason: str, level: int = CRITICAL) -> float:
    """How many calls were turned away for this reason."""
    return metrics.SHED.labels(reason, NAMES[level])._value.get()


def told(story: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that happens in simulated time."""

    def test() -> None:
        simulate(story())

    test.__doc__ = story.__doc__
    return test


@told
async def test_a_fifth_is_kept_for_critical_plus() -> None:
    """All but a fifth of the slots are open to everybody; the rest to critical-plus alone."""
    gate = gate_of(20)
    assert len(fill(gate)) == 16
    assert gate.enter("other", SHEDDABLE) is None
    assert len(fill(gate, CRITICAL_PLUS)) == 4


@told
async def test_one_tenant_leaves_a_fifth_to_others() -> None:
    """However many calls it sends, and though nobody else has come yet: who comes then is served at once."""
    gate = gate_of(20)
    mine = [gate.enter("flood", CRITICAL) for _ in range(100)]
    assert sum(share is not None for share in mine) == 13
    assert [gate.enter("other", CRITICAL) is not None for _ in range(4)] == [True] * 3 + [False]


@told
async def test_with_a_single_slot_it_is_everybodys() -> None:
    """Nothing can be kept of one slot; nobody is locked out."""
    gate = gate_of(1)
    share = gate.enter("one", SHEDDABLE)
    assert share is not None
    assert gate.enter("two", CRITICAL_PLUS) is None
    share.leave()
    assert gate.enter("two", CRITICAL_PLUS) is not None


@told
async def test_who_waits_gets_the_slot_that_is_given_back() -> None:
    """At once, and no newcomer gets it before."""
    gate = gate_of(20)
    shares = fill(gate)
    waiter = waiting(gate, "patient")
    await asyncio.sleep(0.5)
    shares.pop().leave()
    assert gate.enter("newcomer", CRITICAL) is None
    share = await waiter
    assert (gate.in_flight, share.in_flight, gate.queues.waiting) == (16, 1, 0)


@told
async def test_a_call_waits_a_second_at_most() -> None:
    """Then it is refused: 503, the gateway's fault, when to come back, and the registered problem type."""
    gate = gate_of(20)
    fill(gate)
    before = shed_total("queue_timeout")
    began = now()
    with pytest.raises(GatewayError) as refused:
        await waiting(gate, "patient")
    assert now() - began == pytest.approx(1.0)
    error = refused.value
    assert (error.kind, error.source, error.type_uri) == (Kind.UNAVAILABLE, Source.GATEWAY, REDUCED_CAPACITY)
    assert error.retry_after_s is not None
    assert "Version 1 of model m" in error.detail
    assert shed_total("queue_timeout") == before + 1
    assert (gate.in_flight, gate.queues.waiting) == (16, 0)


@told
async def test_a_call_never_waits_beyond_its_own_deadline() -> None:
    """Its caller would not be there any more: 504."""
    gate = gate_of(20)
    fill(gate)
    began = now()
    with pytest.raises(GatewayError) as late:
        await waiting(gate, "hasty", deadline=now() + 0.3)
    assert now() - began == pytest.approx(0.3)
    assert late.value.kind is Kind.DEADLINE


@told
async def test_the_fifty_first_of_a_tenant_is_refused_at_once() -> None:
    """And another tenant's first is not."""
    gate = gate_of(20)
    fill(gate)
    queue = [waiting(gate, "flood") for _ in range(50)]
    await asyncio.sleep(0)
    with pytest.raises(GatewayError, match="as many of your calls as may wait") as refused:
        await gate.wait("flood", CRITICAL, FAR)
    assert refused.value.retry_after_s is not None
    other = waiting(gate, "other")
    await asyncio.sleep(0)
    assert gate.queues.waiting == 51
    for task in (*queue, other):
        task.cancel()


@told
async def test_a_gate_has_room_for_so_many_and_no_more() -> None:
    """Many tenants together cannot fill the memory; a newcomer still gets in, at the cost of who has most."""
    gate = gate_of(20)
    fill(gate)
    tasks = [waiting(gate, f"flood-{number % 20}") for number in range(MOST_WAITING)]
    await asyncio.sleep(0)
    assert gate.queues.waiting == MOST_WAITING
    newcomer = waiting(gate, "newcomer")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert gate.queues.waiting == MOST_WAITING
    assert not newcomer.done()
    evicted = [task for task in tasks if task.done()]
    assert len(evicted) == 1
    assert isinstance(evicted[0].exception(), GatewayError)
    for task in (*tasks, newcomer):
        task.cancel()


@told
async def test_a_sheddable_call_makes_way_for_a_critical_one() -> None:
    """It is told so, with 503, and counted under its own criticality."""
    gate = gate_of(20, queue_length=2)
    fill(gate)
    before = shed_total("evicted", SHEDDABLE)
    batch = [waiting(gate, "shop", SHEDDABLE) for _ in range(2)]
    await asyncio.sleep(0)
    checkout = waiting(gate, "shop")
    with pytest.raises(GatewayError, match="gave up its place") as refused:
        await batch[1]
    assert refused.value.kind is Kind.UNAVAILABLE
    assert shed_total("evicted", SHEDDABLE) == before + 1
    assert not batch[0].done()
    assert not checkout.done()
    for task in (*batch, checkout):
        task.cancel()


@told
async def test_a_caller_who_goes_leaves_nothing_behind() -> None:
    """A call that is cancelled in the queue is out of it, and the next one gets its turn."""
    gate = gate_of(20)
    shares = fill(gate)
    gone, next_one = waiting(gate, "gone"), waiting(gate, "next")
    await asyncio.sleep(0.1)
    gone.cancel()
    shares.pop().leave()
    await next_one
    assert gone.cancelled()
    assert (gate.in_flight, gate.queues.waiting) == (16, 0)


@told
async def test_a_caller_who_goes_as_it_gets_its_slot_gives_it_back() -> None:
    """The slot was granted, and the call is cancelled before it knows: the slot is not lost."""
    gate = gate_of(20)
    shares = fill(gate)
    gone = waiting(gate, "gone")
    await asyncio.sleep(0.1)
    shares.pop().leave()
    assert gate.in_flight == 16
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert (gate.in_flight, gate.queues.waiting) == (15, 0)


@told
async def test_a_limit_that_grows_lets_in_who_waits() -> None:
    """Not only the next slot that is given back does."""
    gate = gate_of(20, max_limit=100)
    shares = fill(gate)
    waiters = [waiting(gate, f"patient-{number}") for number in range(3)]
    await asyncio.sleep(0.1)
    gate.limit.value = 40.0
    shares.pop().leave()
    await asyncio.gather(*waiters)
    assert gate.in_flight == 18


def test_whatever_happens_every_slot_comes_back() -> None:
    """Thousands of calls that end well, fail, time out, are cancelled in the queue or under way, on a limit that moves: in
    the end nobody is in flight, nobody waits, and nobody was forgotten.
    """
    draw = random.Random(3)

    async def story() -> None:
        server = Server(4, around(0.05, 1.0), most_queued=10)
        worker = Worker(server, initial_limit=12, min_limit=2, max_limit=40, queue_length=5)
        tasks = []
        for _ in range(3000):
            server.up = draw.random() < 0.95
            call = worker.call(
                f"tenant-{draw.randrange(6)}", draw.choice((0.02, 0.5, 5.0)), draw.randrange(4)
            )
            tasks.append(asyncio.ensure_future(call))
            if draw.random() < 0.2:
                tasks[draw.randrange(len(tasks))].cancel()
            await asyncio.sleep(draw.expovariate(150))
        await asyncio.gather(*tasks, return_exceptions=True)
        gate = worker.gate
        assert (gate.in_flight, gate.queues.waiting, gate.idle) == (0, 0, True)
        assert all(not share.in_flight and not share.waiting for share in gate._tenants.values())
        slots = int(gate.limit.value)
        assert len(fill(gate)) == slots - max(1, slots // 5)

    simulate(story())


@told
async def test_tenants_that_are_gone_are_forgotten() -> None:
    """A gate that a hundred thousand principals have passed keeps books of a few."""
    gate = gate_of(20)
    for number in range(5000):
        share = gate.enter(f"tenant-{number}", CRITICAL)
        assert share is not None
        share.leave()
    assert len(gate._tenants) <= 1024
