"""Calls whose state only one server has: what becomes of them where that server cannot be asked."""

from typing import Literal

from gateway.errors import GatewayError, Kind, Source

Reason = Literal["endpoint", "unloaded", "worker"]


class StateGone(Exception):
    """The state is gone: its `endpoint` is none of the pool's, it has `unloaded` the version, or another `worker` has it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


def not_ready() -> GatewayError:
    """The server may still have the state, and nobody else has."""
    return GatewayError(
        Kind.UNAVAILABLE,
        "The server that keeps the state of this sequence is not ready now. Send the same request again shortly, or begin the "
        "sequence anew, with sequence_start.",
        source=Source.UPSTREAM,
        retry_after_s=1,
    )
