"""Quotas that workers share, as a request meets them: leased from the store ahead of need, so that it rarely waits."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from math import ceil

from gateway.dataplane.quota.leased import LEASE_S, LeasedCounter
from gateway.dataplane.quota.refusals import Lack


class Ask:
    """A request that waits for the store. Its verdict is what it lacks: nothing where it was granted; None: away.

    `wanted` is asked of the store, `kept` was in stock. A caller who goes cancels the verdict.
    """

    __slots__ = ("kept", "verdict", "wanted")

    def __init__(self, verdict: "asyncio.Future[list[Lack] | None]") -> None:
        self.verdict = verdict
        self.wanted: list[tuple[LeasedCounter, int]] = []
        self.kept: list[tuple[LeasedCounter, int]] = []


class Leases:
    """What one worker has of the shared counters, and what it is going to tell and ask the store; `wake` says: soon.

    `urgent` counters have news that somebody waits for, `changed` ones any, `stocked` ones stock. While it is not
    `connected`, in an `outage`, each of the `workers` counts for itself. Times are monotonic seconds, as `clock` has them.
    """

    def __init__(
        self, workers: int, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.connected = False
        self.outage = 1
        self.workers = workers
        self.asks: deque[Ask] = deque()
        self.wants: list[LeasedCounter] = []
        self.urgent: set[LeasedCounter] = set()
        self.changed: set[LeasedCounter] = set()
        self.stocked: set[LeasedCounter] = set()
        self.clock = clock
        self.wake = wake

    # --- a request begins ---

    def take(
        self, counters: Sequence[LeasedCounter], amounts: Sequence[int], now: float
    ) -> tuple[int, ...] | None:
        """Take from stock and say where the limits stand; None, and nothing is taken, where the store must be asked."""
        stands: tuple[int, ...] = ()
        for counter, amount in zip(counters, amounts):  # noqa: B905 - equally long, and checking costs
            stock = counter.stock - amount
            if stock < 0 or counter.until <= now:
                _take_back(counters, amounts, counter)
                return None
            counter.stock = stock
            counter.asked += amount
            counter.tally.taken += 1
            if counter.holds:
                counter.held += amount
            else:
                if not counter.used:
                    self.changed.add(counter)
                counter.used += amount
            if stock < counter.low:
                self._want(counter)
            # `standing`, written out: this is the request path.
            limit = counter.limit
            known = counter.known - (now - counter.known_at) * limit.rate
            left = limit.burst + stock - known if known > stock else limit.burst
            if limit.rate:
                stands += (int(left), ceil((limit.burst - left) * limit.unit_s))
            else:
                stands += (int(left),)
        return stands

    def ask(self, counters: Sequence[LeasedCounter], amounts: Sequence[int], now: float) -> Ask:
        """Ask the store for what is not in stock, unless it is known to have no room."""
        ask = Ask(asyncio.get_running_loop().create_future())
        lacks: list[Lack] = []
        for counter, amount in zip(counters, amounts, strict=True):
            if counter.stock >= amount and counter.until > now:
                ask.kept.append((counter, amount))
            elif counter.refuses(amount, now):
                lacks.append(counter.lack(amount, now))
            else:
                ask.wanted.append((counter, amount))
        if lacks:
            ask.verdict.set_result(lacks)
            return ask
        for counter, amount in ask.kept:
            counter.stock -= amount
            counter.held += amount
        for counter, amount in ask.wanted:
            counter.needed(amount, now)
            self._want(counter)
        self.asks.append(ask)
        self.wake()
        return ask

    def decide(self, ask: Ask, lacks: list[Lack] | None, now: float) -> None:
        """The store has spoken, or is away. What came for a caller who has gone is for the next one."""
        if lacks == []:
            for counter, amount in ask.wanted:
                counter.held += amount
            if ask.verdict.done():
                for counter, amount in (*ask.kept, *ask.wanted):
                    self.settle(counter, amount, 0, now)
        else:
            for counter, amount in ask.kept:
                counter.held -= amount
                counter.stock += amount
                self.stocked.add(counter)
        if not ask.verdict.done():
            ask.verdict.set_result(lacks)

    def granted(self, ask: Ask) -> None:
        """The request that waited goes on with what it asked for."""
        for counter, amount in (*ask.kept, *ask.wanted):
            counter.asked += amount
            counter.tally.taken += 1
            if not counter.holds:
                counter.held -= amount
                counter.used += amount
                self._tell(counter, soon=counter.small)

    def give_up(self, ask: Ask, now: float) -> None:
        """The caller who waited has gone: before the call, during it (`decide` sees to that), or just after it."""
        if ask in self.asks:
            self.asks.remove(ask)
            self.decide(ask, None, now)
        elif ask.verdict.done() and not ask.verdict.cancelled() and ask.verdict.result() == []:
            for counter, amount in (*ask.kept, *ask.wanted):
                self.settle(counter, amount, 0, now)

    # --- a request ends ---

    def settle(self, counter: LeasedCounter, held: int, used: int, now: float) -> None:
        """Of what was held so many units were used. The rest is for the next request, as far as it starves nobody and
        is enough for one.
        """
        counter.held -= held
        counter.used += used
        rest = held - used
        if rest > 0:
            stock = max(counter.stock, min(counter.stock + rest, self.most_stock(counter)))
            if stock < counter.largest:
                stock = counter.stock
            given_back = stock < counter.stock + rest
            self._tell(counter, soon=given_back and (counter.small or not counter.limit.rate))
            if stock > counter.stock:
                counter.stock = stock
                counter.until = now + LEASE_S
                self.stocked.add(counter)
        elif used:
            self._tell(counter, soon=counter.small)

    def hold(self, counter: LeasedCounter, units: int) -> None:
        """Hold what was counted a moment ago. The store has not been told of it yet."""
        counter.used = max(0, counter.used - units)
        counter.held += units

    def most_stock(self, counter: LeasedCounter) -> int:
        """How much of what was given back may be kept for the next request: no more than `take.lua` would lease ahead."""
        return counter.limit.burst // (4 * self.workers)

    def _tell(self, counter: LeasedCounter, *, soon: bool) -> None:
        self.changed.add(counter)
        if soon:
            self.urgent.add(counter)
            self.wake()

    def _want(self, counter: LeasedCounter) -> None:
        if not counter.wanted and counter.limit.rate:
            counter.wanted = True
            self.wants.append(counter)
            self.wake()


def standing(counters: Sequence[LeasedCounter], now: float) -> tuple[int, ...]:
    """Where the limits stand as far as the worker knows, for `limit_field`."""
    told: tuple[int, ...] = ()
    for counter in counters:
        limit = counter.limit
        left = min(max(0.0, counter.left_at(now)), limit.burst)
        told += (int(left), ceil((limit.burst - left) * limit.unit_s)) if limit.rate else (int(left),)
    return told


def _take_back(counters: Sequence[LeasedCounter], amounts: Sequence[int], refusing: LeasedCounter) -> None:
    """Undo what was taken, in this very moment, of the counters before the one that has no stock."""
    for counter, amount in zip(counters, amounts, strict=True):
        if counter is refusing:
            return
        counter.stock += amount
        counter.asked -= amount
        counter.tally.taken -= 1
        if counter.holds:
            counter.held -= amount
        else:
            counter.used -= amount
