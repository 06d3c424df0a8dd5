"""Contact notes: what is known of each consumer of something that retires. No snapshot holds them."""

from sqlalchemy.orm import Session

from gateway.controlplane.change import Change
from gateway.controlplane.deprecations.rights import demand_announce, team_of
from gateway.controlplane.deprecations.schemas import NoteView, PutNote
from gateway.controlplane.deprecations.subject import Subject
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.db.models import DeprecationNoteRow
from gateway.errors import GatewayError, Kind
from gateway.types import PRINCIPAL


def put_note(
    change: Change,
    caller: Caller,
    subject: Subject,
    principal: str,
    body: PutNote,
    preconditions: Preconditions,
) -> tuple[NoteView, bool]:
    """Note something on a consumer, who need not have called yet; and whether it is new. The same text changes nothing."""
    row = _row(change.session, caller, subject, principal)
    same = row is not None and row.text == body.text
    preconditions.check(row.revision if row else None, _words(subject, principal), required=not same)
    if row is not None and same:
        return note_view(row), False
    created = row is None
    before = None if row is None else row.text
    if row is None:
        row = DeprecationNoteRow(subject=subject.key, principal=principal, revision=0)
        change.session.add(row)
    row.text = body.text
    change.revise(row)
    _record(change, "deprecation.note", subject, principal, before, body.text, None)
    return note_view(row), created


def delete_note(
    change: Change,
    caller: Caller,
    subject: Subject,
    principal: str,
    preconditions: Preconditions,
    reason: str | None,
) -> None:
    """Take the note away. Raises NOT_FOUND."""
    row = _row(change.session, caller, subject, principal)
    if row is None:
        raise GatewayError(Kind.NOT_FOUND, f"There is no {_words(subject, principal)}.")
    preconditions.check(row.revision, _words(subject, principal), required=False)
    change.session.delete(row)
    _record(change, "deprecation.delete-note", subject, principal, row.text, None, reason)


def note_view(row: DeprecationNoteRow) -> NoteView:
    """The note as it stands."""
    return NoteView(row.text, row.revision, row.updated_at, row.updated_by)


def _row(session: Session, caller: Caller, subject: Subject, principal: str) -> DeprecationNoteRow | None:
    demand_announce(caller, subject, team_of(session, caller, subject))
    if not PRINCIPAL.fullmatch(principal):
        raise GatewayError(
            Kind.UNPROCESSABLE,
            f"{principal!r} is no consumer; write app:NAME or user:NAME.",
            problems=(f"principal: {principal!r} is neither app:NAME nor user:NAME",),
        )
    return session.get(DeprecationNoteRow, (subject.key, principal))


def _words(subject: Subject, principal: str) -> str:
    return f"note on {principal} for {subject.words}"


def _record(
    change: Change,
    verb: str,
    subject: Subject,
    principal: str,
    before: str | None,
    after: str | None,
    reason: str | None,
) -> None:
    was, now = (None if text is None else {"principal": principal, "text": text} for text in (before, after))
    change.record(verb, subject.key, was, now, reason, publish=False)
