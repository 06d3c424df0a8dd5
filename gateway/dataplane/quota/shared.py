"""Quotas of a worker that shares them with others: through the store, and while that is away by its own share."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import cast

from gateway.dataplane.call import Call
from gateway.dataplane.quota.amounts import amounts_of, bound_amounts
from gateway.dataplane.quota.bind import Bound
from gateway.dataplane.quota.fields import limit_field
from gateway.dataplane.quota.leased import LeasedCounter
from gateway.dataplane.quota.leases import Leases, standing
from gateway.dataplane.quota.limits import Counter, Limit, Values
from gateway.dataplane.quota.quotas import Quotas
from gateway.dataplane.quota.refusals import Lack, count_refusals, not_counted, over_quota
from gateway.dataplane.quota.taken import Taken
from gateway.snapshot.compile import Snapshot
from gateway.types import Permit, Target

_SLOT_AGAIN_S = 0.01
"""A caller whose request has just ended may be back before the slot is: a request for a slot asks twice."""


class SharedQuotas(Quotas):
    """Counts with the store as long as `leases` are connected.

    `prefix` begins all keys of the installation that is served; its braces have them in one slot of a cluster, as a
    script wants it. Requests that come before the `first_try` to reach the store is over wait for it.
    """

    def __init__(self, leases: Leases) -> None:
        super().__init__()
        self.prefix = ""
        self.first_try: Callable[[], Awaitable[None]] | None = None
        self._leases = leases

    def activate(self, snapshot: Snapshot, now: float) -> None:
        """As `Quotas.activate`."""
        super().activate(snapshot, now)
        self.prefix = f"maas:{{{snapshot.installation}}}:quota:"
        self._leases.wake()

    def take(self, permit: Permit, target: Target, call: Call, now: float) -> Taken | Awaitable[Taken] | None:
        """As `Quotas.take`: from stock, else by asking the store."""
        bound = self._bounds.get((permit.principal.id, permit.alias.name, target.model))
        if bound is None:
            bound = self._bind(permit, target, now)
        if not bound.anything:
            return None
        leases = self._leases
        if not leases.connected:
            if self.first_try is not None:
                return self._take_after(self.first_try, bound, call)
            return self._take_here(bound, call, now)
        counters = bound.enforced
        amounts = bound_amounts(bound, call)
        stands = leases.take(_leased(counters), amounts, now)
        if stands is None:
            return self._ask(bound, amounts, call)
        taken = self._taken(bound, amounts, stands, call, now)
        return self._with_shadows(bound, taken, call) if bound.shadows else taken

    @property
    def shared_among(self) -> int | None:
        """They count together, but for the time in which the store is away."""
        return None

    def settle(self, counter: Counter, held: int, used: int, now: float) -> None:
        """Of what was held so many units were used."""
        if self._leases.connected:
            self._leases.settle(cast(LeasedCounter, counter), held, used, now)
        else:
            super().settle(counter, held, used, now)

    def hold(self, counter: Counter, units: int, counted_at: float, now: float) -> None:
        """Hold what was counted a moment ago."""
        if self._leases.connected:
            self._leases.hold(cast(LeasedCounter, counter), units)
        else:
            super().hold(counter, units, counted_at, now)

    def leased(self) -> Iterator[LeasedCounter]:
        """All counters."""
        return iter(_leased(list(self._counters)))

    def _make(self, limit: Limit, values: Values, now: float) -> Counter:
        return LeasedCounter(limit, values, now)

    def _taken(
        self, bound: Bound, amounts: Sequence[int], stands: tuple[int, ...], call: Call, now: float
    ) -> Taken:
        if bound.enforced:
            call.trail.fields += (bound.policy_field, limit_field(bound.standing_format, stands))
        return Taken(
            bound.lasting,
            bound.enforced,
            amounts,
            now,
            self,
            unmeasured=bound.measured and bound.unmeasured(call),
        )

    def _take_here(self, bound: Bound, call: Call, now: float) -> Taken:
        """By this worker's share, which begins with what the store is known to have counted."""
        if bound.hard:
            raise not_counted(bound.hard)
        leases = self._leases
        for counters in (bound.enforced, *bound.shadows):
            for counter in _leased(counters):
                if counter.outage != leases.outage:
                    counter.count_here(leases.outage, leases.workers, now)
        taken = super()._take_here(bound, call, now)
        for enforced in bound.enforced:
            enforced.tally.local += 1
        return taken

    async def _take_after(self, first_try: Callable[[], Awaitable[None]], bound: Bound, call: Call) -> Taken:
        await first_try()
        self.first_try = None
        amounts = bound_amounts(bound, call)
        return await self._ask(bound, amounts, call)

    async def _ask(self, bound: Bound, amounts: Sequence[int], call: Call) -> Taken:
        lacks = await self._lacks(bound.enforced, amounts)
        now = self._leases.clock()
        if lacks is None:
            return self._take_here(bound, call, now)
        if lacks:
            raise over_quota(bound.policy_field, lacks)
        taken = self._taken(bound, amounts, standing(_leased(bound.enforced), now), call, now)
        return await self._with_shadows(bound, taken, call) if bound.shadows else taken

    async def _with_shadows(self, bound: Bound, taken: Taken, call: Call) -> Taken:
        try:
            for policy in bound.shadows:
                amounts = amounts_of(policy, call)
                lacks = await self._lacks(policy, amounts)
                if lacks:
                    count_refusals(lacks)
                elif lacks is not None:
                    taken.also(policy, amounts)
        except asyncio.CancelledError:
            taken.give_back(self._leases.clock())
            raise
        return taken

    async def _lacks(self, counters: Sequence[Counter], amounts: Sequence[int]) -> list[Lack] | None:
        """Take from stock or from the store: what is lacking, nothing when all was taken. None: the store is away."""
        leases, leased = self._leases, _leased(counters)
        lacks: list[Lack] | None = None
        for pause_s in (_SLOT_AGAIN_S, 0.0):
            now = leases.clock()
            if leases.take(leased, amounts, now) is not None:
                return []
            if not leases.connected:
                return None
            ask = leases.ask(leased, amounts, now)
            try:
                lacks = await ask.verdict
            except asyncio.CancelledError:
                leases.give_up(ask, leases.clock())
                raise
            if lacks == []:
                leases.granted(ask)
            if not lacks or any(lack.limit.rate for lack in lacks) or not pause_s:
                return lacks
            await asyncio.sleep(pause_s)
        return lacks


def _leased(counters: Sequence[Counter]) -> Sequence[LeasedCounter]:
    """`_make` makes no others."""
    return cast(Sequence[LeasedCounter], counters)
