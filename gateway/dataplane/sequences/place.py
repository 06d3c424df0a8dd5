"""The place of one request's sequence: carried out there, and remembered for as long as the sequence may go on."""

import msgspec

from gateway.dataplane.sequences.asked import Asked
from gateway.dataplane.sequences.lost import lost
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


class Place(msgspec.Struct, frozen=True):
    """Where the sequence is (`pin`). `new`: as of this request. `idle_s` 0: nothing is kept of it, so nothing is remembered."""

    asked: Asked
    name: Name
    pin: Pin
    new: bool
    idle_s: float
    pins: Pins

    async def run(self, pool: UpstreamPool, exchange: Exchange, target: Target, *, grpc: bool) -> None:
        """Carry the exchange out there, or nowhere; never twice. Raises CONFLICT where the state is gone, else as the pool does."""
        try:
            await pool.run_at(self.pin.endpoint, exchange, target, grpc=grpc)
        except StateGone as gone:
            await self._forget_new()
            raise lost(gone.reason, self.asked.id) from gone
        except GatewayError:
            await self._forget_new()
            raise
        if exchange.status >= 400:
            await self._forget_new()
        elif self.idle_s and self.asked.end:
            await self.pins.drop(self.name, self.pin)
        elif self.idle_s:
            await self.pins.extend(self.name, self.pin, self.idle_s + SLACK_S)

    async def _forget_new(self) -> None:
        """What was not begun is not open. What was may go on: its caller can send the request again."""
        if self.new and self.idle_s:
            await self.pins.drop(self.name, self.pin)
