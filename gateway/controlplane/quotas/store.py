"""Queries on quota policies."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.db.models import AliasRow, ModelRow, QuotaRow, WorkerRow
from gateway.snapshot.document import QuotaEntry
from gateway.types import NAME

_COUNTS_FOR = timedelta(seconds=3)
"""A worker reports once a second; one that has been silent for so long may be gone, and with it what it counted."""


def quota(session: Session, name: str) -> QuotaRow | None:
    """The policy of that name."""
    return session.get(QuotaRow, name) if NAME.fullmatch(name) else None


def quotas(session: Session) -> Sequence[QuotaRow]:
    """All policies, by name."""
    return session.scalars(select(QuotaRow).order_by(QuotaRow.name)).all()


def entry_of(row: QuotaRow) -> QuotaEntry:
    """The policy as a snapshot carries it. Raises `ValueError` for a row that has not its types."""
    return msgspec.convert({**row.entry, "name": row.name}, QuotaEntry)


def unknown_selectors(session: Session, entry: QuotaEntry) -> list[str]:
    """Which of the policy's names name nothing that there is: `alias nosuch`, …"""
    named = {
        "alias": select(AliasRow.name).where(AliasRow.name == entry.alias),
        "model": select(ModelRow.name).where(ModelRow.name == entry.model),
        "team": select(AliasRow.team).where(AliasRow.team == entry.team),
    }
    return [
        f"{dimension} {value}"
        for dimension, query in named.items()
        if (value := getattr(entry, dimension)) not in (None, "*") and session.scalar(query.limit(1)) is None
    ]


def all_entries(session: Session) -> list[QuotaEntry]:
    """All policies as a snapshot carries them, by name."""
    return [entry_of(row) for row in quotas(session)]


def shares(session: Session) -> list[int]:
    """Of each worker that serves now and counts apart from the others: among how many it shares each limit out."""
    query = select(WorkerRow.quota_workers).where(
        WorkerRow.reported_at >= datetime.now(UTC) - _COUNTS_FOR, WorkerRow.quota_workers.is_not(None)
    )
    return [workers for workers in session.scalars(query) if workers is not None]
