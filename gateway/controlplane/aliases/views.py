"""Aliases and their history as callers see them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from gateway.controlplane import owned
from gateway.controlplane.aliases import store
from gateway.controlplane.aliases.schemas import (
    AliasList,
    AliasView,
    AnnouncedEnd,
    History,
    RevisionView,
    TargetView,
)
from gateway.controlplane.deprecations import store as deprecations
from gateway.controlplane.edge.caller import Caller
from gateway.db.models import AliasRow, RevisionRow
from gateway.snapshot.document import DeprecationEntry
from gateway.types import NAME


def list_aliases(session: Session, caller: Caller, *, team: str | None, part: str | None) -> AliasList:
    """The aliases that the caller may see, of one team, with `part` in their name, where these are given."""
    if team is not None and not NAME.fullmatch(team):
        return AliasList([])
    rows = [row for row in owned.aliases(session, team) if part is None or part.lower() in row.name.lower()]
    ending = deprecations.all_entries(session)
    return AliasList([_view(row, ending) for row in rows if owned.may_see_alias(caller, row.name, row.team)])


def show_alias(session: Session, caller: Caller, name: str) -> AliasView:
    """One alias. Raises NOT_FOUND."""
    return alias_view(session, owned.seen_alias(session, caller, name))


def history(session: Session, caller: Caller, name: str, limit: int) -> History:
    """The changes of an alias, newest first; also of one that was deleted. Raises NOT_FOUND."""
    newest = store.newest_change(session, name)
    if newest is None or not owned.may_see_alias(caller, name, newest.team):
        raise owned.unknown_alias(name)
    return History([_revision(row) for row in store.revisions(session, name, newest.team, limit)])


def alias_view(session: Session, row: AliasRow) -> AliasView:
    """The alias as it stands."""
    return _view(row, deprecations.all_entries(session))


def _view(row: AliasRow, ending: Mapping[str, DeprecationEntry]) -> AliasView:
    targets = [{"model": t.model, "version": t.version, "weight_bp": t.weight_bp} for t in row.targets]
    return AliasView(
        name=row.name,
        team=row.team,
        sticky=row.sticky,
        targets=_targets(targets),
        salt=row.salt,
        revision=row.revision,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
        reason=row.reason,
        deprecation=_announced(ending.get(deprecations.alias_subject(row.name))),
    )


def _announced(entry: DeprecationEntry | None) -> AnnouncedEnd | None:
    if entry is None:
        return None
    sunset = None if entry.sunset_at is None else datetime.fromtimestamp(entry.sunset_at, UTC)
    return AnnouncedEnd(datetime.fromtimestamp(entry.deprecated_at, UTC), sunset, entry.successor)


def _revision(row: RevisionRow) -> RevisionView:
    return RevisionView(
        revision=row.revision,
        at=row.at,
        by=row.by,
        reason=row.reason,
        kind=row.kind,  # type: ignore[arg-type]
        before=None if row.before is None else _targets(row.before),
        after=None if row.after is None else _targets(row.after),
    )


def _targets(rows: Sequence[dict[str, Any]]) -> list[TargetView]:
    return [
        TargetView(row["model"], row["version"], row["weight_bp"], "candidate" if index else "stable")
        for index, row in enumerate(rows)
    ]
