"""The audit."""

from datetime import datetime

from sqlalchemy import BigInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.models.table import PRINCIPAL, Table, UtcDateTime


class AuditRow(Table):
    """Who changed what. `payload` is the whole row as canonical JSON; the columns beside it are for looking it up.

    The ids have no gaps: they are given out in the writer's turn.
    """

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(PRINCIPAL, index=True)
    verb: Mapped[str] = mapped_column(String(64))
    object: Mapped[str] = mapped_column(String(160), index=True)
    request_id: Mapped[str] = mapped_column(String(64))
    payload: Mapped[str] = mapped_column(Text)
