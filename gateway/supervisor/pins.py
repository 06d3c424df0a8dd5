"""Which sequences are open, and where each one is: a table in memory that all workers of a host see, and write.

A tenant has shelves of `PLACES` places, as many as its most allows; so what one tenant fills is never another one's, and
nobody has to count. A place whose time has passed is free. All is found, kept and let go under one lock of the kernel's, which
falls with the process that holds it; a worker killed within leaves a place without a key, so nothing half written is found.
"""

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

PLACES = 64
"""Of a shelf."""

_DIGEST_BYTES = 8
_KEY_BYTES = 16
_NAME_BYTES = 128
_NO_TENANT, _NO_KEY = bytes(_DIGEST_BYTES), bytes(_KEY_BYTES)
_MOMENT = struct.Struct("<d")
# Until when, which sequence of that key it is, its version, its endpoint's digest, its model.
_ROW = struct.Struct(f"<dQQ{_DIGEST_BYTES}s{_NAME_BYTES + 1}p")
_SHELF_BYTES = PLACES * (_KEY_BYTES + _ROW.size)
_HEAD_BYTES = _DIGEST_BYTES + _MOMENT.size

Full = Literal["principal", "table"]
"""Whose room is used up: the tenant's own, or all there is."""


class Busy(Exception):
    """Another worker holds the table just now: some ten microseconds, unless it was stopped or waits for a core."""


class Pin(msgspec.Struct, frozen=True):
    """Where a sequence is. `life` tells it from others under the same key; `endpoint` is a digest of 8 bytes."""

    life: int
    model: str
    version: int
    endpoint: bytes


class PinTable:
    """The table, of `shelves`. `fd` can be inherited: the same memory is seen by every process that makes its table of it.

    Tenants are digests of 8 bytes, keys of 16, none of them zero. `clock` is monotonic seconds, the same in all processes.
    """

    def __init__(self, fd: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, os.fstat(fd).st_size)
        self.shelves = len(self._memory) // (_HEAD_BYTES + _SHELF_BYTES)
        self._latest = self.shelves * _DIGEST_BYTES
        self._keys = self.shelves * _HEAD_BYTES
        self._rows = self._keys + self.shelves * PLACES * _KEY_BYTES
        self._clock = clock

    @classmethod
    def create(cls, most: int, clock: Callable[[], float] = time.monotonic) -> "PinTable":
        """A new table for `most` sequences; what nobody has written to takes no memory."""
        fd = os.memfd_create("maas-sequences")
        os.ftruncate(fd, shelves_for(most) * (_HEAD_BYTES + _SHELF_BYTES))
        return cls(fd, clock)

    def find(self, tenant: bytes, key: bytes) -> Pin | None:
        """Where the sequence is; None where it is not open. Raises `Busy`, as all that follow."""
        with self._locked():
            place = self._find(tenant, key)
            if place is None:
                return None
            until, life, version, endpoint, model = self._row(place)
            if until <= self._clock():
                return None
            return Pin(life, model.decode(), version, endpoint)

    def keep(self, tenant: bytes, key: bytes, pin: Pin, for_s: float, most_shelves: int) -> Full | None:
        """Have the sequence there for so long; whose room is full where there is none for one more."""
        now = self._clock()
        with self._locked():
            place = self._find(tenant, key)
            if place is None:
                found = self._free_place(tenant, now, most_shelves)
                if isinstance(found, str):
                    return found
                place = found
            at = self._keys + place * _KEY_BYTES
            self._memory[at : at + _KEY_BYTES] = _NO_KEY
            row = (now + for_s, pin.life, pin.version, pin.endpoint, pin.model.encode())
            _ROW.pack_into(self._memory, self._rows + place * _ROW.size, *row)
            self._memory[at : at + _KEY_BYTES] = key
            self._note_latest(place, now + for_s)
            return None

    def extend(self, tenant: bytes, key: bytes, life: int, for_s: float) -> None:
        """Have the sequence, if it is still the one of that `life`, stay for so long from now on."""
        until = self._clock() + for_s
        with self._locked():
            place = self._find(tenant, key)
            if place is not None and self._row(place)[1] == life:
                _MOMENT.pack_into(self._memory, self._rows + place * _ROW.size, until)
                self._note_latest(place, until)

    def drop(self, tenant: bytes, key: bytes, life: int) -> None:
        """The sequence, if it is still the one of that `life`, is not open any more."""
        with self._locked():
            place = self._find(tenant, key)
            if place is not None and self._row(place)[1] == life:
                at = self._keys + place * _KEY_BYTES
                self._memory[at : at + _KEY_BYTES] = _NO_KEY
                self._free_if_bare(place // PLACES)

    def open(self) -> int:
        """How many sequences are open. Some microseconds for each that was, so not for every request."""
        now = self._clock()
        found = 0
        for shelf in range(self.shelves):
            if self._moment_of(shelf) > now:
                places = range(shelf * PLACES, (shelf + 1) * PLACES)
                found += sum(self._key(place) != _NO_KEY and self._row(place)[0] > now for place in places)
        return found

    # --- shelves ---

    def _shelves_of(self, tenant: bytes) -> Iterator[int]:
        owners = self._memory[: self._latest]
        at = owners.find(tenant)
        while at >= 0:
            if not at % _DIGEST_BYTES:
                yield at // _DIGEST_BYTES
            at = owners.find(tenant, at + 1)

    def _moment_of(self, shelf: int) -> float:
        moment: float = _MOMENT.unpack_from(self._memory, self._latest + shelf * _MOMENT.size)[0]
        return moment

    def _note_latest(self, place: int, until: float) -> None:
        shelf = place // PLACES
        if until > self._moment_of(shelf):
            _MOMENT.pack_into(self._memory, self._latest + shelf * _MOMENT.size, until)

    def _free_if_bare(self, shelf: int) -> None:
        at = self._keys + shelf * PLACES * _KEY_BYTES
        if self._memory[at : at + PLACES * _KEY_BYTES] == _NO_KEY * PLACES:
            _MOMENT.pack_into(self._memory, self._latest + shelf * _MOMENT.size, 0.0)

    # --- places ---

    def _find(self, tenant: bytes, key: bytes) -> int | None:
        for shelf in self._shelves_of(tenant):
            place = self._find_in(shelf, key)
            if place is not None:
                return place
        return None

    def _find_in(self, shelf: int, key: bytes) -> int | None:
        start = self._keys + shelf * PLACES * _KEY_BYTES
        keys = self._memory[start : start + PLACES * _KEY_BYTES]
        at = keys.find(key)
        while at >= 0:
            if not at % _KEY_BYTES:
                return shelf * PLACES + at // _KEY_BYTES
            at = keys.find(key, at + 1)
        return None

    def _free_place(self, tenant: bytes, now: float, most_shelves: int) -> int | Full:
        own = list(self._shelves_of(tenant))
        for shelf in own:
            place = self._find_in(shelf, _NO_KEY)
            if place is not None:
                return place
        for place in (shelf * PLACES + number for shelf in own for number in range(PLACES)):
            if self._row(place)[0] <= now:
                return place
        if len(own) >= most_shelves:
            return "principal"
        free = self._free_shelf(now)
        if free is None:
            return "table"
        at = self._keys + free * PLACES * _KEY_BYTES
        self._memory[at : at + PLACES * _KEY_BYTES] = _NO_KEY * PLACES
        _MOMENT.pack_into(self._memory, self._latest + free * _MOMENT.size, 0.0)
        self._memory[free * _DIGEST_BYTES : (free + 1) * _DIGEST_BYTES] = tenant
        return free * PLACES

    def _free_shelf(self, now: float) -> int | None:
        """One on which nothing is open any more."""
        return next((shelf for shelf in range(self.shelves) if self._moment_of(shelf) <= now), None)

    def _key(self, place: int) -> bytes:
        at = self._keys + place * _KEY_BYTES
        return self._memory[at : at + _KEY_BYTES]

    def _row(self, place: int) -> tuple[float, int, int, bytes, bytes]:
        return _ROW.unpack_from(self._memory, self._rows + place * _ROW.size)

    # --- the lock ---

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Busy from error
        try:
            yield
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN)


def shelves_for(most: int) -> int:
    """How many shelves hold so many sequences."""
    return -(-most // PLACES)
