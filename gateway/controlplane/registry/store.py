"""Queries on models, versions, their records, and pools."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import BigInteger, cast, delete, func, select
from sqlalchemy.orm import Session, lazyload

from gateway.db.models import (
    AliasRow,
    BaseRow,
    ModelRow,
    PoolRow,
    RecordRow,
    TargetRow,
    UsageRow,
    VersionRow,
    WorkerRow,
)
from gateway.snapshot.document import ModelEntry, PoolEntry

_FEW = 500
"""So many names go into a query; of more, all are read."""


def models(session: Session) -> Sequence[ModelRow]:
    """All models with their versions, by name."""
    return session.scalars(select(ModelRow).order_by(ModelRow.name)).all()


def described_models(
    session: Session, *, team: str | None = None, risk: str | None = None, licence: str | None = None
) -> Sequence[ModelRow]:
    """All models, or those of a team, a risk or a licence, by name, for who asks for few of their versions, or none."""
    query = select(ModelRow).options(lazyload(ModelRow.versions)).order_by(ModelRow.name)
    for column, wanted in ((ModelRow.team, team), (ModelRow.risk, risk), (ModelRow.licence, licence)):
        if wanted is not None:
            query = query.where(column == wanted)
    return session.scalars(query).all()


def versions_of(
    session: Session, names: Collection[str]
) -> dict[str, list[tuple[int, str, datetime, str, bool]]]:
    """By model: each version's number, digest, when and by whom it was registered, and whether it breaks; lowest first."""
    columns = (VersionRow.model, VersionRow.version, VersionRow.digest)
    query = (
        select(*columns, VersionRow.created_at, VersionRow.created_by, RecordRow.breaks)
        .outerjoin(
            RecordRow, (RecordRow.model == VersionRow.model) & (RecordRow.version == VersionRow.version)
        )
        .order_by(VersionRow.model, VersionRow.version)
    )
    if len(names) <= _FEW:
        query = query.where(VersionRow.model.in_(names))
    found: dict[str, list[tuple[int, str, datetime, str, bool]]] = {name: [] for name in names}
    for model, number, digest, at, by, breaks in session.execute(query):
        if model in found:
            found[model].append((number, digest, at, by, bool(breaks)))
    return found


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
