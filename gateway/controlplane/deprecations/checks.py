"""What forbids an announcement, beyond what a snapshot forbids: successors that lead nowhere."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from gateway.controlplane import owned
from gateway.controlplane.deprecations import store
from gateway.controlplane.deprecations.subject import AliasSubject, Subject, VersionSubject
from gateway.controlplane.edge.caller import Caller
from gateway.db.models import AliasRow
from gateway.errors import unprocessable
from gateway.snapshot.deprecation import announcement_problems
from gateway.snapshot.document import DeprecationEntry
from gateway.types import NAME


def check_announcement(
    session: Session,
    caller: Caller,
    subject: Subject,
    entry: DeprecationEntry,
    standing: DeprecationEntry | None,
    now: datetime,
) -> None:
    """Raises UNPROCESSABLE with every fault of the announcement."""
    problems = announcement_problems(subject.words, entry, standing, now.timestamp())
    if entry.successor is not None and NAME.fullmatch(entry.successor):
        problems += _successor_problems(session, caller, subject, entry.successor, now.timestamp())
    if problems:
        raise unprocessable("The announcement cannot be made", problems)


def _successor_problems(
    session: Session, caller: Caller, subject: Subject, successor: str, now: float
) -> list[str]:
    alias = subject.alias if isinstance(subject, AliasSubject) else None
    if successor == alias:
        return [f"{subject.words}: it cannot be its own successor"]
    row = owned.alias(session, successor)
    if row is None or not owned.may_see_alias(caller, successor, row.team):
        return [
            f"{subject.words}: there is no alias {successor!r} to be its successor, or you may not see it"
        ]
    entries = store.all_entries(session)
    if alias is not None and (circle := _circle(alias, successor, entries)):
        return [f"{subject.words}: its successor leads back to it: {circle}"]
    if isinstance(subject, VersionSubject) and _leads_wholly_to(subject, row):
        return [
            f"{subject.words}: alias {successor} leads back to it with all its traffic; set its targets first"
        ]
    own = entries.get(store.alias_subject(successor))
    if own is not None and own.after_sunset == "gone" and own.sunset_at is not None and own.sunset_at <= now:
        return [f"{subject.words}: alias {successor} is retired itself; name one that serves"]
    return []


def _leads_wholly_to(version: VersionSubject, alias: AliasRow) -> bool:
    """Whether no call of the alias is answered by another version."""
    return {(each.model, each.version) for each in alias.targets if each.weight_bp} == {
        (version.model, version.version)
    }


def _circle(alias: str, successor: str, entries: Mapping[str, DeprecationEntry]) -> str:
    """The way from an alias by its successors back to it, as words; empty where there is none."""
    way = [alias, successor]
    while (entry := entries.get(store.alias_subject(way[-1]))) is not None and entry.successor is not None:
        way.append(entry.successor)
        if entry.successor in way[:-1]:
            break
    return " > ".join(way) if way[-1] == alias else ""
