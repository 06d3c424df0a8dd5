"""What counts as falling, and what does not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stats.trend import FEWEST_DAYS, mann_kendall_z, trend

WEEK = [100, 104, 98, 101, 97, 8, 5]
counts = st.lists(st.integers(0, 10**9), min_size=FEWEST_DAYS, max_size=60)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([1000 - 60 * day for day in range(14)], "falling"),
        ([1000] * 11 + [0] * 3, "falling"),
        ([100 + 10 * day for day in range(14)], "rising"),
        ([0] * 7 + [50] * 7, "rising"),
        ([100] * 14, "steady"),
        ([0] * 14, "steady"),
        ([0] * 13 + [10_000], "steady"),
        ([100] * 6 + [90_000] + [100] * 7, "steady"),
        ([10_000 - day for day in range(14)], "steady"),
        ([7, 0, 0, 0, 0, 0, 0] * 2, "steady"),
        ([100] * 13, None),
        ([], None),
    ],
)
def test_the_direction_of_plain_series(days: list[int], expected: str | None) -> None:
    """A steady fall, a sudden stop, growth, bursts, small change, weekly jobs, too few days."""
    assert trend(days) == expected


@pytest.mark.parametrize("first", range(7))
@pytest.mark.parametrize("weeks", [2, 3, 4, 8])
def test_a_weekend_is_no_fall(first: int, weeks: int) -> None:
    """The same week again and again is steady, on whichever weekday the window ends."""
    days = (WEEK * (weeks + 1))[first : first + 7 * weeks]
    assert trend(days) == "steady"


def test_chance_alone_is_rarely_called_a_trend() -> None:
    """Of series without any trend at most one in twenty is called falling, and as many rising."""
    chance = random.Random(7)
    found = [trend([chance.randint(0, 200) for _ in range(14)]) for _ in range(1000)]
    assert found.count("falling") < 60
    assert found.count("rising") < 60


@given(counts)
def test_what_falls_forwards_rises_backwards(days: list[int]) -> None:
    """The statistic is that of the reversed series, the other way round."""
    assert mann_kendall_z(days) == pytest.approx(-mann_kendall_z(days[::-1]))


@given(counts, st.integers(2, 1000))
def test_the_size_of_a_caller_does_not_matter(days: list[int], factor: int) -> None:
    """Ten times the calls have the same trend."""
    assert trend([day * factor for day in days]) == trend(days)


def test_the_statistic_is_that_of_the_textbook() -> None:
    """Without ties S is 91 of 91 pairs, with a variance of 14 * 13 * 33 / 18."""
    assert mann_kendall_z(list(range(14))) == pytest.approx(90 / (14 * 13 * 33 / 18) ** 0.5)
