"""What the workers that reported lately say of their samples."""

from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.db.models import WorkerRow
from gateway.reports import SampleReport

LIVE_FOR = timedelta(seconds=60)
"""A worker reports once a second; one that has been silent for so long is asked nothing."""


class LiveSamples(msgspec.Struct, frozen=True):
    """What one worker says of its samples."""

    worker: str
    host: str
    report: SampleReport


def live_samples(session: Session) -> list[LiveSamples]:
    """What each live worker says, by their names."""
    query = (
        select(WorkerRow)
        .where(WorkerRow.reported_at >= datetime.now(UTC) - LIVE_FOR)
        .order_by(WorkerRow.worker)
    )
    return [
        LiveSamples(row.worker, row.host, msgspec.convert(row.samples, SampleReport))
        for row in session.scalars(query)
        if row.samples is not None
    ]
