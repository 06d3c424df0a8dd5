"""Models, their versions, and the pools that serve them."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, String
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
    """A model and the pool that serves it."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    team: Mapped[str] = mapped_column(NAME)
    pool: Mapped[str] = mapped_column(ForeignKey("pools.name"), index=True)

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
