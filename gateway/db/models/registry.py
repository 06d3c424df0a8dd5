"""Models, their versions, and the pools that serve them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, ForeignKeyConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from gateway.db.models.table import NAME, PRINCIPAL, Revised, Table, UtcDateTime


class PoolRow(Revised):
    """A pool; `declared` ones stand in the settings and are changed only there."""

    __tablename__ = "pools"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    engine: Mapped[str] = mapped_column(String(16))
    endpoints: Mapped[list[str]] = mapped_column(JSON)
    grpc_endpoints: Mapped[list[str]] = mapped_column(JSON)
    declared: Mapped[bool]


class ModelRow(Revised):
    """A model and the pool that serves it. `description` is its ModelDescription, null where nobody gave one.

    `risk` and `licence` are those of the description, for lists that ask for them.
    """

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    team: Mapped[str] = mapped_column(NAME)
    pool: Mapped[str] = mapped_column(ForeignKey("pools.name"), index=True)
    description: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    risk: Mapped[str] = mapped_column(String(16), default="Unknown")
    licence: Mapped[str | None] = mapped_column(String(500))

    versions: Mapped[list["VersionRow"]] = relationship(
        cascade="all, delete-orphan", order_by="VersionRow.version", lazy="selectin"
    )


class VersionRow(Table):
    """One immutable artefact of a model."""

    __tablename__ = "model_versions"

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(PRINCIPAL)


class RecordRow(Table):
    """What is known of a version beside its digest. `record` is its VersionRecord, `breaking` a list of its Breaking.

    `breaks` says whether that list has any.
    """

    __tablename__ = "version_records"
    __table_args__ = (
        ForeignKeyConstraint(
            ["model", "version"], ["model_versions.model", "model_versions.version"], ondelete="CASCADE"
        ),
    )

    model: Mapped[str] = mapped_column(NAME, primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    record: Mapped[dict[str, Any]] = mapped_column(JSON)
    breaking: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    breaks: Mapped[bool]
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str] = mapped_column(PRINCIPAL)


class BaseRow(Table):
    """One thing that a version was made from, as its record names it.

    `base_model` and `base_version` are null where the name is none that a model here can have.
    """

    __tablename__ = "version_bases"
    __table_args__ = (
        ForeignKeyConstraint(
            ["model", "version"], ["model_versions.model", "model_versions.version"], ondelete="CASCADE"
        ),
        Index("ix_version_bases_base", "base_model", "base_version"),
    )

    model: Mapped[str] = mapped_column(NAME, primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    base: Mapped[str] = mapped_column(String(500), primary_key=True)
    relation: Mapped[str] = mapped_column(String(32))
    base_model: Mapped[str | None] = mapped_column(NAME)
    base_version: Mapped[int | None] = mapped_column(BigInteger)
