"""Queries on models, versions, their records, and pools."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import BigInteger, cast, delete, func, select
from sqlalchemy.orm import Session

from gateway.db.models import AliasRow, BaseRow, ModelRow, PoolRow, RecordRow, TargetRow, UsageRow, WorkerRow
from gateway.snapshot.document import ModelEntry, PoolEntry


def models(
    session: Session, *, team: str | None = None, risk: str | None = None, licence: str | None = None
) -> Sequence[ModelRow]:
    """All models, or those of a team, a risk or a licence, by name."""
    query = select(ModelRow).order_by(ModelRow.name)
    for column, wanted in ((ModelRow.team, team), (ModelRow.risk, risk), (ModelRow.licence, licence)):
        if wanted is not None:
            query = query.where(column == wanted)
    return session.scalars(query).all()


def models_named(session: Session, names: Iterable[str]) -> Sequence[ModelRow]:
    """Those of the named models that exist."""
    return session.scalars(select(ModelRow).where(ModelRow.name.in_(set(names)))).all()


def pools(session: Session) -> Sequence[PoolRow]:
    """All pools, by name."""
    return session.scalars(select(PoolRow).order_by(PoolRow.name)).all()


def models_in_pool(session: Session, pool: str) -> Sequence[str]:
    """The names of the models that a pool serves."""
    return session.scalars(select(ModelRow.name).where(ModelRow.pool == pool).order_by(ModelRow.name)).all()


def team_of_alias(session: Session, name: str) -> str | None:
    """The team of the alias of that name, if there is one."""
    return session.scalar(select(AliasRow.team).where(AliasRow.name == name))


def records(session: Session, model: str) -> dict[int, RecordRow]:
    """The records of a model's versions, by version."""
    query = select(RecordRow).where(RecordRow.model == model).order_by(RecordRow.version)
    return {row.version: row for row in session.scalars(query)}


def breaking_versions(session: Session) -> set[tuple[str, int]]:
    """The model and the number of each version whose signature breaks callers of an earlier one."""
    query = select(RecordRow.model, RecordRow.version).where(RecordRow.breaks)
    return {(model, version) for model, version in session.execute(query)}


def set_bases(session: Session, model: str, version: int, rows: Iterable[BaseRow]) -> None:
    """Replace what a version is recorded to be made from."""
    session.execute(delete(BaseRow).where(BaseRow.model == model, BaseRow.version == version))
    session.add_all(rows)


def bases(session: Session, model: str, version: int | None) -> Sequence[BaseRow]:
    """What a version was made from, or with None, all of the model's versions."""
    query = select(BaseRow).where(BaseRow.model == model).order_by(BaseRow.version, BaseRow.base)
    if version is not None:
        query = query.where(BaseRow.version == version)
    return session.scalars(query).all()


def hosts_with_other_files(session: Session, model: str, since: datetime) -> dict[int, list[str]]:
    """The hosts that reported since then that a version's files there are not those that were registered."""
    found: dict[int, set[str]] = {}
    query = select(WorkerRow.host, WorkerRow.changed_files).where(WorkerRow.reported_at >= since)
    for host, changed in session.execute(query):
        for each in changed or ():
            if each["model"] == model:
                found.setdefault(each["version"], set()).add(host)
    return {version: sorted(hosts) for version, hosts in found.items()}


def made_from(session: Session, model: str, version: int) -> Sequence[BaseRow]:
    """What was made from a version, or from its model whichever the version."""
    which = (BaseRow.base_model == model) & (
        (BaseRow.base_version == version) | BaseRow.base_version.is_(None)
    )
    return session.scalars(select(BaseRow).where(which).order_by(BaseRow.model, BaseRow.version)).all()


def targets_of_model(session: Session, model: str) -> Sequence[tuple[str, int]]:
    """The aliases that have versions of the model as targets, and which."""
    query = select(TargetRow.alias, TargetRow.version).where(TargetRow.model == model).distinct()
    return [(alias, version) for alias, version in session.execute(query)]


def calls_of_model(
    session: Session, model: str, since: datetime
) -> Sequence[tuple[str, str, int, int, int, datetime]]:
    """Who called the model since then: principal, alias, version, calls, those that named the version, the last one."""
    groups = (UsageRow.principal, UsageRow.alias, UsageRow.version)
    calls = UsageRow.requests + UsageRow.limited + UsageRow.gone
    sums = [cast(func.sum(count), BigInteger) for count in (calls, UsageRow.pinned)]
    query = (
        select(*groups, *sums, func.max(UsageRow.last_at))
        .where(UsageRow.model == model, UsageRow.day >= since.date(), UsageRow.last_at >= since)
        .group_by(*groups)
    )
    return [tuple(row) for row in session.execute(query)]


def model_entry(row: ModelRow) -> ModelEntry:
    """The model as a snapshot carries it."""
    return ModelEntry(
        row.name,
        row.team,
        row.pool,
        tuple(version.version for version in row.versions),
        digests=tuple(version.digest for version in row.versions),
    )


def pool_entry(row: PoolRow) -> PoolEntry:
    """The pool as a snapshot carries it. What the row holds is not checked here."""
    return PoolEntry(row.name, row.engine, tuple(row.endpoints), tuple(row.grpc_endpoints))  # type: ignore[arg-type]
