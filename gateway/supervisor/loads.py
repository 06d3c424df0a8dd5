"""What each worker of a host has to do for each named thing that they share: numbers in memory that all of them see.

A name has a row, in it each worker's place a record of `FIELDS` numbers and a ring of the last `EVENTS` events. Each worker
writes its own records, all read all; a record may be a moment old or half new, a number is never torn. What a worker
that has ended left behind counts no more, because its life is over, and is written over by the next one in its place.
"""

import hashlib
import mmap
import os
from collections.abc import Iterable, Sequence

FIELDS = 24
EVENTS, EVENT_FIELDS = 64, 4

_ROWS = 1024
"""Memory that nobody has written to takes none: 2 KiB for each worker and name."""

_LIFE, _NAME, _OWN = 0, 1, 2
_RECORD = _OWN + FIELDS
_STRIDE = _RECORD + EVENTS * EVENT_FIELDS
_BYTES = 8
_NAME_BITS = 52
"""So many a float holds exactly."""


class Loads:
    """The table. `fd` can be inherited: the same memory is seen by every process that makes its `Loads` of it."""

    def __init__(self, fd: int, places: int) -> None:
        self.fd = fd
        self.places = places
        self.cells = memoryview(mmap.mmap(fd, os.fstat(fd).st_size)).cast("d")
        self.rows = (len(self.cells) - places) // (places * _STRIDE)

    @classmethod
    def create(cls, places: int, rows: int = _ROWS) -> "Loads":
        """A new table, with nobody at its places."""
        fd = os.memfd_create("maas-loads")
        os.ftruncate(fd, (places + rows * places * _STRIDE) * _BYTES)
        return cls(fd, places)

    def occupy(self, place: int, life: int) -> None:
        """A worker begins at the place; no two have the same `life`, a number above 0."""
        self.cells[place] = life

    def vacate(self, place: int) -> None:
        """The worker at the place has ended."""
        self.cells[place] = 0


class OwnLoads:
    """The table as the worker at `place` uses it."""

    def __init__(self, loads: Loads, place: int) -> None:
        self._loads = loads
        self._place = place
        self._taken: dict[int, Row] = {}

    def claim(self, name: bytes) -> "Row | None":
        """What this worker writes and reads of `name`; None while it has another name in that row."""
        digest = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest()) >> (64 - _NAME_BITS)
        number = digest % self._loads.rows
        if number in self._taken:
            return None
        row = self._taken[number] = Row(self._loads, self._place, number, float(digest))
        return row

    def release(self, row: "Row") -> None:
        """Count no more for the row's name."""
        row.close()
        del self._taken[row.number]


class Row:
    """What the workers have to do for one name. Made by `OwnLoads.claim`."""

    def __init__(self, loads: Loads, place: int, number: int, name: float) -> None:
        self.number = number
        self.place = place
        self._cells = loads.cells
        self._places = loads.places
        self._name = name
        self._first = loads.places + number * loads.places * _STRIDE
        self._own = self._first + place * _STRIDE
        self._events = 0
        self._told = False

    @property
    def events(self) -> int:
        """How many events this worker has put there."""
        return self._events

    def put(self, events: Iterable[Sequence[float]]) -> None:
        """Add events of `EVENT_FIELDS` numbers each. They are there for the others once `tell` has told how many there are."""
        for event in events:
            at = self._own + _RECORD + self._events % EVENTS * EVENT_FIELDS
            for offset, number in enumerate(event):
                self._cells[at + offset] = number
            self._events += 1

    def tell(self, record: Sequence[float]) -> None:
        """Replace this worker's record by at most `FIELDS` numbers."""
        cells, own = self._cells, self._own
        for offset, number in enumerate(record, own + _OWN):
            cells[offset] = number
        if not self._told:
            cells[own + _NAME] = self._name
            cells[own + _LIFE] = cells[self.place]
            self._told = True

    def told(self) -> list[tuple[int, float, Sequence[float]]]:
        """Place, life and record of each worker that has something to do for the name, this one among them."""
        found: list[tuple[int, float, Sequence[float]]] = []
        cells = self._cells
        for place in range(self._places):
            at = self._first + place * _STRIDE
            life = cells[at]
            if life and life == cells[place] and cells[at + _NAME] == self._name:
                found.append((place, life, cells[at + _OWN : at + _RECORD].tolist()))
        return found

    def heard(self, place: int, since: int, until: int) -> Iterable[Sequence[float]]:
        """The events of the worker at `place` from number `since` to before `until`, as far as they are still there."""
        first = self._first + place * _STRIDE + _RECORD
        for number in range(max(since, until - EVENTS), until):
            at = first + number % EVENTS * EVENT_FIELDS
            yield self._cells[at : at + EVENT_FIELDS].tolist()

    def close(self) -> None:
        """Count no more."""
        self._cells[self._own + _LIFE] = 0
        self._told = False
