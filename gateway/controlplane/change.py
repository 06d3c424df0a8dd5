"""One change in the making: the transaction it lives in, who makes it, and its audit rows.

Services act on a `Change` and never commit; `ControlPlane.change` does, and publishes what came of it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.controlplane.audit import service as audit
from gateway.db.models import Revised, StateRow
from gateway.db.session import Database

T = TypeVar("T")

SETTINGS_ACTOR = "settings"
"""Who changes what the settings file and the policies folder say."""


class Change:
    """A writer's turn. `state` is locked, so what the session reads is what will be true when it commits."""

    __slots__ = ("actor", "at", "changed", "request_id", "session", "state")

    def __init__(self, session: Session, state: StateRow, actor: str, request_id: str, at: datetime) -> None:
        self.session = session
        self.state = state
        self.actor = actor
        self.request_id = request_id
        self.at = at
        self.changed = False

    def revise(self, row: Revised) -> None:
        """Give a row that was changed its next revision, with who changed it and when, and write it."""
        row.revision += 1
        row.updated_at, row.updated_by = self.at, self.actor
        self.session.flush()

    def record(
        self,
        verb: str,
        obj: str,
        before: object,
        after: object,
        reason: str | None,
        *,
        publish: bool = True,
    ) -> None:
        """Write the audit row, and with it the fact that there is something to publish, unless no snapshot holds it.

        `before` and `after` are plain data, None where there was or will be nothing; never a secret.
        """
        audit.record(
            self.session,
            audit.Entry(
                at=self.at,
                actor=self.actor,
                verb=verb,
                object=obj,
                before=before,
                after=after,
                reason=reason,
                request_id=self.request_id,
            ),
        )
        self.changed = self.changed or publish


def write_change(
    database: Database, actor: str, request_id: str, verb: Callable[[Change], T]
) -> tuple[T, bool]:
    """Run `verb` in one transaction, in its turn; its result, and whether it changed anything.

    All changes lock the one state row first. So they happen one after the other, on every replica, and what a verb
    has checked is still true when it commits.
    """

    def transaction(session: Session) -> tuple[T, bool]:
        change = _turn(session, actor, request_id)
        result = verb(change)
        if change.changed:
            change.state.version += 1
            change.state.changed_at = change.at
        return result, change.changed

    return database.write(transaction)


def rehearse_change(database: Database, actor: str, request_id: str, verb: Callable[[Change], T]) -> T:
    """Run `verb` as `write_change` does, with every check, and roll it back; its result, as it would have been."""

    def transaction(session: Session) -> NoReturn:
        raise _Rehearsed(verb(_turn(session, actor, request_id)))

    try:
        database.write(transaction)
    except _Rehearsed as done:
        result: T = done.result
        return result


class _Rehearsed(Exception):
    """Ends a transaction that must not be committed."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def _turn(session: Session, actor: str, request_id: str) -> Change:
    state = session.scalars(select(StateRow).where(StateRow.id == 1).with_for_update()).one()
    return Change(session, state, actor, request_id, datetime.now(UTC))
