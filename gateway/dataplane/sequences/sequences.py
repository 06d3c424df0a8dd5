"""The sequences of one worker: how they are named, where they are remembered, and for how long."""

import asyncio
import time
from collections.abc import Callable

from gateway.dataplane.sequences.asked import Asked
from gateway.dataplane.sequences.names import Name, name_of
from gateway.dataplane.sequences.pins import Pins
from gateway.errors import GatewayError
from gateway.types import Target
from gateway.upstream.exchange import Deadlines
from gateway.upstream.pools import UpstreamPool
from gateway.upstream.tensors import VersionConfig, ask_config

TRITONS_IDLE_S = 1.0
"""Triton's own time-out, where a model's configuration has sequence batching and does not say."""

_ASKED_EVERY_S = 60.0
_ANSWER_S = 0.5
"""No request waits longer for what matters to later ones."""
_MOST_KNOWN = 10_000


class Sequences:
    """`secret` names them; `idle_s` is for models that do not tell. `clock` is monotonic seconds."""

    def __init__(
        self,
        secret: bytes,
        pins: Pins,
        idle_s: float,
        deadlines: Deadlines,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pins = pins
        self._secret = secret
        self._idle_s = idle_s
        self._deadlines = deadlines
        self._clock = clock
        # By `served_by`: how long, and until when that is believed.
        self._known: dict[bytes, tuple[float, float]] = {}

    def name(self, principal: str, alias: str, version: int | None, asked: Asked) -> Name:
        """The sequence's name."""
        return name_of(self._secret, principal, alias, version, asked)

    async def idle_s(self, target: Target, pool: UpstreamPool) -> float:
        """For how long the version keeps a sequence that is left alone; 0 for one that keeps none. Asked for once a minute."""
        known = self._known.get(target.served_by)
        now = self._clock()
        if known is not None and now < known[1]:
            return known[0]
        try:
            async with asyncio.timeout(_ANSWER_S):
                found = idle_s_of(await ask_config(pool, target, self._deadlines), self._idle_s)
        except (GatewayError, TimeoutError):
            # What was known a minute ago is better than a guess.
            found = self._idle_s if known is None else known[0]
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[target.served_by] = (found, now + _ASKED_EVERY_S)
        return found


def idle_s_of(config: VersionConfig, unsaid_s: float) -> float:
    """For how long a version with this configuration keeps a sequence. Of an ensemble, whose models decide, `unsaid_s`."""
    if config.sequence_batching is not None:
        return config.sequence_batching.max_sequence_idle_microseconds / 1e6 or TRITONS_IDLE_S
    return unsaid_s if config.ensemble_scheduling is not None else 0.0
