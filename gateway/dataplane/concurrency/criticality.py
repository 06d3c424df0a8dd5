"""How much a call matters when there is not enough for all: the four levels of chapter 21, "Handling Overload", of
Google's "Site Reliability Engineering".
"""

from gateway.errors import GatewayError, Kind
from gateway.types import Permit

NAMES = ("critical-plus", "critical", "sheddable-plus", "sheddable")
"""From the one that is served to the last to the one that is shed first; a level is an index into it."""

CRITICAL_PLUS = 0
CRITICAL = 1
"""What a call is that says nothing."""

_LEVELS = {name.encode(): level for level, name in enumerate(NAMES)}


def level_of(value: bytes | None, permit: Permit) -> int:
    """The level that a caller's `Maas-Criticality` asks for. Raises BAD_REQUEST for what is none, FORBIDDEN for one that
    is not the caller's to ask for.
    """
    if value is None:
        return CRITICAL
    level = _LEVELS.get(value)
    if level is None:
        raise GatewayError(
            Kind.BAD_REQUEST, f"Maas-Criticality is none of {', '.join(NAMES)}; leave it out for critical."
        )
    if level == CRITICAL_PLUS and not permit.may_go_first:
        raise GatewayError(
            Kind.FORBIDDEN,
            f"{permit.principal.id} may not call alias {permit.alias.name} as critical-plus; leave Maas-Criticality out, "
            "or ask who keeps the policy for the action critical-plus.",
        )
    return level
