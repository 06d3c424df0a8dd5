"""Counting inside one worker: all limits of a request are checked and taken in one step, with nothing awaited between."""

from collections.abc import Sequence
from math import ceil

from gateway.dataplane.quota.limits import Counter
from gateway.dataplane.quota.refusals import Lack, lack_of


def take(counters: Sequence[Counter], amounts: Sequence[int], now: float) -> tuple[int, ...] | None:
    """Take from all counters and say where they stand (`limit_field`), or take from none: None.

    `Bucket`'s arithmetic, written out: this is the request path.
    """
    standing: tuple[int, ...] = ()
    for counter, amount in zip(counters, amounts):  # noqa: B905 - equally long, and checking costs
        rate = counter.rate
        level = counter.level - (now - counter.at) * rate
        if level < 0.0:  # noqa: PLR1730 - a call costs more than the rest of the line
            level = 0.0
        burst = counter.burst
        left = burst - level - counter.held - amount
        if left < 0.0:
            if level > 0.0 or not counter.fits_alone(amount):
                _take_back(counters, amounts, counter)
                return None
            burst, left = amount, 0.0
        counter.at = now
        counter.tally.taken += 1
        if counter.holds:
            counter.level = level
            counter.held += amount
        else:
            counter.level = level + amount
        if rate:
            standing += (int(left), ceil((burst - left) * counter.unit_s))
        else:
            standing += (int(left),)
    return standing


def _take_back(counters: Sequence[Counter], amounts: Sequence[int], refusing: Counter) -> None:
    """Undo what was taken, in this very moment, of the counters before the one that refused."""
    for counter, amount in zip(counters, amounts, strict=True):
        if counter is refusing:
            return
        counter.tally.taken -= 1
        if counter.holds:
            counter.held -= amount
        else:
            counter.level -= amount


def lacks(counters: Sequence[Counter], amounts: Sequence[int], now: float) -> list[Lack]:
    """The counters that have no room for their amounts, and when they will: what is held counts as used for that."""
    found = []
    for counter, amount in zip(counters, amounts, strict=True):
        taken = counter.level_at(counter.rate, now) + counter.held
        left = counter.burst - taken
        if amount > left and (taken > 0.0 or not counter.fits_alone(amount)):
            # More than the share fits once all has drained.
            lacking = taken if amount > counter.burst else amount - left
            found.append(lack_of(counter.limit, amount, left, lacking * counter.unit_s))
    return found
