"""The place of one request's sequence: carried out there, and remembered for as long as the sequence may go on."""

import contextlib
import time

import msgspec

from gateway.dataplane.sequences.asked import Asked
from gateway.dataplane.sequences.lost import lost, no_room
from gateway.dataplane.sequences.names import Name
from gateway.dataplane.sequences.pins import Pins
from gateway.errors import GatewayError
from gateway.supervisor.pins import Pin
from gateway.types import Target
from gateway.upstream.exchange import Exchange
from gateway.upstream.pools import UpstreamPool
from gateway.upstream.state import StateGone

SLACK_S = 1.0
"""A pin outlives the state at its server by so much, so that the server is who says that a sequence has lapsed."""

_FIRST_ERROR = 400


class Place(msgspec.Struct, frozen=True):
    """Where the sequence is (`pin`). `new`: as of this request. `idle_s` 0: nothing is kept of it, so nothing is remembered."""

    asked: Asked
    name: Name
    pin: Pin
    new: bool
    idle_s: float
    pins: Pins

    async def run(self, pool: UpstreamPool, exchange: Exchange, target: Target, *, grpc: bool) -> None:
        """Carry the exchange out there, or nowhere; never twice.

        Raises CONFLICT where the state is gone, QUOTA_EXCEEDED or UNAVAILABLE where one more has no room, else as the pool does.
        """
        await self._remember(exchange.deadline - time.monotonic())
        try:
            await pool.run_at(self.pin.endpoint, exchange, target, grpc=grpc)
        except StateGone as gone:
            await self._ended(_FIRST_ERROR)
            raise lost(gone.reason, self.asked.id) from gone
        except GatewayError:
            await self._ended(_FIRST_ERROR)
            raise
        await self._ended(exchange.status)

    async def _remember(self, left_s: float) -> None:
        """For as long as the call may take, and its server then waits for the next one."""
        for_s = max(left_s, 0.0) + self.idle_s + SLACK_S
        if not self.idle_s:
            return
        if not self.new:
            await self.pins.extend(self.name, self.pin, for_s)
        elif (full := await self.pins.keep(self.name, self.pin, for_s)) is not None:
            raise no_room(full, self.idle_s)

    async def _ended(self, status: int) -> None:
        """What was not begun is not open, nor what has ended. What was may go on: its caller can send a failed request again."""
        if not self.idle_s:
            return
        failed = status >= _FIRST_ERROR
        over = self.new if failed else self.asked.end
        # The caller has its answer: what cannot be noted now lapses later.
        with contextlib.suppress(GatewayError):
            if over:
                await self.pins.drop(self.name, self.pin)
            elif not failed:
                await self.pins.extend(self.name, self.pin, self.idle_s + SLACK_S)
