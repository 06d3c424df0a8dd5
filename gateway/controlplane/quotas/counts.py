"""Which counts the limits of a changed policy go on with."""

from collections.abc import Sequence

from gateway.controlplane.quotas.schemas import LimitIn
from gateway.snapshot.document import LimitEntry


def with_counts(
    limits: Sequence[LimitIn], standing: Sequence[LimitEntry], now_ms: int
) -> tuple[LimitEntry, ...]:
    """The limits as they are to be. One that stands already goes on counting: under its name, or where that is gone in the
    order of their windows, whatever name and window have become of it. What is left over begins at `now_ms`, in milliseconds of
    Unix time; so does a limit of another unit, since the counts would mean something else.
    """
    by_name = {(each.name, each.unit): each for each in standing}
    named = {each.name for each in limits if (each.name, each.unit) in by_name}
    free = sorted((each for each in standing if each.name not in named), key=lambda each: each.window_s)
    goes_on: dict[str, LimitEntry] = {}
    for limit in sorted(limits, key=lambda each: each.window_s):
        found = by_name.get((limit.name, limit.unit)) or next(
            (each for each in free if each.unit == limit.unit), None
        )
        if found is not None:
            goes_on[limit.name] = found
            if found in free:
                free.remove(found)
    return tuple(_entry(each, goes_on.get(each.name), now_ms) for each in limits)


def _entry(limit: LimitIn, before: LimitEntry | None, now_ms: int) -> LimitEntry:
    counts_as = "" if before is None else before.counts_as or before.name
    return LimitEntry(
        limit.name,
        limit.unit,
        limit.quota,
        limit.window_s,
        limit.burst,
        limit.estimate,
        now_ms if before is None else before.began,
        "" if counts_as == limit.name else counts_as,
    )
