"""Keys, and the rows of the policy."""

from datetime import datetime

from sqlalchemy import String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.models.table import NAME, PRINCIPAL, Table, UtcDateTime


class KeyRow(Table):
    """An API key, of which only the keyed digest is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    digest: Mapped[str] = mapped_column(String(32), unique=True)
    principal: Mapped[str] = mapped_column(PRINCIPAL, index=True)
    note: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(PRINCIPAL)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_by: Mapped[str | None] = mapped_column(PRINCIPAL)


class GrantRow(Table):
    """A `p` row of the policy; the order of the ids numbers the rows."""

    __tablename__ = "policy_grants"
    __table_args__ = (UniqueConstraint("subject", "domain", "object", "action", "effect"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(PRINCIPAL)
    domain: Mapped[str] = mapped_column(NAME)
    object: Mapped[str] = mapped_column(NAME)
    action: Mapped[str] = mapped_column(String(32))
    effect: Mapped[str] = mapped_column(String(16))


class RoleRow(Table):
    """A `g` row of the policy."""

    __tablename__ = "policy_roles"
    __table_args__ = (UniqueConstraint("subject", "role", "domain"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(PRINCIPAL)
    role: Mapped[str] = mapped_column(PRINCIPAL)
    domain: Mapped[str] = mapped_column(NAME)
