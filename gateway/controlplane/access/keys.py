"""The verbs on keys: `admin` on `@keys` makes and revokes them; everybody may list, and revoke, their own.

The text of a key is in the reply to its making and nowhere else: the database holds a keyed digest.
"""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from gateway.apikey import PREFIX, KeyText, make_key
from gateway.controlplane.access import store
from gateway.controlplane.access.schemas import CreatedKey, CreateKey, KeyList, KeyView
from gateway.controlplane.change import Change
from gateway.controlplane.edge.caller import Caller
from gateway.db.models import KeyRow
from gateway.errors import GatewayError, Kind, unprocessable
from gateway.policy.rules import PLATFORM
from gateway.secret import key_digest
from gateway.types import PRINCIPAL


def list_keys(session: Session, caller: Caller) -> KeyList:
    """All keys for those who may `read` `@keys`, else the caller's own."""
    everyone = caller.may("read", "@keys", PLATFORM) or caller.may("admin", "@keys", PLATFORM)
    rows = store.keys(session, None if everyone else caller.principal)
    return KeyList([KeyView(**_fields(row)) for row in rows])


def create_key(change: Change, caller: Caller, body: CreateKey, digest_key: bytes) -> CreatedKey:
    """Make a key. Its text is returned this once."""
    caller.demand("admin", "@keys")
    problems = []
    if not PRINCIPAL.fullmatch(body.principal):
        problems.append(f"principal: {body.principal!r} is none; write app:NAME or user:NAME")
    if body.expires_at is not None and body.expires_at <= change.at:
        problems.append(f"expires_at: {body.expires_at.isoformat()} has passed")
    if problems:
        raise unprocessable("The key cannot be made", problems)
    key, row = new_key(change, body.principal, digest_key, expires_at=body.expires_at, note=body.note)
    return CreatedKey(**_fields(row), key=key.text)


def revoke_key(change: Change, caller: Caller, key_id: str, reason: str | None) -> None:
    """Revoke a key for good; a revoked one stays as it is. Raises NOT_FOUND, also for a stranger's key."""
    row = change.session.get(KeyRow, key_id) if key_id.isalnum() and key_id.isascii() else None
    administers = caller.may("admin", "@keys", PLATFORM)
    if row is None or not (administers or row.principal == caller.principal):
        if row is not None and caller.may("read", "@keys", PLATFORM):
            caller.refuse("admin", "@keys", PLATFORM)
        raise GatewayError(Kind.NOT_FOUND, f"There is no key {key_id!r}, or you may not see it.")
    if row.revoked_at is not None:
        return
    before = plain(row)
    row.revoked_at, row.revoked_by = change.at, change.actor
    change.record("key.revoke", f"key:{row.id}", before, plain(row), reason)


def new_key(
    change: Change, principal: str, digest_key: bytes, *, expires_at: datetime | None, note: str | None
) -> tuple[KeyText, KeyRow]:
    """A key in the database, and its text."""
    key = make_key()
    while change.session.get(KeyRow, key.id) is not None:
        key = make_key()
    row = KeyRow(
        id=key.id,
        digest=key_digest(digest_key, key.text.encode()).hex(),
        principal=principal,
        note=note,
        created_at=change.at,
        created_by=change.actor,
        expires_at=expires_at,
    )
    change.session.add(row)
    change.session.flush()
    change.record("key.create", f"key:{row.id}", None, plain(row), note)
    return key, row


def plain(row: KeyRow) -> dict[str, object]:
    """The key for the audit: neither its text nor its digest."""
    return {
        "principal": row.principal,
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
    }


def _fields(row: KeyRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "principal": row.principal,
        "prefix": f"{PREFIX}{row.id}",
        "note": row.note,
        "created_at": row.created_at,
        "created_by": row.created_by,
        "expires_at": row.expires_at,
        "last_used_at": row.last_used_at,
        "revoked_at": row.revoked_at,
        "revoked_by": row.revoked_by,
    }
