"""Aliases, what they send traffic to, and what became of them change by change."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, ForeignKeyConstraint, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from gateway.db.models.table import NAME, PRINCIPAL, Revised, Table, UtcDateTime


class AliasRow(Revised):
    """An alias as it stands. `slices` are [start, end, target number] over the 10 000 buckets."""

    __tablename__ = "aliases"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    team: Mapped[str] = mapped_column(NAME, index=True)
    sticky: Mapped[bool]
    salt: Mapped[str] = mapped_column(String(32))
    slices: Mapped[list[list[int]]] = mapped_column(JSON)
    reason: Mapped[str | None] = mapped_column(Text)

    targets: Mapped[list["TargetRow"]] = relationship(
        cascade="all, delete-orphan", order_by="TargetRow.position", lazy="selectin"
    )


class TargetRow(Table):
    """A target of an alias; position 0 is the stable one. The foreign key keeps a version that traffic goes to."""

    __tablename__ = "alias_targets"
    __table_args__ = (
        ForeignKeyConstraint(["model", "version"], ["model_versions.model", "model_versions.version"]),
    )

    alias: Mapped[str] = mapped_column(ForeignKey("aliases.name", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    model: Mapped[str] = mapped_column(NAME, index=True)
    version: Mapped[int] = mapped_column(BigInteger)
    weight_bp: Mapped[int]


class RevisionRow(Table):
    """What one change did to an alias; kept after the alias is gone, so the numbers of a name never repeat.

    `before` and `after` are lists of targets, or null where there was no alias. `salt`, `slices` and `sticky` are
    what a rollback to this revision restores.
    """

    __tablename__ = "alias_revisions"

    alias: Mapped[str] = mapped_column(NAME, primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(PRINCIPAL)
    reason: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))
    team: Mapped[str] = mapped_column(NAME)
    before: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    sticky: Mapped[bool]
    salt: Mapped[str] = mapped_column(String(32))
    slices: Mapped[list[list[int]]] = mapped_column(JSON)


class AdapterRow(Revised):
    """How an alias is called by way of the OpenAI API. `entry` is its Adapter."""

    __tablename__ = "alias_adapters"

    alias: Mapped[str] = mapped_column(NAME, primary_key=True)
    entry: Mapped[dict[str, Any]] = mapped_column(JSON)
    reason: Mapped[str | None] = mapped_column(Text)
