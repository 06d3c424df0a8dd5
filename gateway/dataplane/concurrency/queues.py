"""Short queues, one a tenant and level, and whose turn it is. Pure: no clock, no event loop.

A free slot goes to the highest level that waits, and there to the tenant with the fewest calls in flight; among
equals to the one that was not served for longest. So slots, not requests, are shared max-min fairly (Bertsekas and
Gallager, "Data Networks", section 6.5.2): a tenant with long calls gets no more of the server than one with short ones.
"""

from collections import deque
from typing import Generic, TypeVar

from gateway.dataplane.concurrency.criticality import NAMES

Ticket = TypeVar("Ticket")

LEVELS = range(len(NAMES))


class Tenant:
    """What one tenant has in flight and waiting at one gate; `turn` is the number of the last slot that it waited for."""

    __slots__ = ("in_flight", "turn", "waiting")

    def __init__(self) -> None:
        self.in_flight = 0
        self.waiting = 0
        self.turn = 0


class Waiter(Generic[Ticket]):
    """One call that waits, and the ticket to wake it by."""

    __slots__ = ("level", "tenant", "ticket")

    def __init__(self, tenant: Tenant, level: int, ticket: Ticket) -> None:
        self.tenant = tenant
        self.level = level
        self.ticket = ticket


class FairQueues(Generic[Ticket]):
    """The calls that wait at one gate: at most `each` of a tenant, at most `all_` together."""

    __slots__ = ("_all", "_each", "_levels", "_turn", "waiting")

    def __init__(self, each: int, all_: int) -> None:
        self._each = each
        self._all = all_
        self._levels: tuple[dict[Tenant, deque[Waiter[Ticket]]], ...] = tuple({} for _ in LEVELS)
        self._turn = 0
        self.waiting = 0

    def join(self, waiter: Waiter[Ticket]) -> Waiter[Ticket] | None:
        """Queue a call. Whoever must go for it: another one, or the call itself, which is then not queued; None: nobody."""
        shed = None
        if waiter.tenant.waiting >= self._each:
            shed = self._lowest_of(waiter.tenant)
            if shed.level <= waiter.level:
                return waiter
        elif self.waiting >= self._all:
            shed = self._least_entitled(waiter)
            if shed is None:
                return waiter
        if shed is not None:
            self.leave(shed)
        self._levels[waiter.level].setdefault(waiter.tenant, deque()).append(waiter)
        waiter.tenant.waiting += 1
        self.waiting += 1
        return shed

    def leave(self, waiter: Waiter[Ticket]) -> bool:
        """Take a call out that waits no more; False when it was not here."""
        queue = self._levels[waiter.level].get(waiter.tenant)
        if queue is None or waiter not in queue:
            return False
        queue.remove(waiter)
        self._gone(waiter, queue)
        return True

    def next(
        self, in_flight: int, most: tuple[int, ...], most_of_tenant: tuple[int, ...]
    ) -> Waiter[Ticket] | None:
        """Take out the call whose turn it is, if there is one that may go: by level, with less than `most` in flight
        altogether and `most_of_tenant` of its tenant.
        """
        for level in LEVELS:
            queues = self._levels[level]
            if not queues or in_flight >= most[level]:
                continue
            tenant = min(queues, key=_entitled)
            if tenant.in_flight < most_of_tenant[level]:
                self._turn += 1
                tenant.turn = self._turn
                queue = queues[tenant]
                waiter = queue.popleft()
                self._gone(waiter, queue)
                return waiter
        return None

    def _gone(self, waiter: Waiter[Ticket], queue: deque[Waiter[Ticket]]) -> None:
        if not queue:
            del self._levels[waiter.level][waiter.tenant]
        waiter.tenant.waiting -= 1
        self.waiting -= 1

    def _lowest_of(self, tenant: Tenant) -> Waiter[Ticket]:
        """The last call of the lowest level that the tenant has waiting."""
        return next(
            self._levels[level][tenant][-1] for level in reversed(LEVELS) if tenant in self._levels[level]
        )

    def _least_entitled(self, waiter: Waiter[Ticket]) -> Waiter[Ticket] | None:
        """The last call of the longest queue in the lowest level, if that is lower than `waiter`'s, or longer than its own."""
        for level in reversed(LEVELS):
            queues = self._levels[level]
            if level < waiter.level:
                return None
            if queues:
                longest = max(queues.values(), key=len)
                if level > waiter.level or len(longest) > len(queues.get(waiter.tenant, ())) + 1:
                    return longest[-1]
        return None


def _entitled(tenant: Tenant) -> tuple[int, int]:
    return tenant.in_flight, tenant.turn
