"""How a limit is split: by level and tenant, and among workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.concurrency.split import open_to, part_of

MUCH = 10**6


@pytest.mark.parametrize(
    ("slots", "of_all", "of_tenant"),
    [
        (1, (1, 1, 1, 1), (1, 1, 1, 1)),
        (2, (2, 1, 1, 1), (1, 1, 1, 1)),
        (25, (25, 20, 20, 20), (20, 16, 16, 16)),
    ],
)
def test_a_fifth_is_kept_for_the_highest_and_of_the_rest_a_fifth_for_other_tenants(
    slots: int, of_all: tuple[int, ...], of_tenant: tuple[int, ...]
) -> None:
    """With one slot nothing can be kept; with two, one is."""
    assert open_to(slots) == (of_all, of_tenant)


@given(st.integers(1, 500), st.integers(1, 16))
def test_workers_that_want_all_take_all_between_them(whole: int, workers: int) -> None:
    """Nothing is left, nothing is taken twice, and no two parts differ by more than one; each has one, however few there are."""
    parts = [part_of(whole, [MUCH] * (workers - 1), before) for before in range(workers)]
    assert sum(parts) == max(whole, workers)
    assert max(parts) - min(parts) <= 1


@given(st.integers(1, 500), st.lists(st.integers(0, 100), min_size=1, max_size=16), st.data())
def test_who_wants_little_has_it_and_the_others_share_what_is_left(
    whole: int, demands: list[int], data: st.DataObject
) -> None:
    """Max-min fair: who gets less than it wants gets no less than anybody else, but for what cannot be divided."""
    parts = [
        min(demand, part_of(whole, demands[:place] + demands[place + 1 :], place))
        for place, demand in enumerate(demands)
    ]
    assert sum(parts) <= max(whole, len(demands))
    place = data.draw(st.integers(0, len(demands) - 1))
    if parts[place] < demands[place]:
        assert parts[place] >= max(parts) - 1
        assert sum(parts) >= whole - 1


def test_an_idle_worker_has_open_what_it_would_get_if_it_became_busy() -> None:
    """Its first calls need not wait for the next look at the others."""
    assert part_of(16, [MUCH, MUCH, MUCH], 0) == 4
    assert part_of(16, [0, 0, 0], 0) == 16
    assert part_of(16, [2, 30, 0], 1) == 7


def test_what_cannot_be_divided_goes_to_the_first_of_those_who_want_it() -> None:
    """Four idle workers stand before the three busy ones: of five slots two of the three have two."""
    wanted = [0, 0, 0, 0, 6, 6, 6]
    parts = [part_of(5, wanted[:place] + wanted[place + 1 :], place) for place in (4, 5, 6)]
    assert parts == [2, 2, 1]
