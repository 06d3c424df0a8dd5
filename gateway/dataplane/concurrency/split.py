"""How a limit is split: by level and tenant within a gate, and among the gates that share it. Pure arithmetic."""

from collections.abc import Sequence

from gateway.dataplane.concurrency.queues import LEVELS

_FIFTH = 5

Open = tuple[tuple[int, ...], tuple[int, ...]]
"""By level, how many slots may be taken altogether, and how many of them by one tenant."""


def open_to(slots: int) -> Open:
    """Of so many slots a fifth is kept for critical-plus, and of what is open to a level a fifth for other tenants than the
    one that asks.
    """
    most = slots - _fifth(slots)
    of_all = (slots, *(most for _ in LEVELS[1:]))
    return of_all, tuple(most - _fifth(most) for most in of_all)


def part_of(whole: int, demands: Sequence[int], before: int) -> int:
    """How much of `whole` is open to a gate beside others that want `demands`, max-min fair: as much as it would get if it
    wanted all. The first `before` of the others come before it where something cannot be divided. At least 1.
    """
    left, sharing, ahead = whole, len(demands) + 1, before
    for demand, index in sorted((demand, index) for index, demand in enumerate(demands)):
        if demand * sharing > left:
            break
        left -= demand
        sharing -= 1
        ahead -= index < before
    return max(1, left // sharing + (ahead < left % sharing))


def _fifth(slots: int) -> int:
    return max(1, slots // _FIFTH) if slots > 1 else 0
