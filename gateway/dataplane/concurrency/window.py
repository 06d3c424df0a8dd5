"""What is measured of a version's calls between two decisions on its limit. Pure arithmetic; moments in seconds of one
monotonic clock.
"""

import math
from typing import Protocol

import msgspec

ENOUGH = 20
"""Answers that a decision rests on."""

_LONG_S = 10.0
_ENOUGH_IN_LONG = 5
"""A model with few answers is judged by fewer of them, so that it is judged at all."""

_MOST_SAMPLES = 256


class Pace(Protocol):
    """How the event loop keeps up: `ticks` of a ticker, and by how many seconds they came late altogether."""

    @property
    def ticks(self) -> int:
        """So many."""

    @property
    def late_s(self) -> float:
        """So late."""


class Window(msgspec.Struct, frozen=True):
    """What was measured.

    `cost_s` is what one answer takes, the time of calls that got none included, and `error_s` its standard error; `load`
    the calls in flight when a call began, on average; `pressed` the share of answers to calls during which others had
    to wait; `held_s` how long a call keeps its slot; `own_s` by how much the event loop itself was late.
    """

    cost_s: float
    error_s: float
    load: float
    pressed: float
    held_s: float
    own_s: float


class Meter:
    """Gathers a window. Only calls begun `since` count: those before it say nothing about the limit as it is now."""

    __slots__ = (
        "_late_s",
        "_load",
        "_pace",
        "_pressed",
        "_samples",
        "_stride",
        "_ticks",
        "answered",
        "late",
        "left",
        "refused",
        "since",
    )

    def __init__(self, now: float, pace: Pace) -> None:
        self._pace = pace
        self.open(now)

    def open(self, now: float) -> None:
        """Begin anew."""
        self.since = now
        self.answered = self.late = self.left = self.refused = 0
        self._samples: list[float] = []
        self._stride = 1
        self._load = 0.0
        self._pressed = 0.0
        self._ticks, self._late_s = self._pace.ticks, self._pace.late_s

    def add(self, took_s: float, load: int, pressed: bool) -> bool:
        """One more answer; whether it was kept. A window has few samples, spread over it however many answers it has."""
        self.answered += 1
        if self.answered % self._stride:
            return False
        self._samples.append(took_s)
        self._load += load
        self._pressed += pressed
        if len(self._samples) >= _MOST_SAMPLES:
            self._samples = self._samples[::2]
            self._load /= 2
            self._pressed /= 2
            self._stride *= 2
        return True

    def enough(self, now: float) -> bool:
        """Whether there are samples enough to decide on."""
        count = len(self._samples)
        return count >= ENOUGH or (count >= _ENOUGH_IN_LONG and now - self.since >= _LONG_S)

    def best(self, share: float) -> float:
        """The time that so large a share of the answers took less than, in seconds."""
        return sorted(self._samples)[int(len(self._samples) * share)]

    def read(self, now: float) -> Window:
        """What has been measured, with at least one sample."""
        count, age_s = len(self._samples), now - self.since
        load = self._load / count
        cost_s, error_s = _trimmed_mean(sorted(self._samples))
        without = (self.answered + self.late) / self.answered
        return Window(
            cost_s * without,
            error_s * without,
            load,
            self._pressed / count,
            load * age_s / max(self.left, 1),  # Little's law
            (self._pace.late_s - self._late_s) / max(self._pace.ticks - self._ticks, 1),
        )


def _trimmed_mean(ordered: list[float]) -> tuple[float, float]:
    """The mean of the middle four fifths, as smooth as a mean and deaf to an answer that took forever, and its standard
    error, from the winsorized variance (Tukey and McLaughlin, Sankhyā A 25, 1963).
    """
    count = len(ordered)
    cut = count // 10
    middle = ordered[cut : count - cut]
    mean = sum(middle) / len(middle)
    squares = sum((value - mean) ** 2 for value in middle)
    squares += cut * ((middle[0] - mean) ** 2 + (middle[-1] - mean) ** 2)
    return mean, math.sqrt(squares / count) / len(middle) * math.sqrt(count)
