"""What an answer of a version is known to cost, against which it is seen that one costs more."""

import math

from gateway.dataplane.concurrency.window import Window

SHARE_OF_ONE = 0.64
"""Four fifths of four fifths of the limit are open to one tenant (`split`)."""

PRESSED = 0.5
"""The share of calls during which others had to wait that says that the limit binds."""

_TOLERANCE_PRESSED, _TOLERANCE, _FAR = 1.25, 1.5, 2.5
"""Times the known cost. Where nobody waits yet, a cut makes callers wait who would not have had to."""

_SLACK_S = 0.001
_OWN = 3
"""What the event loop adds to a latency by itself: its scheduling, and a turn of it or two, of which its ticks show half."""

_SURE, _SURE_OF_A_CUT = 2.0, 1.5
"""Standard errors."""

_SMOOTHED_S, _MEMORY_S = 30.0, 600.0
_SAME = 0.95
_IN_PROPORTION = 0.8


class Cost:
    """What is known: `known_s` at the present load, `floor_s` at the lightest of the last minutes; 0 before the first window."""

    __slots__ = ("floor_s", "known_s")

    def __init__(self) -> None:
        self.known_s = self.floor_s = 0.0

    def above(self, window: Window) -> bool:
        """Whether answers cost more than they are known to."""
        tolerance = _TOLERANCE_PRESSED if window.pressed >= PRESSED else _TOLERANCE
        return self._beyond(tolerance * self.known_s, window)

    def far_above(self, window: Window) -> bool:
        """Whether they cost far more than they are known to."""
        return self._beyond(_FAR * self.known_s, window)

    def off_the_floor(self, window: Window) -> bool:
        """Whether they cost so much more than with the lightest load that it is worth a look, now and then, why."""
        return self._beyond(_FAR * self.floor_s, window)

    def still_above(self, window: Window) -> bool:
        """Whether, after a cut that helped, another one may."""
        return self._beyond(_TOLERANCE_PRESSED * self.floor_s, window)

    def learn(self, window: Window, passed_s: float, above: bool) -> None:
        """Take a window into account. What costs more than is known is learned only if cuts do not help."""
        cost_s = window.cost_s
        if not above:
            lower = cost_s + _SURE * window.error_s < self.known_s
            self.known_s += (cost_s - self.known_s) * (1.0 if lower else min(1.0, passed_s / _SMOOTHED_S))
        if cost_s < self.floor_s:
            self.floor_s += (cost_s - self.floor_s) * 0.3
        else:
            self.floor_s = min(cost_s, self.floor_s * (1 + passed_s / _MEMORY_S))

    def room(self, cost_s: float) -> float:
        """How far the cost is from where it would be cut: 1 at what is known, 0.1 at the least."""
        return max(0.1, 1 - (cost_s / self.known_s - 1) / (_TOLERANCE_PRESSED - 1))

    def queueing(self, window: Window) -> float:
        """The share of the calls in flight that are waiting for the server and not being served, by Little's law."""
        return (window.cost_s - self.known_s) / max(window.cost_s, window.held_s)

    def _beyond(self, cost_s: float, window: Window) -> bool:
        return window.cost_s - _SURE * window.error_s > cost_s + _SLACK_S + _OWN * window.own_s


def helped(before: Window, after: Window) -> bool | None:
    """Whether fewer calls in flight raised the power, load / cost²; None where the load did not change."""
    fell = after.load / before.load
    if _SAME < fell < 1 / _SAME:
        return None
    better_s = (before.cost_s - after.cost_s) * (1 if fell < 1 else -1)
    noise_s = _SURE_OF_A_CUT * math.hypot(before.error_s, after.error_s) + before.own_s + after.own_s
    if better_s <= noise_s:
        return False
    return (after.cost_s <= before.cost_s * math.sqrt(fell)) == (fell < 1)


def in_proportion(before: Window, after: Window) -> bool:
    """Whether the cost fell nearly as the load did: the calls that were cut had all been waiting."""
    return after.cost_s <= before.cost_s * math.pow(after.load / before.load, _IN_PROPORTION)
