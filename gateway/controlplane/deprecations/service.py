"""The verbs on announcements. Seeing one takes what seeing the alias or the model takes, making one what changing it takes."""

import math
from datetime import UTC, datetime

import msgspec
from sqlalchemy.orm import Session

from gateway.controlplane.change import Change
from gateway.controlplane.deprecations import store
from gateway.controlplane.deprecations.checks import check_announcement
from gateway.controlplane.deprecations.remaining import remaining_callers
from gateway.controlplane.deprecations.rights import demand_announce, team_of
from gateway.controlplane.deprecations.schemas import (
    Brownout,
    DeprecationList,
    DeprecationView,
    PutDeprecation,
    Status,
)
from gateway.controlplane.deprecations.subject import Subject, subject_of
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.db.models import DeprecationRow
from gateway.errors import GatewayError, Kind
from gateway.snapshot.deprecation import compile_deprecation, spell_at
from gateway.snapshot.document import DeprecationEntry

_DAY_S = 86_400


def list_deprecations(session: Session, caller: Caller) -> DeprecationList:
    """The announcements that the caller may see, the next sunset first, those without one last."""
    found = []
    for row in store.deprecations(session):
        subject = subject_of(row.subject)
        try:
            team = team_of(session, caller, subject)
        except GatewayError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            continue
        found.append(_view(session, row, subject, team))
    found.sort(key=lambda view: view.sunset_at.timestamp() if view.sunset_at else math.inf)
    return DeprecationList(found)


def show_deprecation(session: Session, caller: Caller, subject: Subject) -> DeprecationView:
    """One announcement. Raises NOT_FOUND where nothing is announced, and for what the caller may not see."""
    team = team_of(session, caller, subject)
    return _view(session, _announced(session, subject), subject, team)


def put_deprecation(
    change: Change, caller: Caller, subject: Subject, body: PutDeprecation, preconditions: Preconditions
) -> tuple[DeprecationView, bool]:
    """Announce the end, or replace the announcement whole; and whether it is new. The same again changes nothing."""
    session = change.session
    team = team_of(session, caller, subject)
    demand_announce(caller, subject, team)
    row = store.deprecation(session, subject.key)
    standing = None if row is None else store.entry_of(row)
    entry = _entry(body, standing, change.at)
    check_announcement(session, caller, subject, entry, standing, change.at)
    preconditions.check(
        row.revision if row else None, f"The deprecation of {subject.words}", required=entry != standing
    )
    if row is not None and entry == standing:
        return _view(session, row, subject, team), False
    created = row is None
    if row is None:
        row = DeprecationRow(subject=subject.key, revision=0)
        session.add(row)
    before, row.entry = row.entry, msgspec.to_builtins(entry)
    row.reason = body.reason
    change.revise(row)
    change.record("deprecation.announce", subject.key, before, row.entry, body.reason)
    return _view(session, row, subject, team), created


def withdraw_deprecation(
    change: Change, caller: Caller, subject: Subject, preconditions: Preconditions, reason: str | None
) -> None:
    """Take the announcement back: callers hear no more of it. The notes stay. Raises NOT_FOUND."""
    demand_announce(caller, subject, team_of(change.session, caller, subject))
    row = _announced(change.session, subject)
    preconditions.check(row.revision, f"The deprecation of {subject.words}", required=False)
    change.session.delete(row)
    change.record("deprecation.withdraw", subject.key, row.entry, None, reason)


def _announced(session: Session, subject: Subject) -> DeprecationRow:
    row = store.deprecation(session, subject.key)
    if row is None:
        raise GatewayError(Kind.NOT_FOUND, f"No end of {subject.words} is announced.")
    return row


def _entry(body: PutDeprecation, standing: DeprecationEntry | None, now: datetime) -> DeprecationEntry:
    """Header fields count whole seconds, so the two dates do as well."""
    begins = body.deprecated_at.timestamp() if body.deprecated_at else None
    if begins is None:
        begins = standing.deprecated_at if standing else now.timestamp()
    return DeprecationEntry(
        deprecated_at=float(math.floor(begins)),
        sunset_at=float(math.floor(body.sunset_at.timestamp())) if body.sunset_at else None,
        successor=body.successor,
        info_url=body.info_url,
        after_sunset=body.after_sunset,
        brownouts=tuple(sorted((each.start.timestamp(), each.end.timestamp()) for each in body.brownouts)),
    )


def _view(session: Session, row: DeprecationRow, subject: Subject, team: str) -> DeprecationView:
    entry = store.entry_of(row)
    now = datetime.now(UTC)
    alias, model, version = subject.shown
    left_s = None if entry.sunset_at is None else entry.sunset_at - now.timestamp()
    return DeprecationView(
        alias=alias,
        model=model,
        version=version,
        team=team,
        status=_status(entry, now.timestamp()),
        deprecated_at=_moment(entry.deprecated_at),
        sunset_at=None if entry.sunset_at is None else _moment(entry.sunset_at),
        days_left=None if left_s is None else int(left_s / _DAY_S),
        successor=entry.successor,
        info_url=entry.info_url,
        after_sunset=entry.after_sunset,
        brownouts=[Brownout(_moment(start), _moment(end)) for start, end in entry.brownouts],
        fields={name.decode(): value.decode() for name, value in compile_deprecation(entry).fields},
        callers=len(remaining_callers(session, subject, now)),
        revision=row.revision,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
        reason=row.reason,
    )


def _status(entry: DeprecationEntry, now: float) -> Status:
    if entry.sunset_at is not None and entry.sunset_at <= now:
        return "gone" if entry.after_sunset == "gone" else "overdue"
    if spell_at(compile_deprecation(entry), now) is not None:
        return "brownout"
    return "announced" if entry.deprecated_at > now else "deprecated"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
