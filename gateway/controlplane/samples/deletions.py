"""Deletion of samples by subject: asked for here, carried out by the workers, who look after their stores."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from gateway.controlplane.change import Change
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.samples import store
from gateway.controlplane.samples.live import LiveSamples, live_samples
from gateway.controlplane.samples.schemas import DeleteSubject, DeletionList, DeletionView
from gateway.db.models import SampleDeletionRow
from gateway.reports import SampleDeletion, SampleReport
from gateway.secret import Pseudonyms

RESOURCE = "@samples"

REMEMBERED = timedelta(days=90)
"""A host that was away for longer than this is not told any more what it should have deleted."""

_MOST_TOLD = 1000


def delete_subject(
    change: Change, caller: Caller, body: DeleteSubject, pseudonyms: Pseudonyms
) -> DeletionView:
    """Have everything deleted that was kept of a subject until now. Takes `admin` on `@samples`.

    Only the pseudonym is kept: what names a person goes no further than this function.
    """
    caller.demand("admin", RESOURCE)
    row = SampleDeletionRow(
        # By the clock, and ever higher: also after a backup was restored, workers are told what is new.
        id=max(store.last_deletion(change.session) + 1, int(change.at.timestamp() * 1000)),
        subject=pseudonyms.of(body.subject),
        at=change.at,
        by=change.actor,
        reason=body.reason,
    )
    change.session.add(row)
    change.session.flush()
    after = {"id": row.id, "subject": row.subject}
    change.record("sample.delete", f"subject:{row.subject}", None, after, body.reason)
    return _view(row, live_samples(change.session))


def list_deletions(session: Session, caller: Caller, limit: int) -> DeletionList:
    """The deletions and how far they have come. Takes `read` on `@samples`."""
    caller.demand("read", RESOURCE)
    live = live_samples(session)
    return DeletionList([_view(row, live) for row in store.newest_deletions(session, limit)])


def unknown_to(session: Session, report: SampleReport | None) -> list[SampleDeletion]:
    """The deletions that a worker which reports this does not know of yet."""
    if report is None:
        return []
    rows = store.deletions(
        session, after=report.deletions_seen, since=datetime.now(UTC) - REMEMBERED, limit=_MOST_TOLD
    )
    return [SampleDeletion(row.id, row.subject, row.at.timestamp()) for row in rows]


def _view(row: SampleDeletionRow, live: list[LiveSamples]) -> DeletionView:
    waiting = _waiting_for(row.id, live) if row.at >= datetime.now(UTC) - REMEMBERED else []
    done = bool(live) and not waiting
    return DeletionView(
        row.id, row.subject, row.at, row.by, row.reason, "done" if done else "waiting", waiting
    )


def _waiting_for(number: int, live: list[LiveSamples]) -> list[str]:
    """The workers that do not know of the deletion, and of each host whose store was not gone through, its keeper."""
    waiting = {each.worker for each in live if each.report.deletions_seen < number}
    for host in {each.host for each in live}:
        here = [each for each in live if each.host == host]
        if max((each.report.deletions_done or 0) for each in here) < number:
            keepers = [each for each in here if each.report.deletions_done is not None]
            waiting |= {each.worker for each in keepers or here}
    return sorted(waiting)
