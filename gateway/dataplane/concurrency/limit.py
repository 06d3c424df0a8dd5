"""A limit of calls in flight: raised by addition, cut by multiplication. Pure arithmetic; when to do which is `regulator`'s."""

import math

from gateway.dataplane.concurrency.cost import SHARE_OF_ONE
from gateway.dataplane.concurrency.split import Open, open_to

_SLOW_START = 1.5
"""Until a cut stays, the limit grows by half at a time (as TCP's slow start, RFC 5681, doubles)."""

_AMPLE, _STREAK, _MOST_DOUBLINGS = 0.6, 4, 3
"""After so many raises that cost next to nothing they become twice as large, and again: after a wrong cut, or a brownout."""

_GLIDE = 0.8


class Limit:
    """`value`, rounded down, calls may be in flight; between `least` and `most`."""

    __slots__ = ("_most", "_streak", "_target", "least", "slow_start", "value")

    def __init__(self, initial: int, least: int, most: int) -> None:
        self.value = self._target = float(initial)
        self.least = float(least)
        self._most = float(most)
        self._streak = 0
        self.slow_start = True

    @property
    def at_most(self) -> bool:
        """Whether it cannot be raised."""
        return self.value >= self._most

    @property
    def slots(self) -> int:
        """It in whole calls."""
        return int(self.value)

    def open_now(self) -> Open:
        """Whom its slots are open to."""
        return open_to(self.slots)

    @property
    def gliding(self) -> bool:
        """Whether a cut is still on its way down."""
        return self.value > self._target

    def glide(self) -> bool:
        """One call has left: a step down, so that for every few that leave one is let in (RFC 6937); whether that was the last."""
        self.value = max(self._target, self.value - _GLIDE)
        return self.value == self._target

    def cut(self, base: float, factor: float, in_flight: int) -> bool:
        """Glide down to `factor` of `base`, from where it binds `in_flight` calls; False where that is no cut."""
        target = max(self.least, base * factor)
        if target > self.value - 0.5:
            return False
        self._streak = 0
        self.slow_start = False
        self._target = target
        self.value = max(target, min(self.value, in_flight / SHARE_OF_ONE))
        return True

    def take_back(self, value: float, slow_start: bool) -> None:
        """A cut was wrong: be what it was before."""
        self.slow_start = slow_start
        self._set(value)

    def grow(self, room: float) -> None:
        """Grow, the slower the less `room` (of 1) there is to where it was cut."""
        if self.slow_start:
            self._set(self.value * _SLOW_START)
            return
        self._streak = self._streak + 1 if room > _AMPLE else 0
        faster = 2 ** min(self._streak // _STREAK, _MOST_DOUBLINGS)
        self._set(self.value + faster * room * math.sqrt(self.value) / 2)

    def widen(self) -> None:
        """Grow by as much as one tenant needs for one more call."""
        self._set(self.value + 1 / SHARE_OF_ONE)

    def _set(self, value: float) -> None:
        self._target = self.value = min(self._most, value)
