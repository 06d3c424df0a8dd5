"""How requests are refused: those over their quota, and those whose quota cannot be counted."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.dataplane.quota.fields import lack_field
from gateway.dataplane.quota.limits import Limit
from gateway.errors import GatewayError, Kind, Source
from gateway.types import Field

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"

SLOT_RETRY_S = 1.0
"""When to ask again for one of so many requests at a time."""

STORE_RETRY_S = 5.0
"""When to ask again for what only the quota store can count."""


class Lack(NamedTuple):
    """A limit without room for `amount`: `left` there is, and in `after_s` seconds there will be room."""

    limit: Limit
    amount: int
    left: float
    after_s: float


def lack_of(limit: Limit, amount: int, left: float, after_s: float) -> Lack:
    """The lack of a limit in which the amount fits in `after_s`. What never fits is told to come back after a window."""
    left = min(left, amount - 1)
    if not limit.window_s:
        return Lack(limit, amount, left, SLOT_RETRY_S)
    return Lack(limit, amount, left, limit.window_s if amount > limit.burst else after_s)


def count_refusals(lacks: Sequence[Lack]) -> None:
    """These limits refused, or would have."""
    for lack in lacks:
        lack.limit.tally.refused += 1


def over_quota(policy_field: Field, lacks: Sequence[Lack]) -> GatewayError:
    """429, counted, with the fields that say why; 413 for a request that can never have so much."""
    count_refusals(lacks)
    # What is more than ever fits would come back for ever.
    never = any(lack.limit.rate and lack.amount > lack.limit.burst for lack in lacks)
    return GatewayError(
        Kind.TOO_LARGE if never else Kind.QUOTA_EXCEEDED,
        f"Over quota: {'; '.join(map(_why, lacks))}.",
        retry_after_s=None if never else max(lack.after_s for lack in lacks),
        type_uri=QUOTA_EXCEEDED,
        members={"violated-policies": [lack.limit.name for lack in lacks]},
        fields=(policy_field, lack_field((lack.limit, lack.left, lack.after_s) for lack in lacks)),
    )


def _why(lack: Lack) -> str:
    limit = lack.limit
    if not limit.rate:
        return (
            f"{limit.name} allows {_counted(limit.quota, 'requests')} at a time; wait for one of them to end"
        )
    if lack.amount > limit.burst:
        return (
            f"this request counts as {_counted(lack.amount, limit.unit)}, and {limit.name} never allows more than "
            f"{limit.burst} at once; make it smaller"
        )
    return f"{limit.name} allows {_counted(limit.quota, limit.unit)} in {limit.window_s} s; try again later"


def _counted(count: int, units: str) -> str:
    return f"{count} {units.removesuffix('s') if count == 1 else units}"


def not_counted(names: Sequence[str]) -> GatewayError:
    """503: these limits refuse while they cannot be counted across workers."""
    return GatewayError(
        Kind.UNAVAILABLE,
        f"The gateway cannot count {', '.join(names)} across its workers now; try again later.",
        source=Source.GATEWAY,
        retry_after_s=STORE_RETRY_S,
        type_uri=REDUCED_CAPACITY,
        members={"violated-policies": list(names)},
    )
