"""Queries on models, versions and pools."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.db.models import AliasRow, ModelRow, PoolRow
from gateway.snapshot.document import ModelEntry, PoolEntry


def models(session: Session) -> Sequence[ModelRow]:
    """All models, by name."""
    return session.scalars(select(ModelRow).order_by(ModelRow.name)).all()


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


def model_entry(row: ModelRow) -> ModelEntry:
    """The model as a snapshot carries it."""
    return ModelEntry(row.name, row.team, row.pool, tuple(version.version for version in row.versions))


def pool_entry(row: PoolRow) -> PoolEntry:
    """The pool as a snapshot carries it. What the row holds is not checked here."""
    return PoolEntry(row.name, row.engine, tuple(row.endpoints), tuple(row.grpc_endpoints))  # type: ignore[arg-type]
