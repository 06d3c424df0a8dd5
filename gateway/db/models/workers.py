"""What workers report: their state, and who called what."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Date, Float, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.models.table import NAME, PRINCIPAL, Table, UtcDateTime


class WorkerRow(Table):
    """The last report of a data-plane worker. `usage_batch` is the newest one of its batches that was counted."""

    __tablename__ = "worker_reports"

    worker: Mapped[str] = mapped_column(NAME, primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int] = mapped_column(BigInteger)
    role: Mapped[str] = mapped_column(String(16))
    snapshot_version: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[float] = mapped_column(Float)
    inference_url: Mapped[str | None] = mapped_column(String(255))
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    endpoints: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    usage_batch: Mapped[int] = mapped_column(BigInteger, default=0)
    samples: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    quota_workers: Mapped[int | None] = mapped_column(Integer)
    changed_files: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))


class UsageRow(Table):
    """What one principal had of one version through one alias on one day (UTC), as the workers reported it."""

    __tablename__ = "usage_days"
    __table_args__ = (Index("ix_usage_days_model", "model", "version"),)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    principal: Mapped[str] = mapped_column(PRINCIPAL, primary_key=True)
    alias: Mapped[str] = mapped_column(NAME, primary_key=True, index=True)
    model: Mapped[str] = mapped_column(NAME, primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    requests: Mapped[int] = mapped_column(BigInteger)
    failed: Mapped[int] = mapped_column(BigInteger)
    limited: Mapped[int] = mapped_column(BigInteger)
    gone: Mapped[int] = mapped_column(BigInteger)
    pinned: Mapped[int] = mapped_column(BigInteger)
    request_bytes: Mapped[int] = mapped_column(BigInteger)
    reply_bytes: Mapped[int] = mapped_column(BigInteger)
    inferences: Mapped[int] = mapped_column(BigInteger)
    tokens: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)
