"""One call to the quota store, and its reply: the rows that `take.lua` works through, in MessagePack."""

from collections.abc import Iterable

import msgspec

from gateway.dataplane.quota.leased import LeasedCounter

FIRST_PLACE = 4
"""Of a counter among the keys of the script (Lua counts from 1)."""

Row = tuple[float, ...]


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """To one request: whether it was `granted`, and of each limit what is left, after how long the request fits, and after
    how long it would fit if nothing were held.
    """

    granted: int
    rows: list[tuple[float, float, float]]


class BatchReply(msgspec.Struct, frozen=True, array_like=True):
    """How many workers there are, since when the store counts, for how long it `settles_s` where it may have forgotten,
    answers to requests, and what was leased ahead.
    """

    workers: int
    since: str
    settles_s: float
    answers: list[Answer]
    leased: list[tuple[int, float]]


_decoder = msgspec.msgpack.Decoder(BatchReply)


class Batch:
    """What one call says. `keys` are those of its counters, in the order of their places."""

    def __init__(self, prefix: str) -> None:
        self.keys: list[str] = []
        self._prefix = prefix
        self._places: dict[LeasedCounter, int] = {}
        self._floors: list[Row] = []
        self._charges: list[Row] = []
        self._reports: list[Row] = []
        self._asks: list[list[Row]] = []
        self._wants: list[Row] = []

    def __bool__(self) -> bool:
        return bool(self.keys)

    def floor(self, counter: LeasedCounter, level: float) -> None:
        """So much was counted at least."""
        self._floors.append((self._place(counter), counter.limit.rate, level))

    def charge(self, counter: LeasedCounter, units: float) -> None:
        """Units were used without asking; they fill the limit at most."""
        limit = counter.limit
        self._charges.append((self._place(counter), limit.rate, units, limit.burst))

    def report(self, counter: LeasedCounter, used: int) -> None:
        """So much of what was held is used, and so much is held now."""
        held = counter.held + counter.stock
        self._reports.append((self._place(counter), counter.limit.rate, used, held))

    def ask(self, wanted: Iterable[tuple[LeasedCounter, int]]) -> None:
        """Hold all of this or nothing."""
        self._asks.append([self._row(counter, amount) for counter, amount in wanted])

    def want(self, counter: LeasedCounter, units: int, least: int) -> None:
        """Hold up to so many, or none where there are fewer than `least`."""
        self._wants.append((*self._row(counter, units), least))

    def encode(self) -> bytes:
        """For the script."""
        return msgspec.msgpack.encode((self._floors, self._charges, self._reports, self._asks, self._wants))

    def _row(self, counter: LeasedCounter, units: int) -> Row:
        limit = counter.limit
        return self._place(counter), limit.rate, limit.burst, units

    def _place(self, counter: LeasedCounter) -> int:
        place = self._places.get(counter)
        if place is None:
            place = self._places[counter] = FIRST_PLACE + len(self.keys)
            # No name has a bar, so no two counters share a key.
            parts = (*map(str, counter.limit.key), *(value or "" for value in counter.values))
            self.keys.append(self._prefix + "|".join(parts))
        return place


def decode_reply(data: bytes) -> BatchReply:
    """The script's reply. Raises `msgspec.DecodeError` for anything else."""
    return _decoder.decode(data)
