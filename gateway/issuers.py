"""The declared issuers of tokens (`[issuers.NAME]`): whose JSON Web Tokens are accepted, and as whom.

A part of the settings. All faults are found before anything starts, and told together.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from gateway.addresses import web_address_problem
from gateway.types import NAME, ROLE

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Signatures with a private key (RFC 7518, RFC 8037). With HS* whoever can check a token could also make one."""

TEMPLATE = re.compile(r"(?P<kind>app|user):(?P<rest>(?:[A-Za-z0-9._-]|\{[^{}]+\})+)")
CLAIM = re.compile(r"\{([^{}]+)\}")
MOST_LEEWAY_S = 300.0
LEAST_REFRESH_S = 1.0


class RoleClaim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who has `value` in the claim has `role` in `team` (`*`: in every team).

    `claim` is a claim's name, or the names on the way to a nested one. Of a list any element counts, of `scope` any word.
    """

    claim: str | tuple[str, ...] = ""
    value: str = ""
    role: str = ""
    team: str = ""


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One issuer. `principal` is `app:` or `user:` and a name in which `{claim}` stands for a claim's text.

    `jwks_url` None: as the issuer's discovery document says. Times in seconds: keys are fetched anew every `refresh_s`, and
    the last good ones are used for at most `keep_s`.
    """

    issuer: str = ""
    audience: tuple[str, ...] = ()
    principal: str = ""
    jwks_url: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    roles: tuple[RoleClaim, ...] = ()
    leeway_s: float = 30.0
    refresh_s: float = 300.0
    keep_s: float = 604_800.0


def issuer_faults(issuers: Mapping[str, Issuer]) -> list[str]:
    """What forbids these issuers, one line each."""
    found = [f"{where}: {fault}" for name, each in issuers.items() for where, fault in _faults(name, each)]
    for url, count in Counter(each.issuer for each in issuers.values() if each.issuer).items():
        if count > 1:
            found.append(f"issuers: {count} of them have the issuer {url!r}; a token must belong to one")
    return found


def _faults(name: str, issuer: Issuer) -> Iterator[tuple[str, str]]:
    where = f"issuers.{name}"
    if not NAME.fullmatch(name):
        yield where, "an issuer's name is 1 to 128 letters, digits, '.', '_', '-'"
    yield from _address_faults(where, issuer)
    if not issuer.audience or not all(issuer.audience):
        yield (
            f"{where}.audience",
            "must name what tokens for this gateway have as `aud`; others are not for it",
        )
    if not issuer.algorithms:
        yield f"{where}.algorithms", f"must have some of {', '.join(ALGORITHMS)}"
    for algorithm in issuer.algorithms:
        if algorithm not in ALGORITHMS:
            yield f"{where}.algorithms", f"{algorithm!r} is not accepted; known are {', '.join(ALGORITHMS)}"
    template = TEMPLATE.fullmatch(issuer.principal)
    if template is None or not CLAIM.search(issuer.principal):
        yield (
            f"{where}.principal",
            "must be app: or user: and a name with a {claim}, as in user:{preferred_username}",
        )
    for number, each in enumerate(issuer.roles, start=1):
        for field, fault in _role_faults(each):
            yield f"{where}.roles[{number}].{field}", fault
    yield from _time_faults(where, issuer)


def _address_faults(where: str, issuer: Issuer) -> Iterator[tuple[str, str]]:
    if not issuer.issuer:
        yield f"{where}.issuer", "must be given: the `iss` of its tokens, as in https://id.example.com"
    if issuer.jwks_url is not None:
        # The issuer is then a text to compare, from which nothing is fetched; some have no address of their own.
        if (problem := web_address_problem(issuer.jwks_url)) is not None:
            yield f"{where}.jwks_url", f"{issuer.jwks_url!r} {problem}"
    elif issuer.issuer and (problem := web_address_problem(issuer.issuer)) is not None:
        yield f"{where}.issuer", f"{issuer.issuer!r} {problem}; or give jwks_url"
    elif "?" in issuer.issuer:
        yield (
            f"{where}.issuer",
            f"{issuer.issuer!r} has a query, so it has no discovery document; give jwks_url",
        )


def _role_faults(claim: RoleClaim) -> Iterator[tuple[str, str]]:
    if not claim.claim or (isinstance(claim.claim, tuple) and not all(claim.claim)):
        yield (
            "claim",
            'must be the name of a claim, or the names on the way to it, as in ["realm_access", "roles"]',
        )
    if not claim.value:
        yield "value", "must be the value that gives the role"
    if not ROLE.fullmatch(claim.role):
        yield "role", f"must be role:NAME, is {claim.role!r}"
    if claim.team != "*" and not NAME.fullmatch(claim.team):
        yield "team", f"must be the name of a team, or * for every team, is {claim.team!r}"


def _time_faults(where: str, issuer: Issuer) -> Iterator[tuple[str, str]]:
    if not 0 <= issuer.leeway_s <= MOST_LEEWAY_S:
        yield f"{where}.leeway_s", f"must be between 0 and {MOST_LEEWAY_S:g} seconds, is {issuer.leeway_s}"
    if not (math.isfinite(issuer.refresh_s) and issuer.refresh_s >= LEAST_REFRESH_S):
        yield f"{where}.refresh_s", f"must be at least {LEAST_REFRESH_S:g} second, is {issuer.refresh_s}"
    if not (math.isfinite(issuer.keep_s) and issuer.keep_s >= issuer.refresh_s):
        yield f"{where}.keep_s", f"must be at least refresh_s, is {issuer.keep_s}"
