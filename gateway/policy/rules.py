"""The rows of a policy, in Casbin's terms, and what must hold of them before they may decide anything.

`p, SUBJECT, DOMAIN, OBJECT, ACTION, EFFECT` grants or denies; `g, SUBJECT, ROLE, DOMAIN` gives a role. A
domain is the team that owns the alias, or `platform`; an object is an alias or a resource of the control
plane.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import get_args

import msgspec

from gateway.policy.chains import MAX_LINKS, TooEntangledError, deep_chains
from gateway.policy.source import PolicyError, text_of
from gateway.types import NAME, NAME_PATTERN, ROLE, Action

ANY = "*"
"""Any domain, object or action in a `p` row, every domain in a `g` row; never a subject, a role or a part of
a name."""

ACTIONS: tuple[str, ...] = get_args(Action)
RESOURCES = ("@keys", "@policy", "@pools", "@models", "@quotas", "@samples", "@audit", "@workers")
"""What the control plane itself guards. `@` cannot begin an alias, so no alias can be taken for one of
these."""

PLATFORM = "platform"
"""The domain of the resources."""

ALLOW, DENY = "allow", "deny"
SUBJECT = re.compile(rf"(?:app|user|role):{NAME_PATTERN}")
P_FIELDS = "a p row has subject, domain, object, action and effect"
G_FIELDS = "a g row has subject, role and domain"


class Grant(msgspec.Struct, frozen=True):
    """A `p` row: `effect` is exactly `allow` or `deny`."""

    subject: str
    domain: str
    object: str
    action: str
    effect: str = ALLOW


class RoleAssignment(msgspec.Struct, frozen=True):
    """A `g` row: within `domain`, `subject` (which may itself be a role) has all that `role` has."""

    subject: str
    role: str
    domain: str


class PolicyRules(msgspec.Struct, frozen=True):
    """All rows of a policy. Their order decides nothing; it numbers them in problems and explanations."""

    grants: tuple[Grant, ...] = ()
    roles: tuple[RoleAssignment, ...] = ()


def rules_from_rows(
    grants: Iterable[tuple[str, str, str, str, str]], roles: Iterable[tuple[str, str, str]]
) -> PolicyRules:
    """The rules of bare rows, without their leading `p` and `g`, as a snapshot carries them. Nothing is
    checked."""
    return PolicyRules(tuple(Grant(*row) for row in grants), tuple(RoleAssignment(*row) for row in roles))


def read_rules(path_or_text: Path | str) -> PolicyRules:
    """Reads and validates rules in Casbin's CSV dialect: `#` begins a comment line, fields are separated by
    commas and trimmed, and nothing is quoted. (What a `str` stands for: see `text_of`.)

    Raises `PolicyError` with all problems of the file, each with its line number. Rows that Casbin would drop
    without a word (`P, …`, `p2, …`) or stumble over at the first decision (a missing effect) are problems
    here.
    """
    grants: list[Grant] = []
    roles: list[RoleAssignment] = []
    lines: dict[str, list[int]] = {"p": [], "g": []}
    problems: list[tuple[int, str]] = []
    for number, raw in enumerate(text_of(path_or_text).split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        kind, *fields = (field.strip() for field in line.split(","))
        match kind, fields:
            case "p", [subject, domain, obj, action, effect]:
                grants.append(Grant(subject, domain, obj, action, effect))
                lines["p"].append(number)
            case "g", [subject, role, domain]:
                roles.append(RoleAssignment(subject, role, domain))
                lines["g"].append(number)
            case "p", _:
                problems.append((number, f"{len(fields)} fields after p; {P_FIELDS}"))
            case "g", _:
                problems.append((number, f"{len(fields)} fields after g; {G_FIELDS}"))
            case _:
                problems.append((number, f"a row begins with p or g, not with {kind!r}"))
    rules = PolicyRules(tuple(grants), tuple(roles))
    for kind, row, text in _problems(rules, lambda kind, row: f"line {lines[kind][row]}"):
        problems.append((lines[kind][row], text))
    if problems:
        raise PolicyError([f"line {number}: {text}" for number, text in sorted(problems)])
    return rules


def validate(rules: PolicyRules) -> list[str]:
    """All that forbids these rules to be used, one line each with its row (`p row 3`, counted from 1); empty
    when they are sound. An empty policy is sound and denies everything."""
    return [f"{kind} row {row + 1}: {text}" for kind, row, text in _problems(rules, _row_name)]


def _row_name(kind: str, row: int) -> str:
    return f"{kind} row {row + 1}"


def _problems(rules: PolicyRules, name: Callable[[str, int], str]) -> Iterator[tuple[str, int, str]]:
    """Each fault as (p or g, index of the row, what is wrong); `name` words a reference to another row."""
    first_grant: dict[Grant, int] = {}
    for row, grant in enumerate(rules.grants):
        for text in _grant_faults(grant):
            yield "p", row, text
        if (first := first_grant.setdefault(grant, row)) != row:
            yield "p", row, f"says the same as {name('p', first)}"
    first_role: dict[RoleAssignment, int] = {}
    for row, assignment in enumerate(rules.roles):
        for text in _assignment_faults(assignment):
            yield "g", row, text
        if (first := first_role.setdefault(assignment, row)) != row:
            yield "g", row, f"says the same as {name('g', first)}"
    try:
        chains = deep_chains([(each.subject, each.role, each.domain) for each in rules.roles])
    except TooEntangledError as error:
        chains = []
        yield (
            "g",
            error.row,
            "the roles from here on inherit each other in circles too wide to check; take them apart",
        )
    for row, chain in chains:
        away = f"{chain[-1]} is {len(chain) - 1} rows away from {chain[0]}"
        yield "g", row, f"{away}, more than the {MAX_LINKS} that are followed: {' > '.join(chain)}"


def _grant_faults(grant: Grant) -> Iterator[str]:
    yield from _name_fault("subject", grant.subject, SUBJECT, "app:NAME, user:NAME or role:NAME")
    if grant.domain != ANY:
        yield from _name_fault("domain", grant.domain, NAME, "the name of a team, or *")
    if grant.object != ANY and grant.object not in RESOURCES:
        wanted = f"the name of an alias, one of {', '.join(RESOURCES)}, or *"
        yield from _name_fault("object", grant.object, NAME, wanted)
    if grant.action != ANY and grant.action not in ACTIONS:
        yield _fault("action", grant.action, f"one of {', '.join(ACTIONS)}, or *")
    if grant.effect not in (ALLOW, DENY):
        yield _fault("effect", grant.effect, "exactly allow or deny")


def _assignment_faults(assignment: RoleAssignment) -> Iterator[str]:
    yield from _name_fault("subject", assignment.subject, SUBJECT, "app:NAME, user:NAME or role:NAME")
    yield from _name_fault("role", assignment.role, ROLE, "role:NAME")
    if assignment.domain != ANY:
        yield from _name_fault("domain", assignment.domain, NAME, "the name of a team, or *")


def _name_fault(field: str, value: str, pattern: re.Pattern[str], wanted: str) -> Iterator[str]:
    if not pattern.fullmatch(value):
        yield _fault(field, value, wanted)


def _fault(field: str, value: str, wanted: str) -> str:
    return f"the {field} is {repr(value) if value else 'empty'}; it must be {wanted}"
