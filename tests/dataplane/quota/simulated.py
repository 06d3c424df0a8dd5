"""Workers that share quotas through a real Redis, in one process and on a clock that the test turns."""

import asyncio
import functools
import heapq
from collections.abc import Callable, Sequence
from random import Random

import redis

from gateway.dataplane.quota import local
from gateway.dataplane.quota.batch import Batch, BatchReply, decode_reply
from gateway.dataplane.quota.leased import LeasedCounter
from gateway.dataplane.quota.leases import Leases
from gateway.dataplane.quota.limits import limits_of
from gateway.dataplane.quota.refusals import Lack
from gateway.dataplane.quota.rounds import Rounds
from gateway.dataplane.quota.store import SCRIPT, SETTLE_S, WORKER_LAPSE_S
from gateway.snapshot.document import LimitEntry, QuotaEntry, Unit

PREFIX = "maas:{test}:quota:"
LOOK_S = 0.1


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class SimulatedWorker:
    """One worker: every call to Redis is made at once, at the clock's time."""

    def __init__(
        self, name: str, client: "redis.Redis", policy: QuotaEntry, clock: Clock, expected: int
    ) -> None:
        self.name = name
        self.clock = clock
        self.calls = 0
        self.run = "a-run"
        self.leases = Leases(expected, lambda: None, clock)
        self.rounds = Rounds(self.leases, expected)
        self.counters = [
            LeasedCounter(limit, (None, None, None, None), clock()) for limit in limits_of(policy)
        ]
        self._script = client.register_script(SCRIPT)
        self._called_at = clock()

    def connect(self) -> bool:
        """Find the store, for the first time or again, and tell it what it is owed; False while it settles."""
        while not self.rounds.found(self._call(self.rounds.greet(PREFIX)), self.counters, self.clock()):
            if self.rounds.told_all:
                return False
        self.settle_down()
        return True

    def round(self) -> None:
        """One round, if there is something to say."""
        now = self.clock()
        if not self.leases.connected:
            return
        due = now - self._called_at >= 1.0
        batch = self.rounds.begin(PREFIX, now, everything=due)
        if batch or due:
            try:
                self.rounds.arrived(self._call(batch), now)
            except ValueError:
                self.rounds.lost(now)

    def settle_down(self) -> None:
        """Rounds until nothing waits for one."""
        while self.rounds.pending and self.leases.connected:
            self.round()

    def take(self, *amounts: int) -> list[Lack]:
        """What one request lacks: nothing when it is admitted."""
        amounts = amounts or (1,) * len(self.counters)
        now = self.clock()
        if self.leases.take(self.counters, amounts, now) is not None:
            lacks: list[Lack] | None = []
        else:
            ask = self.leases.ask(self.counters, amounts, now)
            if not ask.verdict.done():
                self.round()
            lacks = ask.verdict.result()
            if lacks == []:
                self.leases.granted(ask)
        self.settle_down()
        assert lacks is not None
        return lacks

    def take_here(self, *amounts: int) -> bool:
        """Whether one request is admitted by the worker's share, with the store away."""
        amounts = amounts or (1,) * len(self.counters)
        now = self.clock()
        for counter in self.counters:
            if counter.outage != self.leases.outage:
                counter.count_here(self.leases.outage, self.leases.workers, now)
        return local.take(self.counters, amounts, now) is not None

    def end(self, *held_and_used: tuple[int, int]) -> None:
        """A request ends that held and used so much of each counter."""
        for counter, (held, used) in zip(self.counters, held_and_used, strict=True):
            self.leases.settle(counter, held, used, self.clock())
        self.settle_down()

    def leave(self) -> None:
        """Drain."""
        self._call(self.rounds.farewell(PREFIX, self.clock()), leave=True)

    def _call(self, batch: Batch, *, leave: bool = False) -> BatchReply:
        self.calls += 1
        self._called_at = self.clock()
        keys = [f"{PREFIX}workers", f"{PREFIX}since", f"{PREFIX}settled", *batch.keys]
        arguments: list[str | bytes | float] = [
            self.name,
            WORKER_LAPSE_S,
            int(leave),
            repr(self.clock()),
            self.run,
            SETTLE_S,
            batch.encode(),
        ]
        return decode_reply(self._script(keys=keys, args=arguments))


def workers(
    url: str, policy: QuotaEntry, count: int, clock: Clock, *, expected: int = 1
) -> list[SimulatedWorker]:
    """Workers that have found an empty Redis, and have waited until it was settled."""
    client = redis.Redis.from_url(url)
    client.flushall()
    made = [SimulatedWorker(f"w{number}", client, policy, clock, expected) for number in range(count)]
    for _ in range(2):
        for worker in made:
            worker.connect()
        clock.now += SETTLE_S
    return made


def pass_time(them: Sequence[SimulatedWorker], seconds: float) -> None:
    """Let time pass; each worker looks every tenth of a second."""
    clock = them[0].clock
    until = clock.now + seconds
    while clock.now < until:
        clock.now = min(until, clock.now + LOOK_S)
        for worker in them:
            worker.round()


def demand(
    them: Sequence[SimulatedWorker], asks_per_s: float, seconds: float, seed: int, units: int = 1
) -> list[float]:
    """Ask any worker for so many units at random moments for so long; when requests were admitted."""
    clock, random = them[0].clock, Random(seed)
    until = clock.now + seconds
    admitted: list[float] = []
    looks = [(clock.now + LOOK_S * number / len(them), number) for number in range(len(them))]
    while clock.now < until:
        asked_at = clock.now + random.expovariate(asks_per_s)
        while looks[0][0] < asked_at:
            clock.now, number = looks[0]
            them[number].round()
            heapq.heapreplace(looks, (clock.now + LOOK_S, number))
        clock.now = asked_at
        worker = random.choice(them)
        if not worker.take(units):
            admitted.append(clock.now)
            if worker.counters[0].holds:
                worker.end((units, units))
    return admitted


def on_a_loop(test: Callable[[], None]) -> None:
    """Run what makes futures."""

    async def run() -> None:
        test()

    asyncio.run(run())


def looped(test: Callable[..., None]) -> Callable[..., None]:
    """Run the test on an event loop."""

    @functools.wraps(test)
    def run(*arguments: object, **fields: object) -> None:
        on_a_loop(lambda: test(*arguments, **fields))

    return run


def limit(
    quota: int, window_s: int = 60, burst: int = 0, unit: Unit = "requests", estimate: int = 1
) -> LimitEntry:
    """A limit."""
    return LimitEntry("l", unit, quota, window_s, burst, estimate)
