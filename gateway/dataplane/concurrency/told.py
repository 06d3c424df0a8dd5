"""What a worker tells the others of its host about a version: one record of numbers in the memory that they share."""

import math
from collections.abc import Sequence

import msgspec

RESTS = 0.0
"""The beat of a worker that has nothing to do."""

_FRESH_S = 1.0
"""Who has not ticked for so long hangs: it leads no more, and what it has not taken of the limit is the others'."""


class Knowledge(msgspec.Struct, frozen=True):
    """What one regulator of a version goes on from where another one ends: the limit but for a trial, and what is known."""

    value: float
    slow_start: float
    known_s: float
    floor_s: float
    failures: float
    patience_s: float
    strained_until: float


class Told(msgspec.Struct):
    """The record, all of it floats. Counts never fall; moments are monotonic seconds.

    `since` when it has been at work, `beat` its last tick. `led_at` is when it last led, and what follows is what it then
    said: the limit, whether there is room above it, and `Knowledge`.
    """

    since: float = 0.0
    beat: float = RESTS
    in_flight: float = 0.0
    waiting: float = 0.0
    mixed_at: float = -math.inf
    events: float = 0.0
    left: float = 0.0
    wanted: float = 0.0
    widened: float = 0.0
    led_at: float = 0.0
    limit: float = 0.0
    has_room: float = 0.0
    value: float = 0.0
    slow_start: float = 0.0
    known_s: float = 0.0
    floor_s: float = 0.0
    failures: float = 0.0
    patience_s: float = 0.0
    strained_until: float = 0.0

    @classmethod
    def of(cls, record: Sequence[float]) -> "Told":
        """The record as it stands in the memory."""
        return cls(*record[: len(cls.__struct_fields__)])

    def numbers(self) -> tuple[float, ...]:
        """The record as it goes into the memory."""
        return msgspec.structs.astuple(self)

    @property
    def demand(self) -> int:
        """The slots that its calls have or wait for."""
        return int(self.in_flight + self.waiting)

    def fresh(self, now: float) -> bool:
        """Whether it has ticked of late."""
        return self.beat > RESTS and now - self.beat <= _FRESH_S

    def led(self, now: float, limit: float, has_room: bool, known: Knowledge) -> None:
        """It leads now, and says this."""
        self.led_at, self.limit, self.has_room = now, limit, has_room
        self.value, self.slow_start = known.value, known.slow_start
        self.known_s, self.floor_s = known.known_s, known.floor_s
        self.failures, self.patience_s = known.failures, known.patience_s
        self.strained_until = known.strained_until

    def knowledge(self) -> Knowledge:
        """What it knew when it last led."""
        return Knowledge(*self.numbers()[-len(Knowledge.__struct_fields__) :])


class Worker(msgspec.Struct):
    """A worker by its place and life, and what it has told."""

    place: int
    life: float
    told: Told
