"""The end itself: nothing is taken away from under callers whom an announcement has not moved on yet."""

from datetime import UTC, datetime

from gateway.controlplane.change import Change
from gateway.controlplane.deprecations import store
from gateway.controlplane.deprecations.remaining import REMAINS_DAYS, Remaining, remaining_callers
from gateway.controlplane.deprecations.subject import Subject, VersionSubject, subject_of
from gateway.errors import GatewayError, Kind

_MOST_NAMED = 5


def retire(change: Change, subject: Subject, *, force: bool, reason: str | None) -> dict[str, object]:
    """Let the subject's announcement and notes end with it; what the audit says of it besides.

    Raises CONFLICT while others than who makes the change called within the last days, or are sent here by an announcement,
    unless it is forced; UNPROCESSABLE for force without a reason.
    """
    if force and not (reason or "").strip():
        raise GatewayError(
            Kind.UNPROCESSABLE,
            "To cut callers off takes a reason; it is kept in the audit, with their names.",
            problems=("reason: required with force",),
        )
    callers = [
        each
        for each in remaining_callers(change.session, subject, change.at)
        if each.principal != change.actor
    ]
    sent_here = _sent_here(change, subject)
    row = store.deprecation(change.session, subject.key)
    if (callers or sent_here) and not force:
        raise _refusal(subject, callers, sent_here, announced=row is not None)
    told: dict[str, object] = {} if row is None else {"deprecation": row.entry}
    if callers:
        told["cut_off"] = [each.principal for each in callers]
    store.forget(change.session, subject.key)
    return told


def _sent_here(change: Change, subject: Subject) -> list[str]:
    """What names the alias as its successor."""
    if isinstance(subject, VersionSubject):
        return []
    return [
        subject_of(key).words
        for key, entry in sorted(store.all_entries(change.session).items())
        if entry.successor == subject.alias
    ]


def _refusal(
    subject: Subject, callers: list[Remaining], sent_here: list[str], *, announced: bool
) -> GatewayError:
    problems = [
        f"{each.principal}: {each.calls} {'call' if each.calls == 1 else 'calls'} within {REMAINS_DAYS} days, "
        f"the last one at {_written(each.last_at)}"
        for each in callers
    ]
    problems += [f"{what} names it as its successor" for what in sent_here]
    names = [each.principal for each in callers]
    if callers:
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        why = f"is still called by {', '.join(names[:_MOST_NAMED])}{more}"
        what_to_do = f"{'' if announced else 'announce its end and '}wait until they have moved on"
    else:
        why = f"is the successor of {', '.join(sent_here)}"
        what_to_do = "name another one there"
    return GatewayError(
        Kind.CONFLICT,
        f"It cannot go: {subject.words} {why}; {what_to_do}, or force it and give a reason.",
        problems=tuple(problems),
        members={"callers": names},
    )


def _written(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
