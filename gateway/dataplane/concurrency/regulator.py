"""When the limit of a version is raised and when it is cut. Every cut for latency's sake is a trial.

A call's latency alone cannot tell a server that is overloaded from one that is slow, that gathers batches, or that was
just sent larger requests. So the limit is cut when answers cost more than they are known to, and what the cut does
decides whether it stays. Where calls were standing in the server's queue, fewer of them are answered sooner in
proportion; where none were, they are not, the cut is taken back, and after a few such trials the cost is known to be
what this version takes. The measure is Kleinrock's power, throughput over delay ("Power and deterministic rules of
thumb for probabilistic problems in computer communications", ICC 1979), by Little's law load / cost²: a cut stays if
it raised the power.

How far to cut, and the square root in the growth, are from the gradient of Netflix's concurrency-limits and of
Envoy's adaptive concurrency. Hosts that share a server see each other's load, so they cut on common beats of the clock: a
trial that only one of them made would show too little.
"""

import math
from collections.abc import Callable
from typing import Protocol

import msgspec

from gateway.dataplane.concurrency.cost import PRESSED, Cost, helped, in_proportion
from gateway.dataplane.concurrency.limit import Limit
from gateway.dataplane.concurrency.told import Knowledge
from gateway.dataplane.concurrency.window import Meter, Pace, Window

_WINDOW_S = 0.25
"""The shortest time between two decisions."""

_WANTED = 0.1
"""The share of calls during which others had to wait that says that the limit is worth raising."""

_BRIEF_S = 0.6
"""Calls that hold their slot for longer make others wait for long after a cut: where nobody waits yet, it needs more reason."""

_DEEPEST, _DEEP, _SHALLOW = 0.1, 0.5, 0.8
_SHORT_S = 1.5
"""A deep cut that was wrong is over soon where calls are so short."""

_FAILURES = 3
"""Failed trials after which the cost is taken to be the version's own; hosts that share a server may miss a beat."""

_REFUSED_SHARE = 0.05
_FEW_LATE = 5
_LEAST_LATE_S = 1.0
_STRAINED_S = 60.0
_LEAST_PATIENCE_S, _MOST_PATIENCE_S = 32.0, 2048.0
_LEAST_BEAT_S, _LONGEST_START_S = 0.5, 1.0


class Crowd(Protocol):
    """Those who use the version through this host."""

    in_flight: int

    def alone(self, now: float) -> bool:
        """Whether it has been one tenant alone for a while: how long its calls take is then its own affair."""


class Clocks(msgspec.Struct, frozen=True):
    """What time it is (monotonic seconds), how the event loop keeps up, and what added to a moment gives the time that all
    hosts share.
    """

    now: Callable[[], float]
    pace: Pace
    phase_s: float


class Trial(msgspec.Struct, frozen=True):
    """A cut under way: the limit and what was measured before it, when to judge, and whether it was made only to look."""

    value: float
    slow_start: bool
    window: Window
    verdict_at: float
    look: bool


class Regulator:
    """Learns from the calls of one version on one host, and moves `limit`. All moments are monotonic seconds."""

    __slots__ = (
        "_above",
        "_cost",
        "_crowd",
        "_decided_at",
        "_failures",
        "_meter",
        "_patience_s",
        "_phase_s",
        "_spare_s",
        "_strained_until",
        "_trial",
        "limit",
    )

    def __init__(self, limit: Limit, clocks: Clocks, crowd: Crowd) -> None:
        now = clocks.now()
        self.limit = limit
        self._phase_s = clocks.phase_s
        self._crowd = crowd
        self._cost = Cost()
        self._meter = Meter(now, clocks.pace)
        self._trial: Trial | None = None
        self._failures = 0
        self._patience_s = 0.0
        self._above = False
        # The cost of a window in which the limit could have grown, had anybody needed it.
        self._spare_s = 0.0
        self._strained_until = self._decided_at = now

    # --- what becomes of calls ---

    def left(self, clock: Callable[[], float]) -> None:
        """A call has given its slot back; `clock` tells the moment, where it is needed."""
        self._meter.left += 1
        if self.limit.gliding and self.limit.glide():
            self._meter.open(clock())

    def answered(self, now: float, began: float, took_s: float, load: int, pressed: bool) -> None:
        """A call that began with `load` in flight has its answer, or the first byte of a long one, after `took_s`.

        `pressed` says that others had to wait meanwhile.
        """
        meter = self._meter
        if began >= meter.since and not self.limit.gliding and meter.add(took_s, load, pressed):
            self._look(now)

    def late(self, now: float, began: float, took_s: float) -> None:
        """A call got no answer in `took_s`. One that had less time than answers take says nothing: it is its caller's choice."""
        meter = self._meter
        enough_s = 2 * self._cost.known_s or _LEAST_LATE_S
        if began < meter.since or self.limit.gliding or took_s < enough_s:
            return
        meter.late += 1
        if not meter.answered and meter.late >= _FEW_LATE and now >= meter.since + _WINDOW_S:
            # Nobody at all is answered in time. That some are not is part of what an answer costs.
            self._cut(now, _DEEP)

    def refused(self, now: float, began: float) -> None:
        """The server said that it cannot take more, or took no connection."""
        meter = self._meter
        if began < meter.since or self.limit.gliding:
            return
        meter.refused += 1
        # A server that answers nobody is not overloaded but gone, and comes back to the limit that it had.
        many = meter.refused > _REFUSED_SHARE * (meter.answered + meter.refused)
        if many and meter.answered and now >= meter.since + _WINDOW_S:
            self._cut(now, _SHALLOW)

    def wanted(self, now: float) -> None:
        """Somebody must wait. Long calls may bring no answer for minutes, so the last that was learned is acted on."""
        self._look(now)
        if self._spare_s:
            self._grow(now, self._spare_s)

    def make_room(self, now: float) -> bool:
        """A call is about to be refused: whether the limit was raised for it.

        It is where nothing yet speaks against more, and for who is alone where the server itself does not.
        """
        if not self.has_room(now):
            return False
        if self._trial is not None:
            self._trial = None
            self._meter.open(now)
        self.limit.widen()
        return True

    def has_room(self, now: float) -> bool:
        """Whether `make_room` would raise the limit."""
        unknown = self.limit.slow_start and not self._above and self._trial is None
        alone = now >= self._strained_until and self._crowd.alone(now)
        return not self.limit.at_most and (unknown or alone)

    # --- handing over ---

    def knowledge(self) -> Knowledge:
        """What is known now; a trial under way is as good as taken back."""
        cost, last = self._cost, self._trial or self.limit
        return Knowledge(
            last.value,
            last.slow_start,
            cost.known_s,
            cost.floor_s,
            self._failures,
            self._patience_s,
            self._strained_until,
        )

    def adopt(self, known: Knowledge, now: float) -> None:
        """Go on from what another one knew."""
        self.limit.take_back(known.value, known.slow_start > 0)
        self._cost.known_s, self._cost.floor_s = known.known_s, known.floor_s
        self._failures, self._patience_s = int(known.failures), known.patience_s
        self._strained_until = known.strained_until
        self._trial = None
        self._above = False
        self._spare_s = 0.0
        self._decided_at = now
        self._meter.open(now)

    # --- decisions ---

    def _look(self, now: float) -> None:
        due = self._meter.since + _WINDOW_S if self._trial is None else self._trial.verdict_at
        if now < due or not self._meter.enough(now):
            return
        window, cost = self._meter.read(now), self._cost
        if not cost.known_s:
            # A worker that starts under load sees how fast the empty server is in its first calls.
            cost.known_s, cost.floor_s = self._meter.best(0.25), self._meter.best(0.0)
        since, self._decided_at = self._decided_at, now
        self._meter.open(now)
        self._spare_s = 0.0
        trial, self._trial = self._trial, None
        if trial is not None:
            self._judge(now, window, trial)
        else:
            self._steer(now, window, since)

    def _steer(self, now: float, window: Window, since: float) -> None:
        """`since` is when the decision before was made."""
        above = self._above = self._cost.above(window)
        self._cost.learn(window, now - since, above)
        alone = self._crowd.alone(now)
        if not above:
            self._failures = 0
        if not alone and self._due(now, window, since, above):
            return
        if not above or (alone and now >= self._strained_until):
            self._spare_s = window.cost_s
            if window.pressed >= _WANTED:
                self._grow(now, window.cost_s)

    def _due(self, now: float, window: Window, since: float, above: bool) -> bool:
        """Whether it is time to see if fewer calls in flight would be answered sooner, and that has begun."""
        pressed, far = window.pressed >= PRESSED, self._cost.far_above(window)
        every_s = self._patience_s or (0.0 if far else _LEAST_PATIENCE_S)
        look = (pressed or far or self._cost.off_the_floor(window)) and (
            not every_s or self._beat(now, every_s) != self._beat(since, every_s)
        )
        if not (look or (above and (pressed or window.held_s < _BRIEF_S))):
            return False
        start_s = min(_beat_s(window), _LEAST_BEAT_S if far else _LONGEST_START_S)
        if self._beat(now, start_s) == self._beat(since, start_s):
            return False
        return self._try(now, window, _DEEPEST if window.held_s < _SHORT_S else _DEEP, look)

    def _try(self, now: float, window: Window, deepest: float, look: bool) -> bool:
        """Begin a trial; False where there is nothing to be cut."""
        limit = self.limit
        value, slow_start, base = limit.value, limit.slow_start, limit.value
        if window.pressed < PRESSED:
            # The limit does not bind. Four fifths of it are open to most calls: this much does.
            base = min(base, window.load * 1.25)
            if base * _SHALLOW < limit.least:
                return False
            if not self._cost.far_above(window):
                deepest = _SHALLOW
        factor = min(_SHALLOW, max(deepest, 1 - self._cost.queueing(window)))
        if not limit.cut(base, factor, self._crowd.in_flight):
            return False
        beat_s = _beat_s(window)
        verdict_at = (self._beat(now, beat_s) + 1) * beat_s - self._phase_s
        if verdict_at - now < beat_s / 2:
            verdict_at += beat_s
        self._trial = Trial(value, slow_start, window, verdict_at, look)
        self._meter.open(now)
        return True

    def _judge(self, now: float, window: Window, trial: Trial) -> None:
        verdict, cost = helped(trial.window, window), self._cost
        if verdict:
            self._failures = 0
            self._patience_s = 0.0
            cost.known_s = min(cost.known_s, window.cost_s)
            if cost.still_above(window):
                self._try(now, window, _DEEPEST if in_proportion(trial.window, window) else _DEEP, trial.look)
            return
        self.limit.take_back(trial.value, trial.slow_start)
        if trial.look:
            self._patience_s = min(_MOST_PATIENCE_S, max(_LEAST_PATIENCE_S, self._patience_s * 2))
        if verdict is False and window.load < trial.window.load:
            self._failures += 1
            if self._failures >= _FAILURES:
                self._failures = 0
                cost.known_s = max(cost.known_s, trial.window.cost_s)

    def _grow(self, now: float, cost_s: float) -> None:
        self._spare_s = 0.0
        self.limit.grow(self._cost.room(cost_s))
        self._meter.open(now)

    def _cut(self, now: float, factor: float) -> None:
        self._trial = None
        self._spare_s = 0.0
        self._strained_until = now + _STRAINED_S
        self.limit.cut(self.limit.value, factor, self._crowd.in_flight)
        self._meter.open(now)

    def _beat(self, moment: float, length_s: float) -> int:
        return int((moment + self._phase_s) // length_s)


def _beat_s(window: Window) -> float:
    """How long a trial takes: the calls of before end, and enough new ones are answered. A power of two, so that the
    beats of hosts with different loads fall together.
    """
    needed_s = (1.25 + 20 / window.load) * window.held_s
    return 2.0 ** math.ceil(math.log2(max(_LEAST_BEAT_S, needed_s)))
