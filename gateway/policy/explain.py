"""Why a decision is what it is, in words for the person who asks."""

import msgspec

from gateway.policy.roles import RoleGraph
from gateway.policy.rules import ALLOW, ANY, Grant, PolicyRules


class DecidingGrant(msgspec.Struct, frozen=True):
    """A `p` row that decides: its number (from 1), and the names from the subject to whom the row speaks
    of."""

    row: int
    grant: Grant
    path: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True):
    """A decision with its grounds.

    `grants` are the rows that decide: those that deny where any does, else those that allow. `overruled` are
    the rows that would have allowed. `roles` are all roles that the subject has in the domain; `text` says it
    in words.
    """

    allowed: bool
    grants: tuple[DecidingGrant, ...]
    overruled: tuple[DecidingGrant, ...]
    roles: frozenset[str]
    text: str


def explain(
    rules: PolicyRules,
    graph: RoleGraph,
    subject: str,
    domain: str,
    obj: str,
    action: str,
    given: tuple[str, ...] = (),
) -> Explanation:
    """Reads every row, as Casbin would; for people and the control plane, not for the way of a request.

    `given` are roles that the subject has in the domain beside those of the rows.
    """
    paths = graph.paths(subject, domain, given)
    allowing: list[DecidingGrant] = []
    denying: list[DecidingGrant] = []
    if subject and domain and obj and action:
        for row, grant in enumerate(rules.grants, start=1):
            if grant.subject in paths and _speaks_of(grant, domain, obj, action):
                found = DecidingGrant(row, grant, paths[grant.subject])
                (allowing if grant.effect == ALLOW else denying).append(found)
    allowed = bool(allowing) and not denying
    roles = frozenset(paths) - {subject}
    asked = f"{subject or 'nobody'} {'may' if allowed else 'may not'} {action} {obj} in {domain}"
    if denying:
        text = f"{asked}: {_rows(denying)}"
        if allowing:
            text += f". A deny wins over every allow, here over {_rows(allowing)}"
    elif allowing:
        text = f"{asked}: {_rows(allowing)}"
    elif not (subject and domain and obj and action):
        text = f"{asked}: a request with an empty subject, domain, object or action is always denied"
    elif roles:
        held = ", ".join(sorted(roles))
        text = f"{asked}: no row allows it, neither to {subject} nor to its roles there, {held}"
    else:
        text = f"{asked}: no row allows it to {subject}, which has no role there"
    return Explanation(
        allowed=allowed,
        grants=tuple(denying or allowing),
        overruled=tuple(allowing) if denying else (),
        roles=roles,
        text=text + ".",
    )


def _speaks_of(grant: Grant, domain: str, obj: str, action: str) -> bool:
    return grant.domain in (ANY, domain) and grant.object in (ANY, obj) and grant.action in (ANY, action)


def _rows(found: list[DecidingGrant]) -> str:
    return " and ".join(_row(each) for each in found)


def _row(found: DecidingGrant) -> str:
    grant = found.grant
    verb = f"lets {grant.subject}" if grant.effect == ALLOW else f"forbids {grant.subject} to"
    what = f"{_word(grant.action, 'do anything to')} {_word(grant.object, 'any object')}"
    way = "" if len(found.path) == 1 else f" ({' > '.join(found.path)})"
    return f"p row {found.row} {verb} {what} in {_word(grant.domain, 'any domain')}{way}"


def _word(value: str, wildcard: str) -> str:
    return wildcard if value == ANY else value
