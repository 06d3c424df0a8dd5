"""Queries on sampling rules and deletions."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gateway.db.models import SampleDeletionRow, SamplingRow
from gateway.snapshot.document import SamplingEntry
from gateway.types import NAME


def sampling(session: Session, alias: str) -> SamplingRow | None:
    """How an alias is sampled."""
    return session.get(SamplingRow, alias) if NAME.fullmatch(alias) else None


def samplings(session: Session) -> Sequence[SamplingRow]:
    """All aliases that are sampled, by name."""
    return session.scalars(select(SamplingRow).order_by(SamplingRow.alias)).all()


def entry_of(row: SamplingRow) -> SamplingEntry:
    """The sampling as a snapshot carries it. Raises `ValueError` for a row that has not its types."""
    return msgspec.convert(row.entry, SamplingEntry)


def all_entries(session: Session) -> dict[str, SamplingEntry]:
    """All rules by alias."""
    return {row.alias: entry_of(row) for row in samplings(session)}


def forget(session: Session, alias: str) -> None:
    """An alias is no more: who makes one of its name anew decides anew what is kept of its requests."""
    session.execute(delete(SamplingRow).where(SamplingRow.alias == alias))


def deletions(
    session: Session, *, after: int = 0, since: datetime, limit: int
) -> Sequence[SampleDeletionRow]:
    """Deletions that were asked for since then, those with higher numbers than `after`, the oldest first."""
    query = (
        select(SampleDeletionRow)
        .where(SampleDeletionRow.id > after, SampleDeletionRow.at >= since)
        .order_by(SampleDeletionRow.id)
        .limit(limit)
    )
    return session.scalars(query).all()


def newest_deletions(session: Session, limit: int) -> Sequence[SampleDeletionRow]:
    """The deletions, newest first."""
    return session.scalars(select(SampleDeletionRow).order_by(SampleDeletionRow.id.desc()).limit(limit)).all()


def last_deletion(session: Session) -> int:
    """The highest number so far."""
    return session.scalar(select(func.max(SampleDeletionRow.id))) or 0
