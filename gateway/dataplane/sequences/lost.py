"""What a caller is told whose sequence cannot go on, or cannot begin."""

from typing import Literal

from gateway.errors import GatewayError, Kind, Source
from gateway.observe.metrics import SEQUENCES_LOST, SEQUENCES_REFUSED
from gateway.supervisor.pins import Full

LOST = "urn:maas:problem:sequence-lost"
"""The problem type of a sequence whose state is gone. Its members: `sequence_id`, and why, as `reason`."""

Reason = Literal["version", "endpoint", "unloaded", "worker"]

_WHY: dict[Reason, str] = {
    "version": "the version that it was on is registered no more",
    "endpoint": "the server that kept its state serves this model no more",
    "unloaded": "its server has unloaded the version that it was on",
    "worker": "another worker of this host has its state (the embedded engine keeps sequences in one process)",
}


def lost(reason: Reason, sequence_id: int | str) -> GatewayError:
    """Its state is gone with what it was pinned to, and no other place has it."""
    SEQUENCES_LOST.labels(reason).inc()
    return GatewayError(
        Kind.CONFLICT,
        f"This sequence cannot go on: {_WHY[reason]}. Begin it anew, with sequence_start.",
        type_uri=LOST,
        members={"sequence_id": sequence_id, "reason": reason},
    )


def no_room(full: Full, idle_s: float) -> GatewayError:
    """The caller has as many sequences open as it may, or the gateway as many as it can."""
    SEQUENCES_REFUSED.labels(full).inc()
    if full == "principal":
        return GatewayError(
            Kind.QUOTA_EXCEEDED,
            "You have too many sequences open; end some with sequence_end, or wait until those that are left alone lapse.",
            retry_after_s=idle_s,
        )
    return GatewayError(
        Kind.UNAVAILABLE,
        "The gateway has too many sequences open; try again later.",
        source=Source.GATEWAY,
        retry_after_s=idle_s,
    )
