"""The generic cell rate algorithm (GCRA) as pure arithmetic: at most `burst` units at once, `rate` units a second for ever.

ITU-T I.371 (Annex A) gives it in two forms that decide alike. Virtual scheduling keeps the moment at which all that was
taken will have drained (redis-cell does); the continuous-state leaky bucket keeps how much has not drained yet. This is
the second: units are added exactly, where times of 1e-7 s a unit would be rounded, and what was used means the same
after the limit has been raised or lowered. Over any t seconds at most `burst + rate * t` units are counted.

What a request will have used is sometimes known only when it ends. Until then its estimate is held: it takes room and
does not drain. So nothing has to be given back afterwards for a time in which the limit may have been idle, which would
make room above the burst. Requests at a time are held and never counted.
"""


class Bucket:
    """`level` units had not drained at `at` (seconds of any clock that only goes on), and `held` do not drain yet.

    What is taken must leave both together at most the burst.
    """

    __slots__ = ("at", "held", "level")

    def __init__(self, now: float) -> None:
        self.level = 0.0
        self.held = 0
        self.at = now

    def level_at(self, rate: float, now: float) -> float:
        """What was counted and has not drained yet."""
        return max(0.0, self.level - (now - self.at) * rate)

    def count(self, units: float, rate: float, now: float) -> None:
        """Units were used, whether there is room or not."""
        self.level = self.level_at(rate, now) + units
        self.at = now

    def uncount(self, units: float, counted_at: float, rate: float, now: float) -> None:
        """Units that were counted a moment ago were not used after all; what may have drained of them has."""
        level = self.level_at(rate, now)
        self.level = max(0.0, level - max(0.0, units - rate * (now - counted_at)))
        self.at = now
