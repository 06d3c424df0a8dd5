"""The end of samples: too old, or of somebody who is to be forgotten; whoever else looks after the same store."""

from datetime import date
from pathlib import Path

import pytest

from gateway.reports import SampleDeletion
from gateway.sampling import parquet
from gateway.sampling.keeper import StoreKeeper
from gateway.sampling.store import Store, new_part, partition_of
from gateway.sampling.upkeep import Forgetting, Forgotten, remove_expired
from tests.patience import PATIENT_S
from tests.sampling.kept import row, until
from tests.sampling.scene import parts, rows

NOON = 1_795_521_600.0
DAY_S = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in a folder."""
    return Store(str(tmp_path / "samples"))


def keep(store: Store, *ids: str, subject: str = "s", at: float = NOON) -> str:
    """Put a file of rows of one subject."""
    path = new_part(partition_of("a", 2, at), "w")
    store.put(path, parquet.encode([row(each, subject=subject, at=at) for each in ids]))
    return path


def left(folder: Path) -> list[str]:
    """The ids of the rows that are still there."""
    return sorted(each["request_id"] for each in rows(folder / "samples"))


def test_old_days_go(tmp_path: Path, store: Store) -> None:
    """The day that lies as many days back as are kept stays; the one before goes. 0 keeps all."""
    for age in range(4):
        keep(store, f"{age} days", at=NOON - age * DAY_S)
    assert remove_expired(store, 0, date(2030, 1, 1)) == 0
    assert remove_expired(store, 2, date(2026, 11, 24)) == 1
    assert left(tmp_path) == ["0 days", "1 days", "2 days"]
    assert remove_expired(store, 2, date(2026, 11, 24)) == 0


def test_a_subject_is_taken_out_of_every_file(tmp_path: Path, store: Store) -> None:
    """Rows after the moment stay, files without any are not written anew, those with nothing else go."""
    keep(store, "of s", subject="s")
    other = keep(store, "of t", subject="t")
    keep(store, "later", subject="s", at=NOON + 10)
    untouched = (tmp_path / "samples" / other).stat().st_mtime_ns
    assert Forgetting().run(store, {"s": NOON}, 1) == Forgotten(1, 1)
    assert left(tmp_path) == ["later", "of t"]
    assert (tmp_path / "samples" / other).stat().st_mtime_ns == untouched


def test_files_that_were_looked_at_are_not_read_again_for_the_same_subjects(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass over a store in which nothing happened lists it and reads nothing; another subject is looked for anew."""
    keep(store, "1", subject="t")
    forgetting = Forgetting()
    forgetting.run(store, {"s": NOON}, 1)
    read: list[str] = []
    get = store.get

    def noting(path: str) -> bytes:
        read.append(path)
        return get(path)

    monkeypatch.setattr(store, "get", noting)
    forgetting.run(store, {"s": NOON}, 1)
    assert not read
    assert forgetting.run(store, {"s": NOON, "t": NOON}, 2) == Forgotten(1, 1)
    keep(store, "2", subject="s")
    assert forgetting.run(store, {"s": NOON, "t": NOON}, 2) == Forgotten(1, 1)


def test_a_subject_is_forgotten_as_often_as_that_is_asked_for(tmp_path: Path, store: Store) -> None:
    """What was kept after the first deletion goes with the second."""
    keep(store, "later", subject="s", at=NOON + 10)
    forgetting = Forgetting()
    assert forgetting.run(store, {"s": NOON}, 1) == Forgotten(0, 0)
    assert left(tmp_path) == ["later"]
    assert forgetting.run(store, {"s": NOON + 20}, 2) == Forgotten(1, 1)


def test_two_hosts_over_one_store_come_to_the_same_end(tmp_path: Path, store: Store) -> None:
    """One writes back, late, a file that it read before the other took somebody out: the next pass finds it."""
    path = keep(store, "of s", "of s too", subject="s")
    store.put(
        path,
        parquet.encode(
            [row("s", subject="s", at=NOON), row("t", subject="t", at=NOON), row("u", subject="u", at=NOON)]
        ),
    )
    slow = Store(str(tmp_path / "samples"))
    stale = slow.get(path)
    first, second = Forgetting(), Forgetting()
    first.run(store, {"s": NOON, "t": NOON}, 2)
    late, _ = parquet.without_subjects(stale, {"s": NOON})
    assert late is not None
    slow.put(path, late)
    assert left(tmp_path) == ["t", "u"]
    second.run(slow, {"s": NOON, "t": NOON}, 2)
    first.run(store, {"s": NOON, "t": NOON}, 2)
    assert left(tmp_path) == ["u"]


def test_a_file_that_vanishes_is_no_fault(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another host was faster."""
    path = keep(store, "1")
    files = list(store.files())
    monkeypatch.setattr(store, "files", lambda: iter(files))
    store.remove(path)
    assert Forgetting().run(store, {"s": NOON}, 1) == Forgotten(0, 0)


def keeper(folder: Path, *, settle_s: float = 0.0, retention_days: int = 0) -> StoreKeeper:
    """A keeper of the folder's samples."""
    url = str(folder / "samples")
    return StoreKeeper(lambda: Store(url), url, folder / "samples.lock", retention_days, settle_s)


def test_a_deletion_is_done_once_what_was_under_way_is_written(tmp_path: Path, store: Store) -> None:
    """A worker may still write rows that it had taken before it knew; the second pass takes those out."""
    keep(store, "1")
    found = keeper(tmp_path, settle_s=1.0)
    found.start()
    found.tell([SampleDeletion(7, "s", NOON)])
    until(lambda: left(tmp_path) == [], "the first pass")
    keep(store, "late")
    assert (found.seen, found.done) == (7, 0)
    until(lambda: found.done == 7, "the second pass")
    assert left(tmp_path) == []
    found.stop(5)


def test_what_is_done_is_not_done_again_by_the_next_process(tmp_path: Path, store: Store) -> None:
    """A restart does not read all files anew; in another store nothing is done yet."""
    first = keeper(tmp_path)
    first.start()
    first.tell([SampleDeletion(7, "s", NOON)])
    until(lambda: first.done == 7, "the deletion")
    first.stop(5)
    assert first._lock is not None
    first._lock.close()
    keep(store, "1")
    second = keeper(tmp_path)
    second.start()
    second.tell([SampleDeletion(7, "s", NOON)])
    until(lambda: second.done is not None and not second._told.is_set(), "the next process")
    assert (second.done, left(tmp_path)) == (7, ["1"])
    second.tell([SampleDeletion(8, "t", NOON)])
    until(lambda: second.done == 8, "the next deletion")
    assert left(tmp_path) == []
    second.stop(5)
    second._lock.close()  # type: ignore[union-attr]
    (tmp_path / "samples.lock").write_text(
        (tmp_path / "samples.lock").read_text().replace("samples", "elsewhere")
    )
    third = keeper(tmp_path)
    assert third._is_keeper()
    assert third.done == 0


def test_one_process_of_a_host_is_the_keeper_and_the_next_takes_over(tmp_path: Path, store: Store) -> None:
    """The lock is the kernel's: it is free when its holder ends, however that ends."""
    import subprocess
    import sys

    lock = tmp_path / "samples.lock"
    held = subprocess.Popen(
        [sys.executable, "-c", f"import fcntl,time; f=open({str(lock)!r},'ab'); fcntl.flock(f,2); print('held',flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert held.stdout is not None
    assert held.stdout.readline() == b"held\n"
    keep(store, "1")
    second = keeper(tmp_path)
    second.start()
    second.tell([SampleDeletion(1, "s", NOON)])
    until(lambda: not second._told.is_set(), "the second to be told")
    assert (second.done, left(tmp_path)) == (None, ["1"])
    held.kill()
    held.wait(PATIENT_S)
    held.stdout.close()
    second.tell([])
    until(lambda: left(tmp_path) == [], "the second to take over")
    second.stop(5)


def test_a_store_that_fails_is_tried_again(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread goes on, and says what is wrong."""
    from gateway.sampling import keeper as keeping

    monkeypatch.setattr(keeping, "_AGAIN_S", 0.05)
    keep(store, "1", at=NOON - 400 * DAY_S)
    broken = [OSError("not now")] * 2

    def opened() -> Store:
        if broken:
            raise broken.pop()
        return store

    found = StoreKeeper(opened, "here", tmp_path / "samples.lock", 30, 0.0)
    found.start()
    until(lambda: parts(tmp_path / "samples") == [], "the old file to go")
    found.stop(5)
