"""Queries on keys and on the rows of the policy."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.orm import Session

from gateway.db.models import GrantRow, KeyRow, RoleRow
from gateway.policy.rules import Grant, PolicyRules, RoleAssignment


def keys(session: Session, principal: str | None = None) -> Sequence[KeyRow]:
    """All keys, or those of one principal, newest first."""
    query = select(KeyRow).order_by(KeyRow.created_at.desc(), KeyRow.id)
    if principal is not None:
        query = query.where(KeyRow.principal == principal)
    return session.scalars(query).all()


def usable_keys(
    session: Session, now: datetime, principal: str | None = None
) -> list[tuple[str, str, str, datetime | None]]:
    """Id, digest, principal and end of the keys that are neither revoked nor expired, by id."""
    query = (
        select(KeyRow.id, KeyRow.digest, KeyRow.principal, KeyRow.expires_at)
        .where(KeyRow.revoked_at.is_(None), or_(KeyRow.expires_at.is_(None), KeyRow.expires_at > now))
        .order_by(KeyRow.id)
    )
    if principal is not None:
        query = query.where(KeyRow.principal == principal)
    return [(key_id, digest, name, end) for key_id, digest, name, end in session.execute(query)]


def note_use(session: Session, used: Mapping[str, datetime]) -> None:
    """Move the last use of keys forward, never back."""
    for key_id, moment in sorted(used.items()):
        session.execute(
            update(KeyRow)
            .where(KeyRow.id == key_id, or_(KeyRow.last_used_at.is_(None), KeyRow.last_used_at < moment))
            .values(last_used_at=moment)
        )


def rules(session: Session) -> PolicyRules:
    """The policy, its rows in their order."""
    grants = session.execute(
        select(GrantRow.subject, GrantRow.domain, GrantRow.object, GrantRow.action, GrantRow.effect).order_by(
            GrantRow.id
        )
    )
    roles = session.execute(select(RoleRow.subject, RoleRow.role, RoleRow.domain).order_by(RoleRow.id))
    return PolicyRules(tuple(Grant(*row) for row in grants), tuple(RoleAssignment(*row) for row in roles))


def add_rules(session: Session, grants: Iterable[Grant], roles: Iterable[RoleAssignment]) -> None:
    """Append rows."""
    grant_rows = [
        {"subject": g.subject, "domain": g.domain, "object": g.object, "action": g.action, "effect": g.effect}
        for g in grants
    ]
    role_rows = [{"subject": r.subject, "role": r.role, "domain": r.domain} for r in roles]
    if grant_rows:
        session.execute(insert(GrantRow), grant_rows)
    if role_rows:
        session.execute(insert(RoleRow), role_rows)


def remove_rules(session: Session, grants: Iterable[Grant], roles: Iterable[RoleAssignment]) -> None:
    """Delete rows."""
    for g in grants:
        session.execute(
            delete(GrantRow).where(
                GrantRow.subject == g.subject,
                GrantRow.domain == g.domain,
                GrantRow.object == g.object,
                GrantRow.action == g.action,
                GrantRow.effect == g.effect,
            )
        )
    for r in roles:
        session.execute(
            delete(RoleRow).where(
                RoleRow.subject == r.subject, RoleRow.role == r.role, RoleRow.domain == r.domain
            )
        )


def replace_rules(session: Session, rules: PolicyRules) -> None:
    """Make these rows, in this order, the whole policy."""
    session.execute(delete(GrantRow))
    session.execute(delete(RoleRow))
    add_rules(session, rules.grants, rules.roles)
