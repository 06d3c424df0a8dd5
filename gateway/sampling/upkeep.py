"""The end of samples: those older than they may be, and those of a subject who is to be forgotten.

Every pass applies all deletions that are known, so that passes of several hosts over one store come to the same end,
whatever their order: a file that one of them wrote back with rows that another had taken out is found by the next pass.
"""

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import msgspec

from gateway.observe import metrics
from gateway.sampling.queue import Subjects
from gateway.sampling.store import SampleFile, Store

log = logging.getLogger(__name__)


class Forgotten(msgspec.Struct, frozen=True):
    """What a pass for subjects took out: so many rows, of so many files."""

    files: int = 0
    rows: int = 0


def remove_expired(store: Store, retention_days: int, today: date | None = None) -> int:
    """Remove the files of days further back than `retention_days` (0 keeps all): how many. Raises whatever the store raises."""
    if not retention_days:
        return 0
    first_kept = (today or datetime.now(UTC).date()) - timedelta(days=retention_days)
    removed = 0
    for file in list(store.files()):
        if file.partition.date < first_kept:
            store.remove(file.path)
            removed += 1
    metrics.SAMPLE_FILES_EXPIRED.inc(removed)
    return removed


class Forgetting:
    """Takes rows of subjects out of a store. Remembers which files hold none any more, as of which deletion."""

    def __init__(self) -> None:
        self._clean: dict[str, tuple[int, int]] = {}

    def run(
        self, store: Store, subjects: Subjects, newest: int, stopping: Callable[[], bool] = lambda: False
    ) -> Forgotten:
        """One pass over all files; `newest` is the number of the last deletion. Raises whatever the store raises."""
        files = rows = 0
        latest = max(subjects.values(), default=0.0)
        clean: dict[str, tuple[int, int]] = {}
        for file in list(store.files()):
            if stopping():
                break
            mark = (file.size_bytes, newest)
            if self._clean.get(file.path) != mark and _may_hold(file, latest):
                taken = _forget(store, file, subjects)
                files += taken > 0
                rows += taken
                if taken:
                    continue
            clean[file.path] = mark
        self._clean = clean
        metrics.SAMPLES_DELETED.inc(rows)
        return Forgotten(files, rows)


def _may_hold(file: SampleFile, latest: float) -> bool:
    """A file of a day after all deletions holds nothing that they mean."""
    return file.partition.date <= datetime.fromtimestamp(latest, UTC).date()


def _forget(store: Store, file: SampleFile, subjects: Subjects) -> int:
    """How many rows were taken out of one file."""
    try:
        data = store.get(file.path)
    except FileNotFoundError:
        # Another host's pass over the same store was faster.
        return 0
    # pyarrow is loaded by the first deletion, so that a worker without any stays small.
    from gateway.sampling import parquet

    left, taken = parquet.without_subjects(data, subjects)
    if left is None:
        store.remove(file.path)
    elif taken:
        store.put(file.path, left)
    return taken
