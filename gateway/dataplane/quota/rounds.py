"""A round of one worker with the store: what it tells and asks in one call, and what it makes of the reply."""

from collections.abc import Iterable

from gateway.dataplane.quota.batch import Answer, Batch, BatchReply
from gateway.dataplane.quota.leased import LEASE_S, LeasedCounter
from gateway.dataplane.quota.leases import Ask, Leases
from gateway.dataplane.quota.refusals import Lack

_MOST_ASKS = 256
"""In one call: the store answers nobody else meanwhile."""

_MOST_CHARGES = 2_000
_TELL_ALL_S = 0.25
"""So often the store is told of all that was used."""

_FEWER_WORKERS_S = 10.0
"""So long fewer workers are heard of before that is believed: after a restart of the store they come back one by one."""


class Rounds:
    """Makes the rounds, one at a time: `begin`, then `arrived` or `lost`. At least `least_workers` share the limits.

    A store that is there, perhaps again, is greeted first: `greet`, then `found`, until that connects. `since` is what
    tells it from one that may have forgotten; empty before the first. Such a store grants nothing for a while, in which
    workers go on counting for themselves and all who knew something tell it (`_floors`). What each of them counted for
    itself is added after that.
    """

    def __init__(self, leases: Leases, least_workers: int) -> None:
        self._leases = leases
        self._least_workers = least_workers
        self._more_workers_at = 0.0
        self.since = ""
        self._told_all_at = 0.0
        self._holding: set[LeasedCounter] = set()
        self._floors: list[tuple[LeasedCounter, float]] = []
        self._charges: list[tuple[LeasedCounter, float]] = []
        self._greeted = 0
        # Of the round under way.
        self._began_at = 0.0
        self._asks: list[Ask] = []
        self._wants: list[LeasedCounter] = []
        self._charged: list[tuple[LeasedCounter, float]] = []
        self._reported: list[tuple[LeasedCounter, int]] = []

    @property
    def connected(self) -> bool:
        """Whether the last round was answered."""
        return self._leases.connected

    @property
    def pending(self) -> bool:
        """Whether something waits for a round."""
        leases = self._leases
        return bool(leases.asks or leases.wants or leases.urgent or self._charges)

    def begin(self, prefix: str, now: float, *, everything: bool = False) -> Batch:
        """What this round says. `everything`: also what has not changed, so that it does not lapse."""
        leases = self._leases
        batch = Batch(prefix)
        self._began_at = now
        self._charged, self._charges = self._charges[:_MOST_CHARGES], self._charges[_MOST_CHARGES:]
        for counter, units in self._charged:
            batch.charge(counter, units)
        self._asks = [leases.asks.popleft() for _ in range(min(_MOST_ASKS, len(leases.asks)))]
        self._wants, leases.wants = leases.wants, []
        for ask in self._asks:
            for counter, amount in ask.wanted:
                counter.surrender(amount, now)
        self._report(batch, now, everything)
        for ask in self._asks:
            batch.ask(ask.wanted)
        for counter in self._wants:
            counter.wanted = False
            batch.want(counter, counter.wish(now), max(1, counter.largest - counter.stock))
        return batch

    def arrived(self, reply: BatchReply, now: float) -> None:
        """The reply to this round. Raises `ValueError` for one that is no answer to it, and for a store to greet again."""
        if reply.since != self.since or reply.settles_s > 0.0:
            raise ValueError("the store has forgotten what it had counted")
        asks, wants = self._asks, self._wants
        sizes = [len(answer.rows) for answer in reply.answers]
        if sizes != [len(ask.wanted) for ask in asks] or len(reply.leased) != len(wants):
            raise ValueError("the store answered something else than it was asked")
        self._asks, self._wants, self._charged, self._reported = [], [], [], []
        self._heard_workers(reply.workers, now)
        for ask, answer in zip(asks, reply.answers, strict=True):
            self._leases.decide(ask, self._lacks(ask, answer, now), now)
        for counter, (units, left) in zip(wants, reply.leased, strict=True):
            counter.heard(left, now)
            counter.supplied(units, self._began_at + LEASE_S)
            if units:
                self._leases.stocked.add(counter)

    def lost(self, now: float) -> None:
        """The store is away: nothing more is asked of it, and each worker counts for itself."""
        leases = self._leases
        if leases.connected:
            leases.connected = False
            leases.outage += 1
        waiting = [*self._asks, *leases.asks]
        self._asks = []
        leases.asks.clear()
        for ask in waiting:
            leases.decide(ask, None, now)
        for counter in leases.wants:
            counter.wanted = False
        leases.wants.clear()
        self._wants = []
        # If the store has counted these after all, they count twice: nobody gets more for it.
        self._charges += self._charged
        for counter, used in self._reported:
            counter.used += used
            leases.changed.add(counter)
        self._charged, self._reported = [], []

    def greet(self, prefix: str) -> Batch:
        """The first that a store is told, and what is told to one that has forgotten."""
        batch = Batch(prefix)
        told = self._floors[:_MOST_CHARGES]
        self._greeted = len(told)
        for counter, level in told:
            batch.floor(counter, level)
        return batch

    def found(self, reply: BatchReply, counters: Iterable[LeasedCounter], now: float) -> bool:
        """The reply to a greeting: whether the store is now in use. It is to count what was counted here meanwhile.

        If not, it is to be greeted again: at once where it has not been told all, else when it has settled.
        """
        leases = self._leases
        self._heard_workers(reply.workers, now)
        if self.since and reply.since != self.since:
            known = [(counter, counter.remembered(now)) for counter in counters]
            self._floors = [(counter, level) for counter, level in known if level > 0.0]
        else:
            self._floors = self._floors[self._greeted :]
        self.since = reply.since
        if self._floors or reply.settles_s > 0.0:
            return False
        for counter in counters:
            units = counter.owed(leases.outage, now)
            if units > 0.0:
                self._charges.append((counter, units))
            counter.store_is_back(units, now)
            if counter.held or counter.stock:
                leases.urgent.add(counter)
        leases.connected = True
        return True

    @property
    def told_all(self) -> bool:
        """Whether a store that has forgotten knows by now what this worker knew."""
        return not self._floors

    def farewell(self, prefix: str, now: float) -> Batch:
        """All that is held is let go."""
        for counter in self._leases.stocked:
            counter.until = now
        return self.begin(prefix, now, everything=True)

    def _report(self, batch: Batch, now: float, everything: bool) -> None:
        """What was used and is held of all counters that this round is about, and from time to time of all others."""
        leases = self._leases
        told = {counter for ask in self._asks for counter, _ in ask.wanted}
        told.update(self._wants, leases.urgent, (counter for counter, _ in self._charged))
        leases.urgent.clear()
        if everything or now - self._told_all_at >= _TELL_ALL_S:
            self._told_all_at = now
            for counter in [each for each in leases.stocked if each.until <= now or not each.stock]:
                leases.stocked.discard(counter)
                counter.stock = counter.low = 0
                leases.changed.add(counter)
            told |= leases.changed
            if everything:
                told |= self._holding
        leases.changed -= told
        for counter in told:
            used, counter.used = counter.used, 0
            batch.report(counter, used)
            self._reported.append((counter, used))
            if counter.held or counter.stock:
                self._holding.add(counter)
            else:
                self._holding.discard(counter)

    def _lacks(self, ask: Ask, answer: Answer, now: float) -> list[Lack]:
        lacks = []
        for (counter, amount), (left, after_s, drained_s) in zip(ask.wanted, answer.rows, strict=True):
            counter.heard(left, now)
            if not answer.granted and (after_s > 0.0 or len(ask.wanted) == 1):
                counter.refused(amount, after_s, drained_s, now)
                lacks.append(counter.lack(amount, now))
        return lacks

    def _heard_workers(self, workers: int, now: float) -> None:
        leases = self._leases
        workers = max(workers, self._least_workers)
        if workers >= leases.workers:
            self._more_workers_at = now
            leases.workers = workers
        elif now > self._more_workers_at + _FEWER_WORKERS_S:
            leases.workers = workers
