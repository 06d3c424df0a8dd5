"""The verbs on the policy: `read` and `admin` on `@policy`. Every change is validated as a whole, or refused."""

from collections.abc import Iterable
from typing import TypeVar

from sqlalchemy.orm import Session

from gateway.controlplane.access import store
from gateway.controlplane.access.schemas import ChangePolicy, PolicyView, PutPolicy, Rows
from gateway.controlplane.change import Change
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.db.models import StateRow
from gateway.errors import GatewayError, Kind, unprocessable
from gateway.policy.compiled import CompiledPolicy
from gateway.policy.rules import PLATFORM, Grant, PolicyRules, RoleAssignment, rules_from_rows, validate
from gateway.types import PRINCIPAL

Row = TypeVar("Row", Grant, RoleAssignment)


def show_policy(session: Session, caller: Caller) -> PolicyView:
    """All rows."""
    caller.demand("read", "@policy")
    state = session.get_one(StateRow, 1)
    return _view(state, store.rules(session))


def put_policy(change: Change, caller: Caller, body: PutPolicy, preconditions: Preconditions) -> PolicyView:
    """Replace the policy as a whole. The same rows again change nothing."""
    caller.demand("admin", "@policy")
    old, new = store.rules(change.session), rules_from_rows(body.grants, body.roles)
    _check(new)
    preconditions.check(change.state.policy_revision, "The policy")
    return _apply(change, old, new, "policy.replace", body.reason, in_order=True)


def change_policy(
    change: Change, caller: Caller, body: ChangePolicy, preconditions: Preconditions
) -> PolicyView:
    """Add and remove rows, all or none. Adding what is there, or removing what is not, changes nothing."""
    caller.demand("admin", "@policy")
    old = store.rules(change.session)
    add, remove = _rules(body.add), _rules(body.remove)
    both: list[Grant | RoleAssignment] = [row for row in add.grants if row in remove.grants]
    both += [row for row in add.roles if row in remove.roles]
    if both:
        problems = tuple(f"both added and removed: {', '.join(_fields(row))}" for row in both)
        raise GatewayError(Kind.UNPROCESSABLE, "A row is both added and removed.", problems=problems)
    gone_grants, gone_roles = set(remove.grants), set(remove.roles)
    new = PolicyRules(
        tuple(dict.fromkeys([*(row for row in old.grants if row not in gone_grants), *add.grants])),
        tuple(dict.fromkeys([*(row for row in old.roles if row not in gone_roles), *add.roles])),
    )
    _check(new)
    preconditions.check(change.state.policy_revision, "The policy", required=False)
    return _apply(change, old, new, "policy.change", body.reason, in_order=False)


def seed_policy(change: Change, rules: PolicyRules) -> None:
    """Bring the first rules into a database that never had any."""
    if change.state.policy_revision == 0:
        _apply(change, PolicyRules(), rules, "policy.seed", "the rules of the policies folder", in_order=True)


def administered(rules: PolicyRules) -> bool:
    """Whether somebody may still change the policy, by what the rules say of the principals they name."""
    policy = CompiledPolicy(rules)
    names = {row.subject for row in rules.grants} | {row.subject for row in rules.roles}
    return any(
        PRINCIPAL.fullmatch(name) and policy.decide(name, PLATFORM, "@policy", "admin") for name in names
    )


def _check(rules: PolicyRules) -> None:
    problems = validate(rules)
    if problems:
        raise unprocessable("The policy does not hold", problems)
    if not administered(rules):
        raise GatewayError(
            Kind.CONFLICT,
            "After this change nobody could change the policy any more: leave an app: or user: principal"
            " with the right to admin @policy in platform.",
        )


def _apply(
    change: Change, old: PolicyRules, new: PolicyRules, verb: str, reason: str | None, *, in_order: bool
) -> PolicyView:
    if new != old or change.state.policy_revision == 0:
        added = PolicyRules(_without(new.grants, old.grants), _without(new.roles, old.roles))
        removed = PolicyRules(_without(old.grants, new.grants), _without(old.roles, new.roles))
        if in_order:
            store.replace_rules(change.session, new)
        else:
            store.remove_rules(change.session, removed.grants, removed.roles)
            store.add_rules(change.session, added.grants, added.roles)
        change.state.policy_revision += 1
        change.state.policy_updated_at, change.state.policy_updated_by = change.at, change.actor
        change.record(verb, "policy", _plain(removed), _plain(added), reason)
    return _view(change.state, new)


def _without(rows: Iterable[Row], others: Iterable[Row]) -> tuple[Row, ...]:
    known = set(others)
    return tuple(row for row in rows if row not in known)


def _rules(rows: Rows) -> PolicyRules:
    return rules_from_rows(rows.grants, rows.roles)


def _fields(row: Grant | RoleAssignment) -> tuple[str, ...]:
    return tuple(getattr(row, name) for name in row.__struct_fields__)


def _plain(rules: PolicyRules) -> dict[str, list[tuple[str, ...]]]:
    return {"grants": [_fields(row) for row in rules.grants], "roles": [_fields(row) for row in rules.roles]}


def _view(state: StateRow, rules: PolicyRules) -> PolicyView:
    return PolicyView(
        grants=[(row.subject, row.domain, row.object, row.action, row.effect) for row in rules.grants],
        roles=[(row.subject, row.role, row.domain) for row in rules.roles],
        revision=state.policy_revision,
        updated_at=state.policy_updated_at,
        updated_by=state.policy_updated_by,
    )
