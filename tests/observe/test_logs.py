"""The access log: whole lines, rotation, and a disk that fails."""

import asyncio
import concurrent.futures
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway.observe.logs import AccessLog, AccessRecord, whole_lines
from gateway.observe.metrics import ACCESS_LOG_DROPPED
from tests.patience import PATIENT_S
from tests.test_house import ROOT


def record(request_id: str) -> AccessRecord:
    """A record of an answered request."""
    return AccessRecord(
        at=1.0, request_id=request_id, traceparent="", trace_id="", span_id="", principal="app:a", alias="digits", model="digits", version=1,
        arm="stable", protocol="http", operation="infer", outcome="ok", status=200, duration_s=0.1, overhead_s=0.01,
        queued_s=0.0, upstream_s=0.09, request_bytes=1, reply_bytes=2,
    )  # fmt: skip


async def until(condition: object, limit_s: float = PATIENT_S) -> None:
    """Wait until `condition()` holds."""
    for _ in range(int(limit_s / 0.02)):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.02)
    raise AssertionError("waited in vain")


def test_a_rotated_log_goes_on_in_a_new_file(tmp_path: Path) -> None:
    """After the file was moved away and `reopen`, lines go to a new one; none is lost, also with reopens in between."""
    path, moved = tmp_path / "logs" / "access.jsonl", tmp_path / "moved.jsonl"

    async def story() -> None:
        log = AccessLog(str(path))
        log.FLUSH_INTERVAL_S = 0.01
        task = asyncio.create_task(log.run())
        for index in range(1000):
            log.append(record(str(index)))
        await until(lambda: path.exists() and path.read_text().count("\n") == 1000)
        path.rename(moved)
        for index in range(1000, 2000):
            log.reopen()
            log.append(record(str(index)))
            if index % 100 == 0:
                await asyncio.sleep(0.01)
        await until(path.exists)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
    lines = moved.read_text().splitlines() + path.read_text().splitlines()
    assert sorted(int(json.loads(line)["request_id"]) for line in lines) == list(range(2000))


def test_a_destination_that_fails_loses_lines_and_counts_them(tmp_path: Path) -> None:
    """The log goes on as soon as its destination does."""
    folder = tmp_path / "logs"
    folder.write_text("a file where the folder should be")
    before = ACCESS_LOG_DROPPED.labels("write_failed")._value.get()

    async def story() -> None:
        log = AccessLog(str(folder / "access.jsonl"))
        log.FLUSH_INTERVAL_S = 0.01
        task = asyncio.create_task(log.run())
        log.append(record("lost"))
        await until(lambda: ACCESS_LOG_DROPPED.labels("write_failed")._value.get() == before + 1)
        folder.unlink()
        log.append(record("kept"))
        await until((folder / "access.jsonl").exists)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
    assert json.loads((folder / "access.jsonl").read_text())["request_id"] == "kept"


def test_lines_are_cut_only_between_them() -> None:
    """Pieces of at most so many bytes, each of whole lines; a line that is longer stays whole."""
    data = b"".join(b"%d%s\n" % (length, b"x" * length) for length in (0, 3, 10, 30, 1, 2, 9))
    pieces = list(whole_lines(data, 16))
    assert b"".join(pieces) == data
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert all(len(piece) <= 16 or piece.count(b"\n") == 1 for piece in pieces)
    assert list(whole_lines(data, 10_000)) == [data]


@pytest.mark.parametrize("kind", ["file", "pipe"])
@pytest.mark.slow
def test_several_processes_write_whole_lines_into_one_log(tmp_path: Path, kind: str) -> None:
    """Four workers with long lines, into one file or one pipe: every line is there, and none is torn."""
    writer = (
        "import sys; from gateway.observe.logs import AccessLog; from tests.observe.test_logs import record\n"
        "log = AccessLog(sys.argv[1]); name = sys.argv[2] * 300\n"
        "for start in range(0, 2000, 500): log._write([record(f'{name}-{n}') for n in range(start, start + 500)])"
    )
    path = tmp_path / "access.jsonl"
    destination = str(path) if kind == "file" else "-"
    with path.open("ab") as file:
        reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
        assert reader.stdin is not None
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", writer, destination, letter],
                stdout=subprocess.DEVNULL if kind == "file" else reader.stdin,
                cwd=ROOT,
            )
            for letter in "abcd"
        ]
        reader.stdin.close()
        assert [process.wait(60) for process in writers] == [0] * 4
        assert reader.wait(20) == 0
    found = [json.loads(line)["request_id"] for line in path.read_text().splitlines()]
    assert sorted(found) == sorted(f"{letter * 300}-{n}" for letter in "abcd" for n in range(2000))


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o640), (0o077, 0o600)])
def test_the_log_is_its_owners_and_its_groups_to_read(tmp_path: Path, mask: int, mode: int) -> None:
    """It names who called what: nobody else reads it, and the group only where the process's mask lets it."""
    path = tmp_path / "logs" / "access.jsonl"

    async def write() -> None:
        log = AccessLog(str(path))
        log.append(record("one"))
        writing = asyncio.create_task(log.run())
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)

    before = os.umask(mask)
    try:
        asyncio.run(write())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750 & ~mask


def test_a_batch_whose_thread_has_not_begun_is_written_at_the_end(tmp_path: Path) -> None:
    """A host without a free core ends a worker while its last batch waits for a thread: each line is written, once."""
    path = tmp_path / "access.jsonl"
    busy = threading.Event()

    async def story() -> None:
        asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        holding = asyncio.get_running_loop().run_in_executor(None, busy.wait)
        log = AccessLog(str(path))
        log.FLUSH_INTERVAL_S = 0.001
        log.append(record("waits for a thread"))
        task = asyncio.create_task(log.run())
        await until(lambda: not log._waiting)
        log.append(record("comes after it"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        busy.set()
        await holding

    asyncio.run(story())
    written = [json.loads(line)["request_id"] for line in path.read_text().splitlines()]
    assert written == ["waits for a thread", "comes after it"]
