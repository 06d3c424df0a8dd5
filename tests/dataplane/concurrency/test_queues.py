"""Whose turn it is: pure queues."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.concurrency.criticality import CRITICAL, CRITICAL_PLUS
from gateway.dataplane.concurrency.queues import LEVELS, FairQueues, Tenant, Waiter

SHEDDABLE_PLUS, SHEDDABLE = 2, 3
OPEN = (100,) * len(LEVELS)


def call(tenant: Tenant, name: str, level: int = CRITICAL) -> Waiter[str]:
    return Waiter(tenant, level, name)


def served(queues: FairQueues[str], count: int, most: tuple[int, ...] = OPEN) -> list[str]:
    """The next calls that are let in while none leaves."""
    names = []
    for in_flight in range(count):
        waiter = queues.next(in_flight, most, most)
        if waiter is None:
            break
        waiter.tenant.in_flight += 1
        names.append(waiter.ticket)
    return names


def test_tenants_take_turns_however_many_calls_each_has_waiting() -> None:
    """Ten calls of one and two of another: the two are among the first four."""
    flood, other = Tenant(), Tenant()
    queues: FairQueues[str] = FairQueues(50, 1000)
    for number in range(10):
        assert queues.join(call(flood, f"flood-{number}")) is None
    for number in range(2):
        assert queues.join(call(other, f"other-{number}")) is None
    assert served(queues, 5) == ["flood-0", "other-0", "flood-1", "other-1", "flood-2"]


def test_a_tenant_with_few_in_flight_comes_first() -> None:
    """Slots are shared, not requests: whoever holds many waits until the others hold as many."""
    greedy, modest = Tenant(), Tenant()
    greedy.in_flight, modest.in_flight = 5, 1
    queues: FairQueues[str] = FairQueues(50, 1000)
    for number in range(4):
        queues.join(call(greedy, f"greedy-{number}"))
        queues.join(call(modest, f"modest-{number}"))
    assert served(queues, 4) == ["modest-0", "modest-1", "modest-2", "modest-3"]


def test_one_slot_goes_round() -> None:
    """With room for one call, three tenants are served in turn, each in the order of its calls."""
    tenants = [Tenant(), Tenant(), Tenant()]
    queues: FairQueues[str] = FairQueues(50, 1000)
    for number in range(2):
        for name, tenant in zip("abc", tenants, strict=True):
            queues.join(call(tenant, f"{name}{number}"))
    order = []
    while waiter := queues.next(0, OPEN, OPEN):
        order.append(waiter.ticket)
    assert order == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_a_higher_level_is_served_before_a_lower_one() -> None:
    """Whatever the order of arrival, and whoever's the calls are."""
    one, other = Tenant(), Tenant()
    other.in_flight = 7
    queues: FairQueues[str] = FairQueues(50, 1000)
    for level in reversed(LEVELS):
        queues.join(call(other, f"level-{level}", level))
        queues.join(call(one, f"first-{level}", level))
    assert served(queues, 8) == [
        "first-0", "level-0", "first-1", "level-1", "first-2", "level-2", "first-3", "level-3",
    ]  # fmt: skip


def test_what_is_open_to_a_level_is_a_limit_of_its_own() -> None:
    """With the rest kept for critical-plus, a critical call waits while a critical-plus one goes."""
    queues: FairQueues[str] = FairQueues(50, 1000)
    queues.join(call(Tenant(), "critical"))
    queues.join(call(Tenant(), "plus", CRITICAL_PLUS))
    most = (10, 8, 8, 8)
    waiter = queues.next(8, most, most)
    assert waiter is not None
    assert waiter.ticket == "plus"
    assert queues.next(8, most, most) is None


def test_a_full_queue_refuses_the_next_call_of_its_tenant_alone() -> None:
    """Another tenant's call is taken."""
    flood, other = Tenant(), Tenant()
    queues: FairQueues[str] = FairQueues(3, 1000)
    assert [queues.join(call(flood, str(number))) for number in range(3)] == [None] * 3
    late = call(flood, "late")
    assert queues.join(late) is late
    assert queues.join(call(other, "other")) is None
    assert queues.waiting == 4


def test_in_a_tenants_full_queue_a_lower_call_makes_way() -> None:
    """The last of its lowest level."""
    tenant = Tenant()
    queues: FairQueues[str] = FairQueues(3, 1000)
    for name, level in (("a", SHEDDABLE), ("b", CRITICAL), ("c", SHEDDABLE)):
        queues.join(call(tenant, name, level))
    turned_away = queues.join(call(tenant, "d", SHEDDABLE_PLUS))
    assert turned_away is not None
    assert turned_away.ticket == "c"
    same = call(tenant, "e", SHEDDABLE)
    assert queues.join(same) is same
    assert queues.waiting == tenant.waiting == 3


def test_when_all_is_full_the_lowest_level_of_any_tenant_makes_way() -> None:
    """Sheddable before critical; a call that is itself the lowest is refused."""
    queues: FairQueues[str] = FairQueues(50, 3)
    one, other, third = Tenant(), Tenant(), Tenant()
    queues.join(call(one, "critical"))
    queues.join(call(other, "plus", SHEDDABLE_PLUS))
    queues.join(call(other, "sheddable", SHEDDABLE))
    turned_away = [queues.join(call(third, name)) for name in ("x", "y")]
    assert [each.ticket for each in turned_away if each] == ["sheddable", "plus"]
    lowest = call(third, "z", SHEDDABLE)
    assert queues.join(lowest) is lowest


def test_when_all_is_full_the_longest_queue_makes_way_for_a_newcomer() -> None:
    """So nobody can be kept out by those who fill the gate; between equals, who was first stays."""
    queues: FairQueues[str] = FairQueues(50, 4)
    flood, other, newcomer = Tenant(), Tenant(), Tenant()
    for number in range(3):
        queues.join(call(flood, f"flood-{number}"))
    queues.join(call(other, "other"))
    turned_away = queues.join(call(newcomer, "new"))
    assert turned_away is not None
    assert turned_away.ticket == "flood-2"
    again = call(newcomer, "again")
    assert queues.join(again) is again


@given(
    st.lists(
        st.tuples(st.sampled_from(["join", "leave", "next", "done"]), st.integers(0, 3), st.integers(0, 3))
    )
)
def test_the_books_always_balance(steps: list[tuple[str, int, int]]) -> None:
    """Whatever happens: every call is in one queue, counted once, within the bounds; no slot beyond the limits."""
    tenants = [Tenant() for _ in range(4)]
    queues: FairQueues[str] = FairQueues(3, 8)
    waiting: list[Waiter[str]] = []
    most, most_of_tenant = (5, 4, 4, 4), (4, 3, 3, 3)
    for what, who, level in steps:
        in_flight = sum(tenant.in_flight for tenant in tenants)
        if what == "join":
            waiter = call(tenants[who], "", level)
            turned_away = queues.join(waiter)
            if turned_away is not waiter:
                waiting.append(waiter)
                if turned_away is not None:
                    assert turned_away.level >= level
                    waiting.remove(turned_away)
        elif what == "leave" and waiting:
            assert queues.leave(waiting.pop(who % len(waiting)))
        elif what == "next":
            found = queues.next(in_flight, most, most_of_tenant)
            if found is not None:
                assert in_flight < most[found.level]
                assert found.tenant.in_flight < most_of_tenant[found.level]
                waiting.remove(found)
                assert not queues.leave(found)
                found.tenant.in_flight += 1
        elif tenants[who].in_flight:
            tenants[who].in_flight -= 1
        assert queues.waiting == len(waiting) == sum(tenant.waiting for tenant in tenants) <= 8
        assert all(tenant.waiting <= 3 for tenant in tenants)
