"""What a caller is told when there is no room for its call: 503 or, when its own time is up, 504."""

from gateway.dataplane.concurrency.criticality import NAMES
from gateway.errors import GatewayError, Kind, Source
from gateway.observe import metrics

REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
_RETRY_AFTER_S = 1.0

_WHY = {
    "queue_full": "{what} is busy, and as many of your calls as may wait for it do so already; send fewer at once",
    "gate_full": "{what} is busy, and as many calls as may wait for it do so already; try again",
    "evicted": "{what} is busy, and your call gave up its place for one that matters more or waits less; try again",
    "queue_timeout": "{what} is busy, and no place became free while your call waited; try again",
}


def shed(reason: str, what: str, level: int) -> GatewayError:
    """The refusal of a call of `level` to `what`, counted."""
    metrics.SHED.labels(reason, NAMES[level]).inc()
    return GatewayError(
        Kind.UNAVAILABLE,
        f"{_WHY[reason].format(what=what)} after the time in Retry-After.",
        source=Source.GATEWAY,
        retry_after_s=_RETRY_AFTER_S,
        type_uri=REDUCED_CAPACITY,
    )


def out_of_time(what: str, level: int) -> GatewayError:
    """The end of a call whose deadline passed while it waited, counted."""
    metrics.SHED.labels("deadline", NAMES[level]).inc()
    return GatewayError(
        Kind.DEADLINE,
        f"{what} is busy, and the call's deadline passed while it waited for a place; ask for more time.",
        source=Source.GATEWAY,
        retry_after_s=_RETRY_AFTER_S,
    )
