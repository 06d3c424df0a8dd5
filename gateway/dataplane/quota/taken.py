"""What one request has taken of its limits, until it ends."""

from collections.abc import Sequence
from typing import Protocol

from gateway.dataplane.call import Call
from gateway.dataplane.quota.amounts import outcome_of
from gateway.dataplane.quota.limits import Counter


class Ledger(Protocol):
    """Whoever counts. Times are monotonic seconds."""

    def settle(self, counter: Counter, held: int, used: int, now: float) -> None:
        """Of what was held so many units were used: count them, whether there is room or not, and let go of the rest."""

    def hold(self, counter: Counter, units: int, counted_at: float, now: float) -> None:
        """Hold what was counted a moment ago."""


class Taken:
    """Units of each counter, taken at `at` (monotonic seconds). It ends once; whatever is said to it then changes nothing.

    `lasting`: some of them are held until the end. `unmeasured`: so are bytes, since nobody has told how many there will be.
    """

    __slots__ = ("_amounts", "_at", "_counters", "_lasting", "_ledger", "_unmeasured", "_waiting")

    def __init__(
        self,
        lasting: bool,
        counters: Sequence[Counter],
        amounts: Sequence[int],
        at: float,
        ledger: Ledger,
        *,
        unmeasured: bool = False,
    ) -> None:
        self._lasting = lasting or unmeasured
        self._unmeasured = unmeasured
        self._waiting = False
        self._counters = counters
        self._amounts = amounts
        self._at = at
        self._ledger = ledger
        if unmeasured:
            self._hold_bytes(counters, amounts)

    def also(self, counters: Sequence[Counter], amounts: Sequence[int]) -> None:
        """More was taken for the same request."""
        self._counters = (*self._counters, *counters)
        self._amounts = (*self._amounts, *amounts)
        if self._unmeasured:
            self._hold_bytes(counters, amounts)

    def wait(self, now: float) -> None:
        """The request has to wait, and may not be served at all: hold all of it until `go` or `give_back`."""
        self._waiting = True
        for counter, amount in zip(self._counters, self._amounts, strict=True):
            if not self._holds(counter):
                self._ledger.hold(counter, amount, self._at, now)

    def go(self, now: float) -> None:
        """The request that waited is served after all."""
        if self._waiting:
            self._waiting = False
            for counter, amount in zip(self._counters, self._amounts, strict=True):
                if not self._holds(counter):
                    self._ledger.settle(counter, amount, amount, now)

    def give_back(self, now: float) -> None:
        """The request was not served, for the gateway's own sake: nothing of it counts."""
        if not self._waiting:
            self.wait(now)
        for counter, amount in self._let_go():
            self._ledger.settle(counter, amount, 0, now)

    def end(self, call: Call, now: float) -> None:
        """The request is over: count what it has used, and let go of what it held."""
        if self._waiting:
            self.give_back(now)
        elif self._lasting:
            for counter, amount in self._let_go():
                if self._holds(counter):
                    self._ledger.settle(counter, amount, outcome_of(counter, amount, call), now)

    def _holds(self, counter: Counter) -> bool:
        return counter.holds or (self._unmeasured and counter.limit.unit == "content-bytes")

    def _hold_bytes(self, counters: Sequence[Counter], amounts: Sequence[int]) -> None:
        for counter, amount in zip(counters, amounts, strict=True):
            if counter.limit.unit == "content-bytes":
                self._ledger.hold(counter, amount, self._at, self._at)

    def _let_go(self) -> list[tuple[Counter, int]]:
        counters, self._counters = self._counters, ()
        amounts, self._amounts = self._amounts, ()
        return list(zip(counters, amounts, strict=True))
