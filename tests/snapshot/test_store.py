"""Several workers of a host keep one snapshot on disk."""

import fcntl
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from gateway.snapshot.document import SnapshotDocument, encode
from gateway.snapshot.store import SnapshotStore
from tests.gateway_process import document
from tests.patience import PATIENT_S

VERSIONS = 40
WORKERS = 4


def follow(folder: Path, barrier: "multiprocessing.synchronize.Barrier") -> None:
    """Save one version after the other, each at the same moment as the other workers."""
    store = SnapshotStore(folder)
    for version in range(1, VERSIONS + 1):
        data = encode(numbered(version))
        barrier.wait(PATIENT_S)
        store.save(data)


def numbered(version: int) -> SnapshotDocument:
    """A snapshot of that version; the same bytes wherever it is made."""
    return SnapshotDocument(version, 1.0, "installation", (), (), (), (), document().policy)


def versions(store: SnapshotStore) -> list[int]:
    """The versions on disk, newest first. Fails when one cannot be used."""
    found = [each for _, each in store.candidates()]
    assert all(isinstance(each, SnapshotDocument) for each in found), found
    return [each.version for each in found if isinstance(each, SnapshotDocument)]


@pytest.mark.slow
def test_workers_that_save_the_same_snapshot_keep_the_one_before(tmp_path: Path) -> None:
    """Four at once, forty times: whoever looks finds whole snapshots, never none; at the end the last two stand there."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(WORKERS)
    workers = [context.Process(target=follow, args=(tmp_path, barrier)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    store = SnapshotStore(tmp_path)
    seen = 0
    while any(worker.is_alive() for worker in workers):
        found = versions(store)
        assert found or not seen
        seen = max([seen, *found])
        assert all(version >= seen - 2 for version in found)
        time.sleep(0.001)
    assert [worker.exitcode for worker in workers] == [0] * WORKERS
    assert versions(store) == [VERSIONS, VERSIONS - 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snapshot", "snapshot.previous"]


def test_a_worker_that_hangs_in_its_turn_keeps_nobody_from_a_change(tmp_path: Path) -> None:
    """The others wait for a moment only."""
    store = SnapshotStore(tmp_path)
    store.save(encode(numbered(1)))
    lock = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        store.save(encode(numbered(2)))
    finally:
        os.close(lock)
    assert versions(store) == [2, 1]


def test_where_there_are_no_links_the_one_before_is_kept_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have none."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = SnapshotStore(tmp_path)
    for version in (1, 2, 3):
        store.save(encode(numbered(version)))
    assert versions(store) == [3, 2]
