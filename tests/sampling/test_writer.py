"""Whatever a store does, it costs samples and nothing else: they wait within bounds, are dropped by reason, and recover."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from gateway.sampling import writer as writing
from gateway.sampling.queue import Bounds, SampleQueue
from gateway.sampling.store import Store
from gateway.sampling.writer import Writer
from tests.patience import PATIENT_S
from tests.sampling.kept import BOUNDS, counted, row, until
from tests.sampling.scene import parts, rows


class Stopped(MemoryFileSystem):  # type: ignore[misc]
    """A store that answers no write while it is stopped."""

    protocol = "stopped"
    goes_on = threading.Event()

    def pipe_file(self, *arguments: Any, **options: Any) -> None:
        """Write, once the store goes on."""
        self.goes_on.wait(60)
        super().pipe_file(*arguments, **options)


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[str]:
    """The URL of a stopped store; it goes on after the test."""
    fsspec.register_implementation("stopped", Stopped, clobber=True)
    Stopped.goes_on.clear()
    yield f"stopped://{tmp_path}"
    Stopped.goes_on.set()


def started(url: str, bounds: Bounds = BOUNDS) -> tuple[SampleQueue, Writer]:
    """A queue and its writer."""
    found: list[Writer] = []
    queue = SampleQueue(bounds, lambda: f"sink_{found[0].fault}" if found[0].fault else "queue_full")
    found.append(Writer(queue, lambda: Store(url), "w"))
    found[0].start()
    return queue, found[0]


def test_rows_are_written_and_the_end_waits_for_them(tmp_path: Path) -> None:
    """Within moments when they are due, and at the end those that are not due yet."""
    queue, writer = started(str(tmp_path))
    queue.put(row("1"))
    until(lambda: len(rows(tmp_path)) == 1, "the row")
    slow, last = started(str(tmp_path), Bounds(100, 10**6, 50, 3600.0))
    slow.put(row("2"))
    last.stop(PATIENT_S)
    assert {each["request_id"] for each in rows(tmp_path)} == {"1", "2"}
    writer.stop(PATIENT_S)


def test_a_file_has_no_more_rows_than_it_may(tmp_path: Path) -> None:
    """What does not fit goes into another one, in the same round."""
    queue = SampleQueue(BOUNDS)
    for number in range(60):
        queue.put(row(str(number)))
    writer = Writer(queue, lambda: Store(str(tmp_path)), "w")
    writer.start()
    writer.stop(PATIENT_S)
    assert len(rows(tmp_path)) == 60
    assert len(parts(tmp_path)) == 2


def test_a_folder_that_is_gone_comes_back(tmp_path: Path) -> None:
    """In its place stands a file; the rows wait, the fault is named once, and all is written when the way is free."""
    folder = tmp_path / "samples"
    folder.write_text("in the way")
    failed = counted("maas_sample_writes_failed_total", reason="gone")
    queue, writer = started(str(folder))
    queue.put(row("1"))
    until(lambda: writer.fault == "gone", "the fault")
    assert str(folder) in writer.detail
    queue.put(row("2"))
    folder.unlink()
    until(lambda: len(rows(folder)) == 2, "both rows")
    until(lambda: writer.fault is None, "the fault's end")
    assert failed() >= 1
    assert queue.measure() == (0, 0, 0.0)
    writer.stop(5)


def test_a_folder_removed_underneath_is_made_anew(tmp_path: Path) -> None:
    """Somebody tidied up: what was there is gone, what comes is kept."""
    import shutil

    folder = tmp_path / "samples"
    queue, writer = started(str(folder))
    queue.put(row("1"))
    until(lambda: parts(folder), "the first file")
    shutil.rmtree(folder)
    queue.put(row("2"))
    until(lambda: [each["request_id"] for each in rows(folder)] == ["2"], "the second row")
    writer.stop(5)


def test_a_stopped_store_holds_up_nobody(stopped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting takes no longer than ever, the queue stays within its bounds, drops say why; then all of it is written."""
    monkeypatch.setattr(writing, "_SLOW_S", 0.05)
    queue, writer = started(stopped, Bounds(10, 10**6, 50, 0.0))
    dropped = counted("maas_samples_dropped_total", reason="sink_slow")
    queue.put(row("1"))
    until(lambda: writer.fault == "slow", "the store to be slow")
    took = []
    for number in range(100):
        began = time.perf_counter()
        queue.put(row(str(number)))
        took.append(time.perf_counter() - began)
    assert queue.measure()[0] == 10
    assert dropped() == 91
    assert sorted(took)[50] < 0.001
    Stopped.goes_on.set()
    until(lambda: queue.measure()[0] == 0, "the rows to be written")
    assert writer.fault is None
    writer.stop(5)


def test_the_end_waits_for_a_stopped_store_only_so_long(stopped: str) -> None:
    """The process ends; what could not be written is counted."""
    queue, writer = started(stopped)
    queue.put(row("1"))
    dropped = counted("maas_samples_dropped_total", reason="shutdown")
    began = time.monotonic()
    writer.stop(0.2)
    assert time.monotonic() - began < 10
    assert dropped() == 1


def test_a_store_whose_driver_is_not_there_is_a_fault_like_any_other() -> None:
    """Named with what to install; samples wait, and the process goes on."""
    queue, writer = started("s3://bucket/samples")
    queue.put(row("1"))
    until(lambda: writer.fault == "failed", "the fault")
    assert "s3fs" in writer.detail
    writer.stop(5)


def test_rows_that_cannot_be_a_file_are_dropped_and_not_quoted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would come back for ever; what they hold is not told."""
    from gateway.sampling import parquet

    encode = parquet.encode

    def picky(found: Any) -> bytes:
        if any(each.request_id == "poison" for each in found):
            raise ValueError(f"cannot write {found[0].outcome} of John")
        return encode(found)

    monkeypatch.setattr(parquet, "encode", picky)
    dropped = counted("maas_samples_dropped_total", reason="unwritable")
    queue, writer = started(str(tmp_path))
    queue.put(row("poison"))
    until(lambda: dropped() == 1, "the drop")
    queue.put(row("good"))
    until(lambda: len(rows(tmp_path)) == 1, "the good row")
    assert writer.fault is None
    assert "ValueError" in caplog.text
    assert "John" not in caplog.text
    writer.stop(5)


def test_rows_of_forgotten_subjects_are_not_written(tmp_path: Path) -> None:
    """Also those that were taken from the queue before the deletion was known."""
    queue = SampleQueue(BOUNDS)
    queue.put(row("1", subject="s", at=100.0))
    queue.put(row("2", at=100.0))
    writer = Writer(queue, lambda: Store(str(tmp_path)), "w")
    writer.deleted = {"s": 100.0}
    writer.start()
    writer.stop(PATIENT_S)
    assert [each["request_id"] for each in rows(tmp_path)] == ["2"]
