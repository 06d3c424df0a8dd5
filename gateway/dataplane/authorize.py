"""Whether the principal may do this with the alias. The only place that makes a `Permit`."""

import logging

from gateway.errors import GatewayError, Kind, Source
from gateway.observe.metrics import AUTHORIZATIONS, DECISIONS
from gateway.snapshot.compile import Snapshot
from gateway.types import Action, Alias, Permit, Principal

log = logging.getLogger(__name__)

_MOST_REMEMBERED = 100_000
_NO_TEAM = "-"
_count = AUTHORIZATIONS.by


def authorize(principal: Principal, alias: str, action: Action, snapshot: Snapshot) -> Permit:
    """The permit, remembered for as long as the snapshot lives.

    Raises NOT_FOUND for an alias that does not exist or that the principal may not see, in the same words and at the
    same cost; FORBIDDEN to who may see it; UNAVAILABLE when the decision itself fails, which never allows anything.
    """
    remembered = (principal.id, principal.key_id, principal.roles, alias, action)
    permit = snapshot.permits.get(remembered)
    if permit is None:
        permit = _decide(principal, alias, action, snapshot)
        if len(snapshot.permits) >= _MOST_REMEMBERED:
            snapshot.permits.clear()
        snapshot.permits[remembered] = permit
    _count["allowed"] += 1
    return permit


def _decide(principal: Principal, name: str, action: Action, snapshot: Snapshot) -> Permit:
    DECISIONS.inc()
    alias = snapshot.aliases.get(name)
    team = _NO_TEAM if alias is None else alias.team
    try:
        infers = snapshot.decide(principal.id, team, name, "infer", principal.roles)
        may_read = snapshot.decide(principal.id, team, name, "read", principal.roles)
        may_pin = snapshot.decide(principal.id, team, name, "pin", principal.roles)
        may_go_first = snapshot.decide(principal.id, team, name, "critical-plus", principal.roles)
    except Exception as error:
        raise _undecided(error) from error
    if alias is None or not (infers or may_read):
        _count["not_found"] += 1
        raise GatewayError(Kind.NOT_FOUND, f"There is no alias {name!r}, or you may not see it.")
    if action == "infer" and not infers:
        _count["forbidden"] += 1
        raise GatewayError(
            Kind.FORBIDDEN,
            f"{principal.id} may see alias {name!r} but not call it; ask team {alias.team}.",
            fields=() if alias.deprecation is None else alias.deprecation.fields,
        )
    return Permit(principal, alias, action, may_pin, may_go_first)


def may_infer(principal: Principal, alias: Alias, snapshot: Snapshot) -> bool:
    """Whether the principal may call the alias, for lists of them. Raises UNAVAILABLE when the decision itself fails."""
    try:
        return snapshot.decide(principal.id, alias.team, alias.name, "infer", principal.roles)
    except Exception as error:
        raise _undecided(error) from error


def _undecided(error: Exception) -> GatewayError:
    _count["failed"] += 1
    log.error("the policy decision failed", exc_info=error)
    return GatewayError(
        Kind.UNAVAILABLE, "The policy cannot be decided now.", source=Source.GATEWAY, retry_after_s=1
    )
