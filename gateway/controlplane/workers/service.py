"""Workers' reports: kept as they come, they change nothing that a snapshot is built from."""

from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy.orm import Session

from gateway.controlplane.access.store import note_use
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.usage.store import add_usage
from gateway.controlplane.workers import store
from gateway.controlplane.workers.schemas import WorkerList, WorkerView
from gateway.db.models import WorkerRow
from gateway.errors import GatewayError, Kind
from gateway.reports import ChangedFiles, EndpointReport, Report, SampleReport
from gateway.types import NAME

FORGOTTEN_AFTER = timedelta(hours=1)
"""A worker that has not reported for so long is gone."""

REMEMBERED_FOR = timedelta(days=7)
"""So long it is known which batches of a worker were counted: after an outage one comes again whose answer was lost."""

_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def take_report(session: Session, worker: str, report: Report) -> None:
    """Keep the report and move the last use of the keys it names. Raises UNPROCESSABLE for a bad worker name."""
    if not NAME.fullmatch(worker):
        raise GatewayError(Kind.UNPROCESSABLE, f"{worker!r} is no name of a worker.")
    now = datetime.now(UTC)
    row = session.get(WorkerRow, worker)
    if row is None:
        row = WorkerRow(worker=worker, usage_batch=0)
        session.add(row)
    elif row.started_at != report.started_at:
        # Another process under the same name counts its batches anew.
        row.usage_batch = 0
    row.host, row.pid, row.role = report.host, report.pid, report.role
    row.snapshot_version, row.started_at, row.reported_at = report.snapshot_version, report.started_at, now
    row.inference_url = report.inference_url
    row.endpoints = [msgspec.to_builtins(endpoint) for endpoint in report.endpoints]
    row.samples = msgspec.to_builtins(report.samples)
    row.quota_workers = report.quota_workers
    row.changed_files = [msgspec.to_builtins(each) for each in report.changed_files]
    store.forget(session, now - REMEMBERED_FOR)
    # A worker's clock may be ahead; a key is not used in the future.
    used = {
        key_id: min(now, datetime.fromtimestamp(at, UTC))
        for key_id, at in report.keys_used.items()
        if key_id.isalnum() and key_id.isascii() and 0 <= at < _LATEST
    }
    note_use(session, used)
    if report.usage is not None and report.usage.number > row.usage_batch:
        add_usage(session, report.usage.rows, now)
        row.usage_batch = report.usage.number


def forget_worker(session: Session, worker: str) -> None:
    """Let the worker be gone: it has ended. Nothing happens where it is not known.

    Which of its batches were counted is remembered: another worker may still report what this one could not.
    """
    row = session.get(WorkerRow, worker)
    if row is not None:
        row.reported_at = min(row.reported_at, datetime.now(UTC) - FORGOTTEN_AFTER)
        row.endpoints, row.samples = [], None


def list_workers(session: Session, caller: Caller) -> WorkerList:
    """The workers of the last hour."""
    caller.demand("read", "@workers")
    now = datetime.now(UTC)
    return WorkerList(
        [
            WorkerView(
                worker=row.worker,
                host=row.host,
                pid=row.pid,
                role=row.role,
                snapshot_version=row.snapshot_version,
                started_at=row.started_at,
                reported_at=row.reported_at,
                age_s=round(max(0.0, (now - row.reported_at).total_seconds()), 3),
                inference_url=row.inference_url,
                endpoints=msgspec.convert(row.endpoints, list[EndpointReport]),
                samples=msgspec.convert(row.samples, SampleReport | None),
                quota_workers=row.quota_workers,
                changed_files=msgspec.convert(row.changed_files or [], list[ChangedFiles]),
            )
            for row in store.workers(session, now - FORGOTTEN_AFTER)
        ]
    )
