"""A policy as the request path uses it: the same answers as stock Casbin, by look-up instead of by search.

Stock Casbin evaluates its matcher for every row at every request. Here the rows are indexed once by (domain,
object, action). A request can only match the eight keys in which each of its three parts stands for itself or
is `*`, so a decision looks at eight places, however many rows there are, and is then remembered.
"""

from collections.abc import Iterable
from itertools import product

import msgspec

from gateway.policy.explain import Explanation, explain
from gateway.policy.roles import RoleGraph
from gateway.policy.rules import ALLOW, ANY, Grant, PolicyRules, validate
from gateway.policy.source import PolicyError
from gateway.types import Roles

REMEMBERED_DECISIONS = 32_768
"""Some 10 MiB at most. A full memory is emptied: what is asked often is back at once, and nothing is kept in
order."""

REMEMBERED_SUBJECTS = 8_192

Key = tuple[str, str, str]
Reach = tuple[frozenset[str], ...]


class Subjects(msgspec.Struct, frozen=True):
    """Whom the rows of one (domain, object, action) allow, and whom they deny."""

    allowed: frozenset[str]
    denied: frozenset[str]


class CompiledPolicy:
    """The decisions of one set of rules. It never changes: new rules make a new one, which replaces this one
    whole, so no request ever sees half of a change.

    Built by `compile_policy`, which refuses rules that do not hold; the constructor itself checks nothing.
    """

    def __init__(self, rules: PolicyRules) -> None:
        self._rules = rules
        self._graph = RoleGraph(rules.roles)
        self._index = _index(rules.grants)
        self._team_grants = _allowed_domains(rules.grants)
        self._decisions: dict[tuple[str, str, str, str, tuple[str, ...]], bool] = {}
        self._reaches: dict[tuple[str, str], Reach] = {}

    def decide(self, subject: str, domain: str, obj: str, action: str, roles: Roles = ()) -> bool:
        """Whether the subject may do `action` to the object `obj` of the domain.

        `roles` are held beside those of the rows, as if each were one more `g` row of the subject.
        A deny wins; where no row allows, the answer is no; so it is where any part of the request is empty.
        An exception is a fault, never an answer, and nothing is remembered of it.
        """
        given = _given(roles, domain) if roles else ()
        request = (subject, domain, obj, action, given)
        decision = self._decisions.get(request)
        if decision is None:
            decision = self._evaluate(subject, domain, obj, action, given)
            if len(self._decisions) >= REMEMBERED_DECISIONS:
                self._decisions.clear()
            self._decisions[request] = decision
        return decision

    def explain(self, subject: str, domain: str, obj: str, action: str, roles: Roles = ()) -> Explanation:
        """The same decision with the rows and the roles that it rests on. Reads all rows: not for the request
        path."""
        return explain(self._rules, self._graph, subject, domain, obj, action, _given(roles, domain))

    def roles_of(self, subject: str, domain: str, roles: Roles = ()) -> frozenset[str]:
        """All roles that the subject has in the domain, inherited ones and those for every domain too."""
        held = (subject, *_given(roles, domain))
        return frozenset().union(*(names for name in held for names in self._reach(name, domain))) - {subject}

    def teams_of(self, subject: str, roles: Roles = ()) -> frozenset[str]:
        """The domains that name the subject, or a role that it has there, in a role row or in a row that
        allows.

        What is given for every domain (`*`) is left out, so whoever reads everywhere belongs to no team by
        that.
        """
        held = (subject, *_given(roles, ANY))
        names = frozenset().union(*(self._graph.names_everywhere(name) for name in held))
        teams = {team for _, team in roles}
        for name in names:
            # Roles had only in some domain need no look: the row that leads out to them names that domain.
            teams |= self._graph.domains_of(name) | self._team_grants.get(name, frozenset())
        return frozenset(teams - {ANY})

    def _evaluate(self, subject: str, domain: str, obj: str, action: str, given: tuple[str, ...]) -> bool:
        if not (subject and domain and obj and action):
            return False
        reach = self._reach(subject, domain)
        for role in given:
            reach += self._reach(role, domain)
        allowed = False
        for key in product((domain, ANY), (obj, ANY), (action, ANY)):
            subjects = self._index.get(key)
            if subjects is None:
                continue
            for names in reach:
                if not names.isdisjoint(subjects.denied):
                    return False
                if not names.isdisjoint(subjects.allowed):
                    allowed = True
        return allowed

    def _reach(self, subject: str, domain: str) -> Reach:
        reach = self._reaches.get((subject, domain))
        if reach is None:
            reach = self._graph.reach(subject, domain)
            if len(self._reaches) >= REMEMBERED_SUBJECTS:
                self._reaches.clear()
            self._reaches[subject, domain] = reach
        return reach


def compile_policy(rules: PolicyRules) -> CompiledPolicy:
    """The compiled policy. Raises `PolicyError` with all problems of rules that `validate` refuses."""
    problems = validate(rules)
    if problems:
        raise PolicyError(problems)
    return CompiledPolicy(rules)


def _given(roles: Roles, domain: str) -> tuple[str, ...]:
    """Those of the roles that count in the domain."""
    return tuple(role for role, team in roles if team in (domain, ANY))


def _index(grants: Iterable[Grant]) -> dict[Key, Subjects]:
    found: dict[Key, tuple[set[str], set[str]]] = {}
    for grant in grants:
        allowed, denied = found.setdefault((grant.domain, grant.object, grant.action), (set(), set()))
        # Whatever is not exactly an allow denies, so that an effect nobody checked cannot open anything.
        (allowed if grant.effect == ALLOW else denied).add(grant.subject)
    return {key: Subjects(frozenset(allowed), frozenset(denied)) for key, (allowed, denied) in found.items()}


def _allowed_domains(grants: Iterable[Grant]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for grant in grants:
        if grant.effect == ALLOW:
            found.setdefault(grant.subject, set()).add(grant.domain)
    return {subject: frozenset(domains) for subject, domains in found.items()}
