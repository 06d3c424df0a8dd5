"""How many connections each worker of a host holds: a few integers in memory that all of them see."""

import mmap
import os

ABSENT = -1
"""Stands at the place of a worker that accepts no connections."""

_BYTES = 4


class Shares:
    """One count a place. Each worker writes its own, all read all; a count may be a moment old, never torn.

    `fd` can be inherited: the same memory is seen by every process that makes its `Shares` of it.
    """

    def __init__(self, fd: int, places: int) -> None:
        self.fd = fd
        self.places = places
        self._counts = memoryview(mmap.mmap(fd, places * _BYTES)).cast("i")

    @classmethod
    def create(cls, places: int) -> "Shares":
        """A new table in which nobody accepts."""
        fd = os.memfd_create("maas-shares")
        os.ftruncate(fd, places * _BYTES)
        shares = cls(fd, places)
        for place in range(places):
            shares.tell(place, ABSENT)
        return shares

    def tell(self, place: int, connections: int) -> None:
        """The worker at `place` holds so many connections; `ABSENT` when it accepts none."""
        self._counts[place] = connections

    def of(self, place: int) -> int:
        """What the worker at `place` holds."""
        return self._counts[place]

    def least_beside(self, place: int) -> int | None:
        """The fewest connections that another accepting worker holds; None when no other accepts."""
        others = [count for other, count in enumerate(self._counts) if other != place and count != ABSENT]
        return min(others, default=None)
