"""Questions about rights, answered by the published snapshot alone: they work while the database is down.

Everybody may ask about themselves; about others, who may `read` `@policy`.
"""

from gateway.controlplane.access.schemas import (
    Answer,
    DecidingRow,
    Explained,
    FailedCase,
    Question,
    TestPolicy,
    TestResult,
    Whoami,
)
from gateway.controlplane.edge.caller import Caller
from gateway.errors import GatewayError, Kind
from gateway.policy.cases import Case, run_cases
from gateway.policy.compiled import CompiledPolicy
from gateway.policy.explain import DecidingGrant
from gateway.policy.rules import ACTIONS, ALLOW, DENY, PLATFORM, RESOURCES
from gateway.types import Roles


def check(caller: Caller, question: Question) -> Answer:
    """The decision."""
    domain, obj = _place(caller, question)
    roles = _roles(caller, question)
    return Answer(caller.snapshot.decide(question.subject, domain, obj, question.action, roles))


def explain(caller: Caller, question: Question, policy: CompiledPolicy) -> Explained:
    """The decision and why."""
    domain, obj = _place(caller, question)
    found = policy.explain(question.subject, domain, obj, question.action, _roles(caller, question))
    return Explained(
        found.allowed,
        found.text,
        [_row(each) for each in found.grants],
        [_row(each) for each in found.overruled],
        sorted(found.roles),
    )


def test(caller: Caller, body: TestPolicy, policy: CompiledPolicy) -> TestResult:
    """The cases that do not hold. Raises UNPROCESSABLE for cases that expect neither allow nor deny."""
    caller.demand("read", "@policy")
    problems = tuple(
        f"cases[{row}]: expected is {case[4]!r}; it must be allow or deny"
        for row, case in enumerate(body.cases)
        if case[4] not in (ALLOW, DENY)
    )
    if problems:
        raise GatewayError(
            Kind.UNPROCESSABLE, "The cases do not read: " + problems[0], problems=problems[:100]
        )
    cases = [Case(*case, why="", line=row) for row, case in enumerate(body.cases, start=1)]
    failures = [
        FailedCase(each.case.line, body.cases[each.case.line - 1], each.got, each.explanation)
        for each in run_cases(policy, cases)
    ]
    return TestResult(len(cases), failures)


def whoami(caller: Caller, policy: CompiledPolicy, inference_url: str | None) -> Whoami:
    """What the caller is and may do here."""
    teams = sorted(policy.teams_of(caller.principal, caller.roles))
    return Whoami(
        principal=caller.principal,
        key_id=None if caller.issuer else caller.key_id,
        issuer=caller.issuer or None,
        teams=teams,
        roles={
            domain: sorted(roles)
            for domain in dict.fromkeys([*teams, PLATFORM])
            if (roles := policy.roles_of(caller.principal, domain, caller.roles))
        },
        resources={
            resource: [
                action
                for action in ACTIONS
                if policy.decide(caller.principal, PLATFORM, resource, action, caller.roles)
            ]
            for resource in RESOURCES
        },
        snapshot_version=caller.snapshot.version,
        inference_url=inference_url,
    )


def _roles(caller: Caller, question: Question) -> Roles:
    """The roles of the caller's own token, when it asks about itself: of others' tokens nothing is known."""
    return caller.roles if question.subject == caller.principal else ()


def _place(caller: Caller, question: Question) -> tuple[str, str]:
    """The domain and the object that the question is about."""
    if question.subject != caller.principal:
        caller.demand("read", "@policy")
    if question.alias is not None:
        if question.domain is not None or question.object is not None:
            raise _unclear()
        alias = caller.snapshot.aliases.get(question.alias)
        if alias is None or not _may_ask(caller, question.alias, alias.team):
            raise GatewayError(
                Kind.NOT_FOUND, f"There is no alias {question.alias!r}, or you may not see it."
            )
        return alias.team, alias.name
    if question.domain is None or question.object is None:
        raise _unclear()
    return question.domain, question.object


def _may_ask(caller: Caller, alias: str, team: str) -> bool:
    return any(caller.may(action, alias, team) for action in ("read", "infer", "flip"))


def _unclear() -> GatewayError:
    return GatewayError(
        Kind.UNPROCESSABLE,
        "Ask about an alias, or about an object in a domain.",
        problems=("alias: give this alone, or domain and object together",),
    )


def _row(found: DecidingGrant) -> DecidingRow:
    grant = found.grant
    fields = (grant.subject, grant.domain, grant.object, grant.action, grant.effect)
    return DecidingRow(found.row, fields, list(found.path))
