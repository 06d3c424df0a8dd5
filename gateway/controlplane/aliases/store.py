"""Queries on aliases and their revisions."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gateway.db.models import AliasRow, RevisionRow, TargetRow
from gateway.snapshot.document import AliasEntry, Slice, TargetEntry
from gateway.types import NAME


def last_revision(session: Session, name: str) -> int:
    """The highest revision that the name ever had, deleted aliases included; 0 where there was none."""
    return session.scalar(select(func.max(RevisionRow.revision)).where(RevisionRow.alias == name)) or 0


def newest_change(session: Session, name: str) -> RevisionRow | None:
    """The last change of the name, also when it was its deletion."""
    if not NAME.fullmatch(name):
        return None
    query = (
        select(RevisionRow).where(RevisionRow.alias == name).order_by(RevisionRow.revision.desc()).limit(1)
    )
    return session.scalar(query)


def revisions(session: Session, name: str, team: str, limit: int) -> Sequence[RevisionRow]:
    """The changes of the name under one team, newest first: what another team once did with it is not shown."""
    query = (
        select(RevisionRow)
        .where(RevisionRow.alias == name, RevisionRow.team == team)
        .order_by(RevisionRow.revision.desc())
        .limit(limit)
    )
    return session.scalars(query).all()


def revision(session: Session, name: str, team: str, number: int) -> RevisionRow | None:
    """One change of the name under one team."""
    if not 0 < number < 2**63:
        return None
    found = session.get(RevisionRow, (name, number))
    return found if found is not None and found.team == team else None


def all_entries(session: Session) -> list[AliasEntry]:
    """All aliases as a snapshot carries them, by name. Bare rows: a snapshot is built at every change."""
    targets: dict[str, list[TargetEntry]] = {}
    for alias, model, version, weight_bp in session.execute(
        select(TargetRow.alias, TargetRow.model, TargetRow.version, TargetRow.weight_bp).order_by(
            TargetRow.alias, TargetRow.position
        )
    ):
        targets.setdefault(alias, []).append(TargetEntry(model, version, weight_bp))
    return [
        AliasEntry(name, team, salt, tuple(targets.get(name, ())), slices(pieces), sticky)
        for name, team, salt, pieces, sticky in session.execute(
            select(AliasRow.name, AliasRow.team, AliasRow.salt, AliasRow.slices, AliasRow.sticky).order_by(
                AliasRow.name
            )
        )
    ]


def entries(row: AliasRow) -> tuple[TargetEntry, ...]:
    """The targets as a snapshot carries them."""
    return tuple(TargetEntry(target.model, target.version, target.weight_bp) for target in row.targets)


def slices(rows: Sequence[Sequence[int]]) -> tuple[Slice, ...]:
    """The slices as a snapshot carries them."""
    return tuple(Slice(start, end, target) for start, end, target in rows)


def plain_slices(pieces: Sequence[Slice]) -> list[list[int]]:
    """The slices as a row carries them."""
    return [[piece.start, piece.end, piece.target] for piece in pieces]


def replace_targets(session: Session, row: AliasRow, targets: Sequence[TargetEntry]) -> None:
    """Give the alias these targets, and no others."""
    row.targets.clear()
    # The old rows go first, or the new ones would collide with their positions.
    session.flush()
    row.targets += [
        TargetRow(position=position, model=target.model, version=target.version, weight_bp=target.weight_bp)
        for position, target in enumerate(targets)
    ]
