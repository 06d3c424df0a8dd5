"""What all tables share. Every moment is in UTC; everything that a snapshot is built from changes in one writer's turn."""

from datetime import UTC, datetime

from sqlalchemy import BigInteger, DateTime, Dialect, MetaData, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Constraints need names that do not depend on the database, so that a later migration can find them."""

NAME = String(128)
PRINCIPAL = String(160)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, to the microsecond. SQLite keeps no zone, so it is taken off and put back here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; a moment without a zone is a mistake in the code."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be kept")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Always with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    """What the tables share."""

    metadata = MetaData(naming_convention=NAMING)


class Revised(Table):
    """What people change, and may not overwrite unseen: `revision` is its ETag and rises with each change."""

    __abstract__ = True

    revision: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_by: Mapped[str] = mapped_column(PRINCIPAL)


class StateRow(Table):
    """One row. Its version rises with every change; holding its lock is a writer's turn.

    `installation` is made with the tables and never changes: a backup keeps it, another database has another.
    `policy_revision` is 0 until the first rules are in the database.
    """

    __tablename__ = "state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    installation: Mapped[str] = mapped_column(String(32))
    version: Mapped[int] = mapped_column(BigInteger)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    policy_revision: Mapped[int] = mapped_column(BigInteger)
    policy_updated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    policy_updated_by: Mapped[str | None] = mapped_column(PRINCIPAL)
