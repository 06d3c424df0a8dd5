"""How aliases are sampled, and whose samples are deleted."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.models.table import NAME, PRINCIPAL, Revised, Table, UtcDateTime


class SamplingRow(Revised):
    """How an alias is sampled. `entry` is its SamplingEntry."""

    __tablename__ = "sampling_rules"

    alias: Mapped[str] = mapped_column(NAME, primary_key=True)
    entry: Mapped[dict[str, Any]] = mapped_column(JSON)
    reason: Mapped[str | None] = mapped_column(Text)


class SampleDeletionRow(Table):
    """A subject, as a pseudonym, whose samples up to a moment are deleted. Ids are milliseconds of Unix time, and rise."""

    __tablename__ = "sample_deletions"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    subject: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(PRINCIPAL)
    reason: Mapped[str | None] = mapped_column(Text)
