"""A counter that the quota store keeps, as one worker sees it: what it has leased, and what it knows of the rest."""

import math

from gateway.dataplane.quota.limits import Counter, Limit, Values
from gateway.dataplane.quota.refusals import Lack, lack_of

LEASE_S = 0.5
"""What was leased ahead of need and not used within this time is given back."""

_LEAST_LOOK_S = 0.05
"""Demand is not judged by less."""

_LARGEST_FOR_S = 5.0
"""So long the largest amount is kept in mind."""

_SMALL = 16
_PAUSE_S = 0.01
_HELD_PAUSE_S = 0.05
_MOST_PAUSE_S = 1.0


class LeasedCounter(Counter):
    """To the store this worker holds `held` (by requests that run) and `stock`; `used` it has not told the store yet.

    `stock` may be taken without asking until `until`; when fewer than `low` are left, more are fetched. At `known_at` the
    store had counted `known`, as this worker has heard. `outage` numbers the last one in which the worker counted for
    itself; then `level` is its own, and began at `_base`. `largest` is the most that one request needed of late: less than
    that is not leased ahead. Of a `small` limit, that few such requests fill, the store is told at once, since what it has
    not been told of does not drain.
    """

    __slots__ = (
        "_base",
        "_base_at",
        "_demand",
        "_fits_at",
        "_largest_at",
        "_looked_at",
        "_refused_amount",
        "_refused_until",
        "asked",
        "known",
        "known_at",
        "largest",
        "low",
        "outage",
        "small",
        "stock",
        "until",
        "used",
        "wanted",
    )

    def __init__(self, limit: Limit, values: Values, now: float) -> None:
        self.stock = self.low = self.used = self.asked = self.outage = self._refused_amount = 0
        self.until = self._refused_until = self._fits_at = self._demand = self.known = self._base = 0.0
        self.largest = 1
        self._looked_at = self._largest_at = self.known_at = self._base_at = now
        self.wanted = False
        super().__init__(limit, values, now)

    def follow(self, limit: Limit, now: float) -> None:
        """Count for `limit` from now on; what was refused may be asked for again."""
        super().follow(limit, now)
        self._refused_until = 0.0
        self._size()

    # --- what the store knows ---

    def left_at(self, now: float) -> float:
        """What this worker could still get, as far as it knows."""
        return self.limit.burst - self._known_now(now) + self.stock

    def heard(self, left: float, now: float) -> None:
        """The store has said how much is left."""
        self.known = self.limit.burst - left
        self.known_at = now

    def _known_now(self, now: float) -> float:
        return max(0.0, self.known - (now - self.known_at) * self.limit.rate)

    def refused(self, amount: int, after_s: float, drained_s: float, now: float) -> None:
        """The store has no room for so many units before `after_s`, as far as it knows. It is not asked for as many before
        there could be room at the earliest, in `drained_s`: what is held may be given back at any moment.

        A limit in demand is asked again a little later than it could be, so that there is something to lease: not later
        than a twentieth of what its burst takes to drain, in which nothing is lost.
        """
        limit = self.limit
        if limit.rate:
            later_s = _PAUSE_S if after_s == drained_s else _HELD_PAUSE_S
            pause_s = max(drained_s, min(later_s, limit.burst / limit.rate / 20))
            self._refused_amount = amount
            self._refused_until = now + min(pause_s, _MOST_PAUSE_S)
            self._fits_at = now + after_s

    def refuses(self, amount: int, now: float) -> bool:
        """Whether there is no need to ask the store for so many units now."""
        return amount > self.limit.burst or (amount >= self._refused_amount and now < self._refused_until)

    def lack(self, amount: int, now: float) -> Lack:
        """What is lacking for an amount that was refused, by the store or in its place."""
        after_s = max(0.0, self._fits_at - now) + (amount - self._refused_amount) * self.limit.unit_s
        return lack_of(self.limit, amount, self.left_at(now), after_s)

    # --- what is leased ---

    def supplied(self, units: int, until: float) -> None:
        """Units were leased ahead of need."""
        self.stock += units
        self.until = until
        self.low = (self.stock + 1) // 2 if units else 0

    def needed(self, amount: int, now: float) -> None:
        """A request needs so much at once."""
        if amount >= self.largest or now > self._largest_at + _LARGEST_FOR_S:
            self.largest = amount
            self._largest_at = now
            self._size()

    def surrender(self, amount: int, now: float) -> None:
        """The store is about to be asked for so much: what is in stock would only stand in its way, where it is less."""
        if self.stock < amount or self.until <= now:
            self.stock = self.low = 0

    def _size(self) -> None:
        self.small = self.limit.burst < max(_SMALL * self.largest, self.limit.rate)

    def wish(self, now: float) -> int:
        """How many units to lease ahead: what is admitted during one lease at the pace of late, less the stock."""
        pace = self.asked / max(now - self._looked_at, _LEAST_LOOK_S)
        self._demand = (self._demand + pace) / 2
        self.asked = 0
        self._looked_at = now
        return max(0, min(math.ceil(self._demand * LEASE_S), self.limit.burst) - self.stock)

    # --- while the store is away ---

    def count_here(self, outage: int, workers: int, now: float) -> None:
        """Count in this worker, one of so many, from its part of what the store is known to have counted."""
        self.outage = outage
        self.share(workers)
        if self.limit.rate:
            self.level = max(0.0, self._known_now(now) / workers - self.held)
        self._base = self.level
        self.at = self._base_at = now

    def remembered(self, now: float) -> float:
        """What a store that has forgotten had counted at least, over all workers, as far as this one knows."""
        return self._known_now(now) if self.limit.rate else 0.0

    def owed(self, outage: int, now: float) -> float:
        """What the store is to count once it is back: what was counted here meanwhile."""
        if self.outage != outage or not self.limit.rate:
            return 0.0
        return self.level_at(self.rate, now) - max(0.0, self._base - (now - self._base_at) * self.rate)

    def store_is_back(self, owed: float, now: float) -> None:
        """Nothing is counted here any more; the store is going to count what is `owed`."""
        self.known = min(self.limit.burst, self._known_now(now) + owed)
        self.known_at = now
        self._refused_until = 0.0
        self.level = 0.0

    def as_good_as_new(self, now: float) -> bool:
        """Whether nothing would be lost with it."""
        unused = not (self.held or self.stock or self.used or self.wanted)
        return unused and self.level_at(self.rate, now) == 0.0 and self._known_now(now) == 0.0
