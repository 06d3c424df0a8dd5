"""Tells callers of what retires: with every reply, and instead of one in a brownout or after the end.

Dates are those of the wall clock, asked anew for each request: a clock that jumps retires early or late for as long as
it is wrong, and nothing longer.
"""

from datetime import UTC, datetime
from time import time as wall_clock

from gateway.dataplane.call import Call
from gateway.errors import GatewayError, Kind
from gateway.observe import metrics
from gateway.snapshot.compile import Snapshot
from gateway.snapshot.deprecation import fields_of_both, is_off, spell_at
from gateway.types import Deprecation, Permit, Target

RETIRED = "urn:maas:problem:retired"
"""The problem type of a 410 for good; its members: what retired (`alias`, or `model` and `version`), `sunset`, `successor`."""

BROWNOUT = "urn:maas:problem:brownout"
"""The problem type of a 410 for a while; its members are the same, and `until`."""


def announce(permit: Permit, call: Call) -> None:
    """Have every reply from here on, refusals too, tell of the end of the alias."""
    deprecation = permit.alias.deprecation
    if deprecation is not None:
        call.trail.fields += deprecation.fields
        if permit.action == "infer":
            metrics.DEPRECATED_REQUESTS.labels(permit.alias.name, "", "").inc()


def refuse_retired(permit: Permit, target: Target, call: Call) -> None:
    """Raises GONE where the alias, or the version that the caller names, is switched off now. Tells of that version's end.

    An alias that does not retire says nothing, even where its target does: moving it on is its owner's affair.
    """
    alias = permit.alias
    if alias.deprecation is not None and is_off(alias.deprecation, now := wall_clock()):
        raise retired(alias.deprecation, f"Alias {alias.name}", {"alias": alias.name}, now)
    version = target.deprecation
    if version is not None and call.version is not None:
        trail = call.trail
        if alias.deprecation is None:
            trail.fields += version.fields
        else:
            # Deprecation and Sunset may stand only once (RFC 9745 section 2, RFC 8594 section 3).
            own = alias.deprecation.fields
            trail.fields = (
                *(field for field in trail.fields if field not in own),
                *fields_of_both(alias.deprecation, version),
            )
        if permit.action == "infer":
            metrics.DEPRECATED_REQUESTS.labels(alias.name, target.model, str(target.version)).inc()
        if is_off(version, now := wall_clock()):
            raise retired(
                version,
                f"Version {target.version} of model {target.model}",
                {"model": target.model, "version": target.version},
                now,
            )


def tell_sunsets(snapshot: Snapshot) -> None:
    """Show the sunset of each alias of the snapshot in the metrics, and of no other alias."""
    metrics.SUNSET.clear()
    for alias in snapshot.aliases.values():
        if alias.deprecation is not None and alias.deprecation.sunset_at is not None:
            metrics.SUNSET.labels(alias.name).set(alias.deprecation.sunset_at)


def retired(deprecation: Deprecation, what: str, subject: dict[str, object], now: float) -> GatewayError:
    """What a caller is told at `now` (Unix seconds) of something that is off."""
    members = dict(subject)
    if deprecation.sunset_at is not None:
        members["sunset"] = _written(deprecation.sunset_at)
    if deprecation.successor is not None:
        members["successor"] = deprecation.successor
    instead = f"; call {deprecation.successor} instead" if deprecation.successor else ""
    spell = spell_at(deprecation, now)
    if spell is None or (deprecation.gone_at is not None and now >= deprecation.gone_at):
        detail = f"{what} has been retired{instead}."
        return GatewayError(Kind.GONE, detail, type_uri=RETIRED, members=members)
    # A brownout that goes on until the end is no reason to come back.
    again = deprecation.gone_at is None or spell[1] < deprecation.gone_at
    return GatewayError(
        Kind.GONE,
        f"{what} is about to be retired and is switched off for a short while, as announced{instead}.",
        retry_after_s=spell[1] - now if again else None,
        type_uri=BROWNOUT,
        members=members | {"until": _written(spell[1])},
    )


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
