"""Which counts the limits of a changed policy go on with."""

import pytest

from gateway.controlplane.quotas.counts import with_counts
from gateway.controlplane.quotas.schemas import LimitIn
from gateway.snapshot.document import LimitEntry, Unit

_WINDOWS = {"minute": 60, "60s": 60, "hour": 3600, "x": 3600, "day": 86_400}


def _limits(*names: str, unit: Unit = "requests") -> list[LimitIn]:
    return [LimitIn(name, 10, unit, _WINDOWS[name]) for name in names]


def _counts(entries: tuple[LimitEntry, ...]) -> dict[str, tuple[str, int]]:
    return {each.name: (each.counts_as or each.name, each.began) for each in entries}


@pytest.mark.parametrize(
    ("before", "after", "counts"),
    [
        (("hour",), ("hour",), {"hour": ("hour", 1)}),
        (("hour",), ("day",), {"day": ("hour", 1)}),
        (("minute",), ("60s",), {"60s": ("minute", 1)}),
        (("hour",), ("x",), {"x": ("hour", 1)}),
        (("hour",), ("hour", "day"), {"hour": ("hour", 1), "day": ("day", 2)}),
        (("hour", "day"), ("day", "minute"), {"day": ("day", 1), "minute": ("hour", 1)}),
        (("minute", "day"), ("hour",), {"hour": ("minute", 1)}),
        ((), ("hour",), {"hour": ("hour", 2)}),
    ],
)
def test_what_was_used_stays_used(
    before: tuple[str, ...], after: tuple[str, ...], counts: dict[str, tuple[str, int]]
) -> None:
    """Under the same name; else the shortest window that is left goes on with the shortest that there was."""
    standing = with_counts(_limits(*before), (), 1)
    assert _counts(with_counts(_limits(*after), standing, 2)) == counts


def test_there_and_back() -> None:
    """The same limit again is the same entry, so nothing has changed."""
    first = with_counts(_limits("hour"), (), 1)
    day = with_counts(_limits("day"), first, 2)
    assert with_counts(_limits("day"), day, 3) == day
    assert with_counts(_limits("hour"), day, 3) == first


def test_another_unit_begins_anew() -> None:
    """Its counts would mean something else; and no two limits ever count as one."""
    standing = with_counts(_limits("hour"), (), 1)
    assert _counts(with_counts(_limits("hour", unit="inferences"), standing, 2)) == {"hour": ("hour", 2)}
    renamed = with_counts(_limits("day"), standing, 2)
    assert _counts(with_counts(_limits("day", "hour"), renamed, 3)) == {
        "day": ("hour", 1),
        "hour": ("hour", 3),
    }
