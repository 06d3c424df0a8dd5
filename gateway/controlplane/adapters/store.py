"""Queries on adapters."""

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from gateway.db.models import AdapterRow
from gateway.snapshot.adapters import Adapter
from gateway.types import NAME


def adapter(session: Session, alias: str) -> AdapterRow | None:
    """The adapter of an alias."""
    return session.get(AdapterRow, alias) if NAME.fullmatch(alias) else None


def entry_of(row: AdapterRow) -> Adapter:
    """The adapter as a snapshot carries it. Raises `ValueError` for a row that has not its types."""
    entry: Adapter = msgspec.convert(row.entry, Adapter)
    return entry


def all_entries(session: Session) -> dict[str, Adapter]:
    """All adapters by alias."""
    return {row.alias: entry_of(row) for row in session.scalars(select(AdapterRow))}


def forget(session: Session, alias: str) -> None:
    """An alias is no more: who makes one of its name anew says anew how it is called."""
    session.execute(delete(AdapterRow).where(AdapterRow.alias == alias))
