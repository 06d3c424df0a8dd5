"""Queries on quota policies."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from gateway.db.models import (
    AliasRow,
    GrantRow,
    KeyRow,
    ModelRow,
    QuotaRow,
    RoleRow,
    TargetRow,
    UsageRow,
    WorkerRow,
)
from gateway.snapshot.document import QuotaEntry
from gateway.types import NAME

_COUNTS_FOR = timedelta(seconds=3)
"""A worker reports once a second; one that has been silent for so long may be gone, and with it what it counted."""

_CALLED_WITHIN_DAYS = 8


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
    """What the policy names and there is not: `alias nosuch`, or `alias digits of team other` where there is each by itself."""
    alias, model, team, app = (
        _name(value) for value in (entry.alias, entry.model, entry.team, entry.application)
    )
    unknown = []
    if alias and not _any(session, select(AliasRow.name).where(AliasRow.name == alias)):
        unknown.append(f"alias {alias}")
    if model and not _any(session, select(ModelRow.name).where(ModelRow.name == model)):
        unknown.append(f"model {model}")
    if team and not _any(session, select(AliasRow.team).where(AliasRow.team == team)):
        unknown.append(f"team {team}")
    if app and not any(_any(session, query) for query in _traces(app)):
        unknown.append(f"application {app}")
    if unknown or not (alias or model or team):
        return unknown
    return _never_together(session, alias, model, team)


def _never_together(session: Session, alias: str | None, model: str | None, team: str | None) -> list[str]:
    """What no alias is: those names are there, and no request has them all."""
    aliases = select(AliasRow.name)
    if alias:
        aliases = aliases.where(AliasRow.name == alias)
    if team:
        aliases = aliases.where(AliasRow.team == team)
    what = " ".join(("alias", *([alias] if alias else []), *([f"of team {team}"] if team else [])))
    if not _any(session, aliases):
        return [what]
    if model and not _any(
        session, select(TargetRow.model).where(TargetRow.model == model, TargetRow.alias.in_(aliases))
    ):
        return [f"{what} with model {model}"]
    return []


def _traces(app: str) -> Iterator[Select[str]]:
    """Where there is one of an application: with tokens of an issuer it has no key, and may have its roles from there."""
    yield select(KeyRow.principal).where(KeyRow.principal == app)
    yield select(RoleRow.subject).where(RoleRow.subject == app)
    yield select(GrantRow.subject).where(GrantRow.subject == app)
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in range(_CALLED_WITHIN_DAYS + 1)]
    yield select(UsageRow.principal).where(UsageRow.day.in_(days), UsageRow.principal == app)


def _name(selector: str | None) -> str | None:
    return None if selector == "*" else selector


def _any(session: Session, query: Select[str]) -> bool:
    return session.scalar(query.limit(1)) is not None


def all_entries(session: Session) -> list[QuotaEntry]:
    """All policies as a snapshot carries them, by name."""
    return [entry_of(row) for row in quotas(session)]


def shares(session: Session) -> list[int]:
    """Of each worker that serves now and counts apart from the others: among how many it shares each limit out."""
    query = select(WorkerRow.quota_workers).where(
        WorkerRow.reported_at >= datetime.now(UTC) - _COUNTS_FOR, WorkerRow.quota_workers.is_not(None)
    )
    return [workers for workers in session.scalars(query) if workers is not None]
