"""Announced ends, and what is known of those whom they concern."""

from typing import Any

from sqlalchemy import JSON, Text
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.models.table import PRINCIPAL, Revised


class DeprecationRow(Revised):
    """The announced end of an alias (`alias:NAME`) or a version (`version:MODEL@V`). `entry` is its DeprecationEntry."""

    __tablename__ = "deprecations"

    subject: Mapped[str] = mapped_column(PRINCIPAL, primary_key=True)
    entry: Mapped[dict[str, Any]] = mapped_column(JSON)
    reason: Mapped[str | None] = mapped_column(Text)


class DeprecationNoteRow(Revised):
    """What is known of one consumer of something that retires: whom to ask, what was agreed."""

    __tablename__ = "deprecation_notes"

    subject: Mapped[str] = mapped_column(PRINCIPAL, primary_key=True)
    principal: Mapped[str] = mapped_column(PRINCIPAL, primary_key=True)
    text: Mapped[str] = mapped_column(Text)
