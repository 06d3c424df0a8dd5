"""Where pins are kept: in memory that the workers of this host share, or in a Redis that several hosts share."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from gateway.dataplane.sequences.names import Name
from gateway.errors import GatewayError, Kind, Source
from gateway.supervisor.pins import Busy, Full, Pin, PinTable, shelves_for

T = TypeVar("T")

_WAIT_S = 1.0
"""On a busy machine a worker may wait for a core while it holds the table. Nobody else's calls wait with it."""

_PAUSE_S = 0.0005


class Pins(Protocol):
    """The pins of open sequences. All verbs raise UNAVAILABLE where it cannot be said what is kept."""

    async def find(self, name: Name) -> Pin | None:
        """Where the sequence is; None where it is not open, as far as is known."""

    async def keep(self, name: Name, pin: Pin, for_s: float) -> Full | None:
        """Have it there for so many seconds; whose room is full where there is none for one more."""

    async def extend(self, name: Name, pin: Pin, for_s: float) -> None:
        """Have it stay for so long from now on, if it is still this one and did not begin anew meanwhile."""

    async def drop(self, name: Name, pin: Pin) -> None:
        """It is over, if it is still this one."""

    async def close(self) -> None:
        """Nothing is asked any more."""


class HostPins:
    """Those of one host, at most `most` of each tenant, which are counted in whole shelves."""

    def __init__(self, table: PinTable, most: int) -> None:
        self._table = table
        self._most_shelves = shelves_for(most)

    async def find(self, name: Name) -> Pin | None:
        """As `Pins` says."""
        return await _soon(partial(self._table.find, name.tenant, name.key))

    async def keep(self, name: Name, pin: Pin, for_s: float) -> Full | None:
        """As `Pins` says."""
        return await _soon(partial(self._table.keep, name.tenant, name.key, pin, for_s, self._most_shelves))

    async def extend(self, name: Name, pin: Pin, for_s: float) -> None:
        """As `Pins` says."""
        await _soon(partial(self._table.extend, name.tenant, name.key, pin.life, for_s))

    async def drop(self, name: Name, pin: Pin) -> None:
        """As `Pins` says."""
        await _soon(partial(self._table.drop, name.tenant, name.key, pin.life))

    async def close(self) -> None:
        """As `Pins` says: the table is the host's."""


async def _soon(verb: Callable[[], T]) -> T:
    """What the verb gives, once the table is free. Raises UNAVAILABLE where it does not become so: its holder was stopped."""
    until = time.monotonic() + _WAIT_S
    while True:
        try:
            return verb()
        except Busy as error:
            if time.monotonic() > until:
                raise unsaid() from error
        await asyncio.sleep(_PAUSE_S)


def unsaid() -> GatewayError:
    """Nobody can say now where a sequence is, so its request goes nowhere."""
    return GatewayError(
        Kind.UNAVAILABLE,
        "Where this sequence is kept cannot be told now; send the same request again shortly.",
        source=Source.GATEWAY,
        retry_after_s=1,
    )
