"""Writes the audit row of a change in the change's own transaction, and reads the rows back."""

import json
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from gateway.controlplane.audit import store
from gateway.controlplane.audit.schemas import AuditList, AuditView
from gateway.controlplane.edge.caller import Caller
from gateway.db.models import AuditRow


class Entry(msgspec.Struct, frozen=True):
    """What an audit row says."""

    at: datetime
    actor: str
    verb: str
    before: Any
    after: Any
    object: str
    reason: str | None
    request_id: str


def record(session: Session, entry: Entry) -> None:
    """Append the row. The caller holds the writer's turn, so the ids have no gaps."""
    session.add(
        AuditRow(
            id=store.last_id(session) + 1,
            at=entry.at,
            actor=entry.actor,
            verb=entry.verb,
            object=entry.object,
            request_id=entry.request_id,
            payload=canonical(msgspec.to_builtins(entry)),
        )
    )
    session.flush()


def canonical(value: object) -> str:
    """The one JSON text of `value`: keys sorted, no spaces, so that the same content has the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def list_rows(
    session: Session, caller: Caller, *, limit: int, before: int | None, obj: str | None, actor: str | None
) -> AuditList:
    """The newest rows, older than row `before`, of one object or actor."""
    caller.demand("read", "@audit")
    rows = store.rows(session, limit=limit, before=before, obj=obj, actor=actor)
    return AuditList([_view(row) for row in rows], rows[-1].id if len(rows) == limit else None)


def _view(row: AuditRow) -> AuditView:
    payload = json.loads(row.payload)
    return AuditView(
        id=row.id,
        at=row.at,
        actor=row.actor,
        verb=row.verb,
        object=row.object,
        before=payload["before"],
        after=payload["after"],
        reason=payload["reason"],
        request_id=row.request_id,
    )
