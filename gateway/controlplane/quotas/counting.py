"""Whether the workers that reported lately keep quotas as they are written."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.db.models import WorkerRow

LIVE_FOR = timedelta(seconds=3)
"""A worker reports once a second; one that has been silent for so long may be gone."""

_ROUNDING = 0.001


def sharing_workers(session: Session) -> Sequence[int]:
    """Of each live worker that counts apart from the others: among how many it shares each limit out."""
    query = select(WorkerRow.quota_workers).where(
        WorkerRow.reported_at >= datetime.now(UTC) - LIVE_FOR, WorkerRow.quota_workers.is_not(None)
    )
    return [workers for workers in session.scalars(query) if workers is not None]


def counting_problems(shares: Sequence[int], *, hard: bool) -> list[str]:
    """Why a policy is not kept as it is written, where such workers serve."""
    closed = [workers for workers in shares if hard and workers > 1]
    if closed:
        return [
            "it is hard and workers count by shares, so all that it binds is refused; name a Redis in quota.redis_url"
        ]
    times = sum(1 / workers for workers in shares)
    if times > 1 + _ROUNDING:
        return [
            f"{len(shares)} workers, each by its share, let {times:.3g} times as much through; name a Redis in "
            f"quota.redis_url, or in quota.workers how many there are"
        ]
    return []
