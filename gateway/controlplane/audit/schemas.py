"""Audit rows as the API shows them."""

from datetime import datetime
from typing import Any

import msgspec


class AuditView(msgspec.Struct, frozen=True):
    """One change: `before` and `after` are null where there was nothing, or is nothing any more."""

    id: int
    at: datetime
    actor: str
    verb: str
    object: str
    before: Any
    after: Any
    reason: str | None
    request_id: str


class AuditList(msgspec.Struct, frozen=True):
    """Newest first. `next` is the `before` that continues the list; null at its end."""

    rows: list[AuditView]
    next: int | None = None
