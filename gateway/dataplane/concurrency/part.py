"""One worker's part of a limit that the workers of a host share: what it tells the others, and what it takes from them.

A server's load is what all workers send it, so a limit for each worker would be found by nobody: what one of them cuts,
the others fill. There is one limit on the host instead, and one worker, the one that has been at work on the version for
longest, moves it, by what has become of the calls of all. Each worker then takes its part of it, max-min fair by what the
others want. All this happens on a tick; between two ticks a gate admits to its part and asks nobody.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from gateway.dataplane.concurrency.limit import Limit
from gateway.dataplane.concurrency.queues import FairQueues
from gateway.dataplane.concurrency.regulator import Clocks, Regulator
from gateway.dataplane.concurrency.split import Open, open_to, part_of
from gateway.dataplane.concurrency.told import RESTS, Told, Worker
from gateway.supervisor.loads import EVENTS, Row

_REST_S = 1.0
"""After so long without a call a worker ticks no more, until the next one."""

_ALL = 1 << 30
_ANSWERED, _PRESSED, _LATE, _REFUSED = range(4)


class Counted(Protocol):
    """The gate, as far as its part of the limit knows it."""

    in_flight: int
    elsewhere: int
    mixed_at: float
    queues: FairQueues[Any]

    def alone(self, now: float) -> bool:
        """Whether it has been one tenant alone for a while."""

    def shared(self, ago_s: float) -> None:
        """Other workers have seen more than one tenant so many seconds ago."""

    def follow(self) -> None:
        """Take the limit as it is now."""


class Part:
    """To its gate what a `Regulator` and its `Limit` are to one that has the limit to itself.

    `value` is another one whenever something else is open; `in_flight` are the calls of all workers.
    """

    __slots__ = (
        "_busy_at",
        "_events",
        "_extra",
        "_gate",
        "_has_room",
        "_heard",
        "_leads",
        "_limit",
        "_open",
        "_others_wait",
        "_read",
        "_regulator",
        "_resting",
        "_slots",
        "_split",
        "_told",
        "in_flight",
        "row",
        "value",
    )

    def __init__(self, row: Row, limit: Limit, clocks: Clocks, gate: Counted) -> None:
        self.row = row
        self.in_flight = self.value = 0
        self._limit = limit
        self._gate = gate
        self._regulator = Regulator(limit, clocks, self)
        self._told = self._heard = Told()
        self._read: dict[float, Told] = {}
        self._events: deque[tuple[float, float, float, float]] = deque(maxlen=EVENTS)
        self._busy_at = 0.0
        self._slots = int(limit.value)
        self._has_room = self._resting = True
        self._open: Open = ((), ())
        self._rest()

    # --- to the gate ---

    @property
    def slots(self) -> int:
        """The limit on the host."""
        last = max((worker.told for worker in self._workers()), key=_led_at, default=self._told)
        return int(last.limit) if last.led_at else self._slots

    def open_now(self) -> Open:
        """Whom this worker's part is open to."""
        return self._open

    def left(self, _: Callable[[], float]) -> None:
        """A call has given its slot back."""
        self._told.left += 1

    def answered(self, _: float, began: float, took_s: float, load: int, pressed: bool) -> None:
        """A call that began with `load` in flight has its answer."""
        kind = _PRESSED if pressed or self._others_wait else _ANSWERED
        self._events.append((began, took_s, load, kind))

    def late(self, _: float, began: float, took_s: float) -> None:
        """A call got no answer in `took_s`."""
        self._events.append((began, took_s, 0, _LATE))

    def refused(self, _: float, began: float) -> None:
        """The server said that it cannot take more, or took no connection."""
        self._events.append((began, 0.0, 0, _REFUSED))

    def wanted(self, _: float) -> None:
        """Somebody must wait."""
        self._told.wanted += 1

    def make_room(self, _: float) -> bool:
        """A call is about to be refused: whether the part was raised for it. The limit follows with the next ticks."""
        if not self._has_room:
            return False
        self._told.widened += 1
        self._extra += 1
        self._take()
        return True

    # --- to the regulator ---

    def alone(self, now: float) -> bool:
        """Whether it has been one tenant alone for a while, on the host."""
        return self._gate.alone(now)

    # --- among the workers ---

    def tick(self, now: float) -> None:
        """Tell the others what there is to do here, move the limit where that is this worker's affair, and take its part."""
        gate, told = self._gate, self._told
        if gate.in_flight or gate.queues.waiting or self._events:
            self._busy_at = now
        elif self._resting:
            return
        elif now - self._busy_at > _REST_S:
            self._rest()
            return
        if not told.fresh(now):
            self._resting = self._leads = False
            told.since = now
        self._tell(now)
        workers = self._workers()
        beside = [worker for worker in workers if worker.place != self.row.place]
        others = [worker.told for worker in beside]
        gate.elsewhere = int(sum(other.in_flight for other in others))
        self._others_wait = any(other.waiting for other in others)
        self.in_flight = gate.in_flight + gate.elsewhere
        gate.shared(now - max((other.mixed_at for other in others), default=-math.inf))
        leader = min(
            (worker for worker in workers if worker.told.fresh(now)),
            key=lambda worker: (worker.told.since, worker.place),
        )
        if leader.place == self.row.place:
            self._lead(now, workers)
        else:
            self._leads = False
            self._follow(leader.told)
        fresh = [worker for worker in beside if worker.told.fresh(now)]
        before = sum(worker.place < self.row.place for worker in fresh)
        self._split = [worker.told.demand for worker in fresh], before, gate.elsewhere
        self._extra = 0
        self._take()
        gate.follow()

    def _tell(self, now: float) -> None:
        gate, told, row = self._gate, self._told, self.row
        row.put(self._events)
        self._events.clear()
        told.beat = now
        told.in_flight, told.waiting = gate.in_flight, gate.queues.waiting
        told.mixed_at, told.events = gate.mixed_at, row.events
        row.tell(told.numbers())

    def _workers(self) -> list[Worker]:
        return [Worker(place, life, Told.of(record)) for place, life, record in self.row.told()]

    def _lead(self, now: float, workers: list[Worker]) -> None:
        """Move the limit, by what the workers have seen since the last tick."""
        regulator, told = self._regulator, self._told
        if not self._leads:
            self._leads, self._read = True, {}
            before = max((*(worker.told for worker in workers), self._heard), key=_led_at)
            if before.led_at > told.led_at and before.known_s:
                regulator.adopt(before.knowledge(), now)
        read, self._read = self._read, {worker.life: worker.told for worker in workers}
        for worker in workers:
            if worker.life in read:
                self._learn(now, worker, read[worker.life])
        told.led(now, self._limit.value, regulator.has_room(now), regulator.knowledge())
        self.row.tell(told.numbers())
        self._follow(told)

    def _learn(self, now: float, worker: Worker, before: Told) -> None:
        regulator, told = self._regulator, worker.told
        events = self.row.heard(worker.place, int(before.events), int(told.events))
        for began, took_s, load, kind in events:
            if kind == _LATE:
                regulator.late(now, began, took_s)
            elif kind == _REFUSED:
                regulator.refused(now, began)
            else:
                regulator.answered(now, began, took_s, int(load), kind == _PRESSED)
        for _ in range(int(told.left - before.left)):
            regulator.left(lambda: now)
        if told.wanted > before.wanted:
            regulator.wanted(now)
        for _ in range(int(told.widened - before.widened)):
            regulator.make_room(now)

    def _follow(self, leader: Told) -> None:
        if leader.led_at:
            self._heard = leader
            self._slots, self._has_room = int(leader.limit), leader.has_room > 0

    def _take(self) -> None:
        """Take this worker's part of the limit, and what nobody has taken of it."""
        demands, before, elsewhere = self._split
        of_all, of_tenant = open_to(self._slots)
        found = (
            tuple(max(part_of(slots, demands, before), slots - elsewhere) + self._extra for slots in of_all),
            tuple(part_of(slots, demands, before) + self._extra for slots in of_tenant),
        )
        if found != self._open:
            self._open = found
            self.value += 1

    def _rest(self) -> None:
        """Until the next call is seen, count for nothing, and have open what there would be if all others were busy."""
        told, row = self._told, self.row
        self._resting, self._leads = True, False
        told.beat, told.in_flight, told.waiting = RESTS, 0.0, 0.0
        row.tell(told.numbers())
        workers = [worker for worker in self._workers() if worker.place != row.place]
        self._follow(max((told, *(worker.told for worker in workers)), key=_led_at))
        self._gate.elsewhere, self._others_wait = 0, False
        self._split = [_ALL] * len(workers), sum(worker.place < row.place for worker in workers), _ALL
        self._extra = 0
        self._take()


def _led_at(told: Told) -> float:
    return told.led_at
