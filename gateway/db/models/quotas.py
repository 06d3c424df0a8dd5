"""Quota policies."""

from typing import Any

from sqlalchemy import JSON, Text
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.models.table import NAME, Revised


class QuotaRow(Revised):
    """A quota policy. `entry` is its QuotaEntry without the name; `platform` ones were set by who administers all quotas."""

    __tablename__ = "quotas"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    platform: Mapped[bool]
    entry: Mapped[dict[str, Any]] = mapped_column(JSON)
    reason: Mapped[str | None] = mapped_column(Text)
