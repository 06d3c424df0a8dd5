"""Who still calls what retires: counted by the workers, summed by day, and held against the end."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

from sqlalchemy.orm import Session

from gateway.controlplane import owned
from gateway.controlplane.deprecations import store
from gateway.controlplane.deprecations.notes import note_view
from gateway.controlplane.deprecations.remaining import remaining_callers, usage_of
from gateway.controlplane.deprecations.rights import may_announce, team_of
from gateway.controlplane.deprecations.schemas import (
    CallerList,
    CallerTrend,
    CallerView,
    NoteView,
    ThroughAlias,
)
from gateway.controlplane.deprecations.store import DayOfCalls
from gateway.controlplane.deprecations.subject import Subject
from gateway.controlplane.edge.caller import Caller
from gateway.policy.rules import PLATFORM
from gateway.stats.trend import trend

DEFAULT_DAYS = 14
MOST_DAYS = 90


def list_callers(session: Session, caller: Caller, subject: Subject, days: int, limit: int) -> CallerList:
    """Who called within the last `days` whole days and today, and who is noted as a consumer. Raises NOT_FOUND.

    The calls of a version that came through other teams' aliases are for who may announce its end, or read the audit;
    and so are the notes.
    """
    team = team_of(session, caller, subject)
    knows_all = may_announce(caller, subject, team) or caller.may("read", "@audit", PLATFORM)
    now = datetime.now(UTC)
    window = [now.date() - timedelta(days=back) for back in range(days, -1, -1)]
    which = usage_of(subject)
    rows = store.days_of_calls(session, which, window[0])
    if not knows_all:
        rows = _for_readers(session, caller, rows)
    notes = {name: note_view(row) for name, row in store.notes(session, subject.key).items()}
    by_principal: dict[str, list[DayOfCalls]] = defaultdict(list)
    for row in rows:
        by_principal[row.principal].append(row)
    if knows_all:
        for principal in notes:
            by_principal.setdefault(principal, [])
    remaining = {each.principal for each in remaining_callers(session, subject, now)}
    spans = store.first_and_last(session, which)
    successor = _successor(session, subject)
    views = [
        _view(
            caller,
            principal,
            found,
            window,
            spans.get(principal),
            principal in remaining,
            successor,
            notes.get(principal) if knows_all else None,
        )
        for principal, found in by_principal.items()
    ]
    views.sort(key=lambda view: (not view.remains, -view.calls, view.principal))
    left_out = max(0, len(views) - limit)
    return CallerList(*subject.shown, window, views[:limit], left_out)


def _for_readers(session: Session, caller: Caller, rows: Iterable[DayOfCalls]) -> list[DayOfCalls]:
    """What came through aliases that the caller may see, and the caller's own calls."""
    visible = {row.name for row in owned.aliases(session) if owned.may_see_alias(caller, row.name, row.team)}
    return [row for row in rows if row.alias in visible or row.principal == caller.principal]


def _successor(session: Session, subject: Subject) -> str | None:
    row = store.deprecation(session, subject.key)
    return None if row is None else store.entry_of(row).successor


def _view(
    caller: Caller,
    principal: str,
    rows: Sequence[DayOfCalls],
    window: Sequence[date],
    span: tuple[date, datetime] | None,
    remains: bool,
    successor: str | None,
    note: NoteView | None,
) -> CallerView:
    by_day = dict.fromkeys(window, 0)
    through: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        # A day ahead of this clock's is today.
        by_day[min(row.day, window[-1])] += row.calls
        through[row.alias][0] += row.calls
        through[row.alias][1] += row.pinned
    counts = list(by_day.values())
    # Today is not over, and before its first call nobody calls less than before.
    whole = [count for day, count in list(by_day.items())[:-1] if span is not None and day >= span[0]]
    return CallerView(
        principal=principal,
        last_at=span[1] if span else None,
        remains=remains,
        trend=_trend(whole, remains),
        calls=sum(counts),
        calls_per_day=round(sum(whole) / len(whole), 2) if whole else float(counts[-1]),
        calls_by_day=counts,
        failed=sum(row.failed for row in rows),
        limited=sum(row.limited for row in rows),
        gone=sum(row.gone for row in rows),
        pinned=sum(row.pinned for row in rows),
        through=[ThroughAlias(alias, *sums) for alias, sums in sorted(through.items())],
        may_call_successor=_may_call(caller, principal, successor),
        note=note,
    )


def _trend(whole_days: Sequence[int], remains: bool) -> CallerTrend:
    if not remains:
        return "stopped"
    return trend(whole_days) or "new"


def _may_call(caller: Caller, principal: str, successor: str | None) -> bool | None:
    """Whether the rows of the policy let the principal call the successor."""
    if successor is None:
        return None
    alias = caller.snapshot.aliases.get(successor)
    return alias is not None and caller.snapshot.decide(principal, alias.team, alias.name, "infer")
