"""Queries on deprecations, and on the usage of what retires."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import msgspec
from sqlalchemy import (
    BigInteger,
    Cast,
    ColumnElement,
    SQLColumnExpression,
    and_,
    cast,
    delete,
    func,
    or_,
    select,
)
from sqlalchemy.orm import Session

from gateway.db.models import DeprecationNoteRow, DeprecationRow, UsageRow
from gateway.snapshot.document import DeprecationEntry

_CALLS = UsageRow.requests + UsageRow.limited + UsageRow.gone


class DayOfCalls(msgspec.Struct, frozen=True):
    """What one principal called through one alias on one day; `calls` are all attempts, whatever came of them."""

    principal: str
    alias: str
    day: date
    calls: int
    failed: int
    limited: int
    gone: int
    pinned: int
    last_at: datetime


def alias_subject(alias: str) -> str:
    """How an alias is named as something that retires."""
    return f"alias:{alias}"


def version_subject(model: str, version: int) -> str:
    """How a version is named as something that retires."""
    return f"version:{model}@{version}"


def all_entries(session: Session) -> dict[str, DeprecationEntry]:
    """All announcements by subject."""
    rows = session.execute(select(DeprecationRow.subject, DeprecationRow.entry))
    return {subject: msgspec.convert(entry, DeprecationEntry) for subject, entry in rows}


def deprecations(session: Session) -> Sequence[DeprecationRow]:
    """All announcements."""
    return session.scalars(select(DeprecationRow).order_by(DeprecationRow.subject)).all()


def deprecation(session: Session, subject: str) -> DeprecationRow | None:
    """The announcement of a subject."""
    return session.get(DeprecationRow, subject)


def entry_of(row: DeprecationRow) -> DeprecationEntry:
    """The announcement as a snapshot carries it."""
    return msgspec.convert(row.entry, DeprecationEntry)


def notes(session: Session, subject: str) -> dict[str, DeprecationNoteRow]:
    """The notes on a subject's consumers, by principal."""
    query = select(DeprecationNoteRow).where(DeprecationNoteRow.subject == subject)
    return {row.principal: row for row in session.scalars(query)}


def forget(session: Session, subject: str) -> None:
    """Drop the announcement and the notes of what is no more."""
    session.execute(delete(DeprecationRow).where(DeprecationRow.subject == subject))
    session.execute(delete(DeprecationNoteRow).where(DeprecationNoteRow.subject == subject))


def calls_of_alias(alias: str) -> ColumnElement[bool]:
    """The usage through one alias."""
    return UsageRow.alias == alias


def calls_of_version(model: str, version: int) -> ColumnElement[bool]:
    """The usage of one version, through whichever alias."""
    return and_(UsageRow.model == model, UsageRow.version == version)


def calls_that_need(model: str, version: int, aliases: Iterable[str]) -> ColumnElement[bool]:
    """The usage of one version that named it, or came through one of the aliases that send traffic there."""
    return and_(calls_of_version(model, version), or_(UsageRow.pinned > 0, UsageRow.alias.in_(list(aliases))))


def days_of_calls(session: Session, which: ColumnElement[bool], since: date) -> list[DayOfCalls]:
    """The usage by principal, alias and day."""
    groups = (UsageRow.principal, UsageRow.alias, UsageRow.day)
    query = (
        select(
            *groups,
            _total(_CALLS),
            _total(UsageRow.failed),
            _total(UsageRow.limited),
            _total(UsageRow.gone),
            _total(UsageRow.pinned),
            func.max(UsageRow.last_at),
        )
        .where(which, UsageRow.day >= since)
        .group_by(*groups)
    )
    return [
        DayOfCalls(principal, alias, day, calls, failed, limited, gone, pinned, last_at)
        for principal, alias, day, calls, failed, limited, gone, pinned, last_at in session.execute(query)
    ]


def first_and_last(session: Session, which: ColumnElement[bool]) -> dict[str, tuple[date, datetime]]:
    """The day of each principal's first call and the moment of its last one, over all that is kept."""
    query = (
        select(UsageRow.principal, func.min(UsageRow.day), func.max(UsageRow.last_at))
        .where(which)
        .group_by(UsageRow.principal)
    )
    return {principal: (day, last_at) for principal, day, last_at in session.execute(query)}


def callers_since(
    session: Session, which: ColumnElement[bool], since: datetime
) -> list[tuple[str, int, datetime]]:
    """Who called since then: principal, calls on those days, last call; the latest one first."""
    last_at = func.max(UsageRow.last_at)
    query = (
        select(UsageRow.principal, _total(_CALLS), last_at)
        .where(which, UsageRow.day >= since.date(), UsageRow.last_at >= since)
        .group_by(UsageRow.principal)
        .order_by(last_at.desc(), UsageRow.principal)
    )
    return [(principal, calls, last) for principal, calls, last in session.execute(query)]


def _total(count: SQLColumnExpression[int]) -> Cast[int]:
    """A sum as a whole number: PostgreSQL adds these up to a decimal."""
    return cast(func.sum(count), BigInteger)
