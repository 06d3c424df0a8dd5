"""Queries on the audit rows."""

from collections.abc import Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from gateway.db.models import AuditRow


def last_id(session: Session) -> int:
    """The number of the newest row; 0 where there is none."""
    return session.scalar(select(func.max(AuditRow.id))) or 0


def rows(
    session: Session, *, limit: int, before: int | None, obj: str | None, actor: str | None
) -> Sequence[AuditRow]:
    """Newest first. `obj` is the whole object (`alias:digits`) or its name alone (`digits`)."""
    query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditRow.id < before)
    if obj is not None:
        kinds = ("alias", "model", "pool", "key")
        query = query.where(
            or_(AuditRow.object == obj, AuditRow.object.in_([f"{kind}:{obj}" for kind in kinds]))
        )
    if actor is not None:
        query = query.where(AuditRow.actor == actor)
    return session.scalars(query).all()
