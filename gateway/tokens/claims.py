"""From a verified token's claims to its principal: time, audience, name and roles. Pure look-ups and comparisons."""

from collections.abc import Mapping
from typing import Any

from gateway.issuers import CLAIM, Issuer, RoleClaim
from gateway.tokens.form import Refused
from gateway.types import PRINCIPAL, Principal, Roles

_WORDS = (("scope",), ("scp",))
"""Claims that are lists written as text: RFC 8693 section 4.2, and Microsoft's name for it."""


def principal_of(name: str, issuer: Issuer, key_id: str, claims: Mapping[str, Any], now: float) -> Principal:
    """Whom the claims of the issuer called `name` speak of, at `now` (Unix seconds). Raises `Refused`."""
    expires_at = _in_time(name, issuer, claims, now)
    audience = claims.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not any(
        isinstance(each, str) and each in issuer.audience for each in named
    ):
        raise Refused("audience", name)
    if "cnf" in claims:
        # Bound to a key that its sender would have to prove (RFC 7800): as a mere bearer's it was stolen, or nearly so.
        raise Refused("bound", name)
    try:
        found = CLAIM.sub(lambda match: _text(claims[match[1]]), issuer.principal)
    except (KeyError, TypeError):
        raise Refused("principal", name) from None
    if not PRINCIPAL.fullmatch(found):
        raise Refused("principal", name)
    return Principal(found, f"{name}/{key_id}", expires_at, _roles(issuer.roles, claims), name)


def _in_time(name: str, issuer: Issuer, claims: Mapping[str, Any], now: float) -> float:
    """Until when the token is accepted, in Unix seconds."""
    if "exp" not in claims:
        raise Refused("expired", name)
    expires_at = float(claims["exp"] + issuer.leeway_s)
    if expires_at <= now:
        raise Refused("expired", name)
    if max(claims.get("nbf", 0), claims.get("iat", 0)) > now + issuer.leeway_s:
        raise Refused("not_yet", name)
    return expires_at


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a principal's name is made of text")
    return value


def _roles(rules: tuple[RoleClaim, ...], claims: Mapping[str, Any]) -> Roles:
    return tuple(dict.fromkeys((rule.role, rule.team) for rule in rules if _has(rule, claims)))


def _has(rule: RoleClaim, claims: Mapping[str, Any]) -> bool:
    path = (rule.claim,) if isinstance(rule.claim, str) else rule.claim
    found: Any = claims
    for step in path:
        if not isinstance(found, Mapping) or step not in found:
            return False
        found = found[step]
    if path in _WORDS and isinstance(found, str):
        found = found.split(" ")
    return rule.value in found if isinstance(found, list) else bool(found == rule.value)
