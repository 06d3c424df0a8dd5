"""Queries on the workers' reports."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from gateway.db.models import WorkerRow


def workers(session: Session, since: datetime) -> Sequence[WorkerRow]:
    """The workers that reported after that, by name."""
    return session.scalars(
        select(WorkerRow).where(WorkerRow.reported_at > since).order_by(WorkerRow.worker)
    ).all()


def forget(session: Session, before: datetime) -> None:
    """Drop the reports that are older."""
    session.execute(delete(WorkerRow).where(WorkerRow.reported_at < before))
