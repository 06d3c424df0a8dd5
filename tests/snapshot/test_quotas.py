"""Quota policies that no snapshot may carry."""

import pytest

from gateway.snapshot.document import LimitEntry, QuotaEntry
from gateway.snapshot.quotas import MOST_QUOTA, quota_problems

BURST = LimitEntry("burst", "requests", 100, 60)
DAILY = LimitEntry("daily", "requests", 1000, 86_400)


def policy(*limits: LimitEntry, **fields: str) -> QuotaEntry:
    """A policy with these limits."""
    return QuotaEntry("q", limits, **fields)  # type: ignore[arg-type]


def test_sound_policies_are_taken() -> None:
    """Several windows, several units, every selector in each of its forms."""
    at_a_time = LimitEntry("parallel", "concurrent-requests", 4)
    tokens = LimitEntry("tokens", "tokens", 10_000, 60, estimate=500)
    for fields in (
        {},
        {"application": "app:storefront"},
        {"application": "*", "alias": "digits"},
        {"team": "*"},
    ):
        assert quota_problems(policy(BURST, DAILY, at_a_time, tokens, **fields)) == []


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ((), "has no limit"),
        ((LimitEntry("a", "requests", 0, 60),), "is not between 1"),
        ((LimitEntry("a", "requests", -5, 60),), "is not between 1"),
        ((LimitEntry("a", "requests", MOST_QUOTA + 1, 60),), "is not between 1"),
        ((LimitEntry("a", "requests", 5, 0),), "window of 0 s"),
        ((LimitEntry("a", "requests", 5, -60),), "window of -60 s"),
        ((LimitEntry("a", "requests", 5, 10**9),), "window of 1000000000 s"),
        ((LimitEntry("a", "content-bytes", MOST_QUOTA, 1),), "more than can be meant"),
        ((LimitEntry("a", "requests", 5, 60, burst=6),), "burst 6"),
        ((LimitEntry("a", "requests", 5, 60, burst=-1),), "burst -1"),
        ((LimitEntry("a", "tokens", 5, 60, estimate=6),), "estimate 6"),
        ((LimitEntry("a", "concurrent-requests", 5, 60),), "neither window nor burst"),
        ((LimitEntry("a b", "requests", 5, 60),), "is not a name"),
        ((BURST, BURST), "stands there 2 times"),
        ((BURST, LimitEntry("daily", "requests", 50, 86_400)), "contradict"),
        ((BURST, LimitEntry("other", "requests", 90, 60)), "contradict"),
        ((DAILY, LimitEntry("later", "requests", 1000, 60)), "contradict"),
    ],
)
def test_what_cannot_be_meant_is_refused(limits: tuple[LimitEntry, ...], says: str) -> None:
    """Nothing, less than nothing, more than can be told, and limits that contradict one another."""
    problems = quota_problems(policy(*limits))
    assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize(
    "fields",
    [{"team": "a b"}, {"alias": "%2e"}, {"model": ""}, {"application": "storefront"}, {"application": ""}],
)
def test_selectors_are_names_or_a_star(fields: dict[str, str]) -> None:
    """An application is a principal; a pattern is not understood."""
    assert any("is neither" in problem for problem in quota_problems(policy(BURST, **fields)))
