"""All counters of a worker. They outlive snapshots, and are let go once nothing would be lost with them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from gateway.dataplane.quota.limits import Counter, Limit, LimitKey, Values

_LOOKED_AT = 4
"""Old counters for each new one: their number settles at those in use, and no request pays for a sweep of them all."""


class Counters:
    """By limit, then by the values that its policy tells apart. `make` makes a new one."""

    def __init__(self, make: Callable[[Limit, Values, float], Counter]) -> None:
        self._make = make
        self._by_limit: dict[LimitKey, dict[Values, Counter]] = {}
        self._limits: dict[LimitKey, Limit] = {}
        self._round: deque[Counter] = deque()
        self._turn = 0

    def __len__(self) -> int:
        return sum(map(len, self._by_limit.values()))

    def __iter__(self) -> Iterator[Counter]:
        return (counter for group in self._by_limit.values() for counter in group.values())

    def get(self, limit: Limit, values: Values, now: float) -> Counter:
        """The counter, made when it is new. It may be used until the next `turn`."""
        group = self._by_limit[limit.key]
        counter = group.get(values)
        if counter is None:
            self._look_at_some(now)
            counter = group[values] = self._make(limit, values, now)
            self._round.append(counter)
        counter.turn = self._turn
        return counter

    def turn(self) -> None:
        """Nobody goes on using the counters that he has got so far; those that are needed are got again."""
        self._turn += 1

    def follow(self, limits: Iterable[Limit], now: float) -> None:
        """Count for these limits from now on, and forget all others."""
        known = {limit.key: limit for limit in limits}
        self._by_limit = {key: self._by_limit.get(key, {}) for key in known}
        for key, limit in known.items():
            if self._limits.get(key) is not limit:
                for counter in self._by_limit[key].values():
                    counter.follow(limit, now)
        self._limits = known

    def _look_at_some(self, now: float) -> None:
        for _ in range(min(_LOOKED_AT, len(self._round))):
            counter = self._round.popleft()
            group = self._by_limit.get(counter.limit.key, {})
            if group.get(counter.values) is not counter:
                continue
            if counter.turn != self._turn and counter.as_good_as_new(now):
                del group[counter.values]
            else:
                self._round.append(counter)
