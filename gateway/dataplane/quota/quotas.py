"""One worker's quotas: what binds a request, and whether it may still have it."""

from collections.abc import Awaitable

from gateway.dataplane.call import Call
from gateway.dataplane.quota import local
from gateway.dataplane.quota.amounts import amounts_of, bound_amounts
from gateway.dataplane.quota.bind import Binder, Bound
from gateway.dataplane.quota.counters import Counters
from gateway.dataplane.quota.fields import limit_field
from gateway.dataplane.quota.limits import Counter, Limit, Values, limits_of
from gateway.dataplane.quota.refusals import count_refusals, not_counted, over_quota
from gateway.dataplane.quota.taken import Taken
from gateway.observe import metrics
from gateway.snapshot.compile import Snapshot
from gateway.snapshot.document import QuotaEntry
from gateway.types import Permit, Target

_MOST_BOUND = 100_000


class Quotas:
    """Counts inside this worker, which is one of `workers`. Alone, it counts exactly; else it has its share of each limit.

    Times are monotonic seconds.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._limits: dict[QuotaEntry, tuple[Limit, ...]] = {}
        self._binder = Binder(())
        self._counters = Counters(self._make)
        self._bounds: dict[tuple[str, str, str], Bound] = {}

    def activate(self, snapshot: Snapshot, now: float) -> None:
        """Bind requests by this snapshot's policies from now on. The counter of a limit that is still there stays."""
        known = self._limits
        self._limits = {policy: known.get(policy) or limits_of(policy) for policy in snapshot.quotas}
        self._binder = Binder(self._limits.items())
        limits = [limit for found in self._limits.values() for limit in found]
        self._counters.follow(limits, now)
        metrics.QUOTAS.keep(limit.tally for limit in limits)
        self._forget_bounds()

    def take(
        self, permit: Permit, target: Target, call: Call, now: float
    ) -> "Taken | Awaitable[Taken] | None":
        """Take from every limit that binds the call, or from none; None where none binds it.

        What is to be awaited has to ask others first. Raises QUOTA_EXCEEDED; UNAVAILABLE where a hard limit cannot be
        counted.
        """
        bound = self._bounds.get((permit.principal.id, permit.alias.name, target.model))
        if bound is None:
            bound = self._bind(permit, target, now)
        if not bound.anything:
            return None
        if bound.hard and self._workers > 1:
            raise not_counted(bound.hard)
        return self._take_here(bound, call, now)

    @property
    def shared_among(self) -> int | None:
        """Among how many workers this one shares each limit out; None where they count together."""
        return self._workers

    def settle(self, counter: Counter, held: int, used: int, now: float) -> None:
        """Of what was held so many units were used."""
        counter.held -= held
        if used:
            counter.count(used, counter.rate, now)

    def hold(self, counter: Counter, units: int, counted_at: float, now: float) -> None:
        """Hold what was counted a moment ago."""
        counter.uncount(units, counted_at, counter.rate, now)
        counter.held += units

    @property
    def counters(self) -> int:
        """How many counters there are."""
        return len(self._counters)

    def _make(self, limit: Limit, values: Values, now: float) -> Counter:
        return Counter(limit, values, now, self._workers)

    def _take_here(self, bound: Bound, call: Call, now: float) -> Taken:
        counters = bound.enforced
        amounts = bound_amounts(bound, call)
        if counters:
            standing = local.take(counters, amounts, now)
            if standing is None:
                raise over_quota(bound.policy_field, local.lacks(counters, amounts, now))
            call.trail.fields += (bound.policy_field, limit_field(bound.standing_format, standing))
        taken = Taken(
            bound.lasting, counters, amounts, now, self, unmeasured=bound.measured and bound.unmeasured(call)
        )
        for policy in bound.shadows:
            amounts = amounts_of(policy, call)
            if local.take(policy, amounts, now) is not None:
                taken.also(policy, amounts)
            else:
                count_refusals(local.lacks(policy, amounts, now))
        return taken

    def _bind(self, permit: Permit, target: Target, now: float) -> Bound:
        if len(self._bounds) >= _MOST_BOUND:
            self._forget_bounds()
        bound = self._binder.bind(
            permit, target, lambda limit, values: self._counters.get(limit, values, now)
        )
        self._bounds[permit.principal.id, permit.alias.name, target.model] = bound
        return bound

    def _forget_bounds(self) -> None:
        self._bounds.clear()
        self._counters.turn()
