"""Limits and their counters, as requests meet them."""

import msgspec

from gateway.dataplane.quota.gcra import Bucket
from gateway.observe import metrics
from gateway.observe.quotas import QuotaTally
from gateway.snapshot.document import LimitEntry, QuotaEntry, Unit

LimitKey = tuple[str, str, Unit, int]
"""Policy, the limit's first name, unit, and since when there is such a one: counts of another unit, or of another policy that
once had the name, mean something else.
"""

Values = tuple[str | None, str | None, str | None, str | None]
"""Team, application, alias and model, where the policy tells them apart; None where it does not."""

_HELD = frozenset({"concurrent-requests", "tokens"})
"""Units that are known, or given back, when a request ends: they are held until then. Bytes are, where no length is told."""


class Limit(msgspec.Struct, frozen=True, eq=False):
    """One limit of one policy: `burst` units at once, `rate` units a second (0: at a time), one in `unit_s`.

    `name` is what callers and operators see of it. Where it `holds`, units are counted only when a request ends.
    """

    key: LimitKey
    name: str
    unit: Unit
    quota: int
    window_s: int
    burst: int
    rate: float
    unit_s: float
    estimate: int
    holds: bool
    shadow: bool
    hard: bool
    tally: QuotaTally


def limits_of(policy: QuotaEntry) -> tuple[Limit, ...]:
    """The limits of a policy."""
    return tuple(_limit(policy, entry) for entry in policy.limits)


def _limit(policy: QuotaEntry, entry: LimitEntry) -> Limit:
    burst = entry.burst or entry.quota
    rate = entry.quota / entry.window_s if entry.window_s else 0.0
    # A name has no slash, so no two limits share theirs.
    name = f"{policy.name}/{entry.name}"
    return Limit(
        (policy.name, entry.counts_as or entry.name, entry.unit, entry.began),
        name,
        entry.unit,
        entry.quota,
        entry.window_s,
        burst,
        rate,
        1.0 / rate if rate else 0.0,
        entry.estimate,
        entry.unit in _HELD,
        policy.shadow,
        policy.hard,
        metrics.QUOTAS.of((policy.name, entry.name, "shadow" if policy.shadow else "enforce")),
    )


class Counter(Bucket):
    """What one worker took of one limit under one set of values. A unit drains in `unit_s` seconds.

    Where nobody counts for all of the `workers`, it takes its share: `burst` at once, `rate` units a second; or one request
    that is larger than that share and not than the limit allows, when nothing else is left to drain. `turn` is when
    somebody last asked for it.
    """

    __slots__ = ("burst", "holds", "limit", "rate", "tally", "turn", "unit_s", "values", "workers")

    def __init__(self, limit: Limit, values: Values, now: float, workers: int = 1) -> None:
        super().__init__(now)
        self.values = values
        self.workers = workers
        self.turn = 0
        self.rate = 0.0
        self.follow(limit, now)

    def follow(self, limit: Limit, now: float) -> None:
        """Count for `limit` from now on. What was used stays used, and drains at the new rate."""
        self.level = self.level_at(self.rate, now)
        self.at = now
        self.limit = limit
        self.holds = limit.holds
        self.tally = limit.tally
        self.share(self.workers)

    def share(self, workers: int) -> None:
        """Be one of so many workers."""
        limit = self.limit
        self.workers = workers
        self.rate = limit.rate / workers
        self.unit_s = 1.0 / self.rate if self.rate else 0.0
        # At least one: a limit that is smaller than the number of workers would otherwise be closed.
        self.burst = max(1, limit.burst // workers)

    def fits_alone(self, amount: int) -> bool:
        """Whether a request of so much is let in once nothing is left to drain: it then drains at the share's rate."""
        return not self.held and amount <= self.limit.burst

    def as_good_as_new(self, now: float) -> bool:
        """Whether nothing would be lost with it."""
        return not self.held and self.level_at(self.rate, now) == 0.0
