"""What a worker could not report before it ended is reported by a later one, once."""

import asyncio
from pathlib import Path

import pytest

from gateway.dataplane import unreported as module
from gateway.dataplane.unreported import Unreported
from gateway.reports import Report, UsageBatch, UsageReport


def report(number: int, requests: int = 1, started_at: float = 1000.0) -> Report:
    """One with a batch of this number."""
    rows = [UsageReport("app:a", "x", "m", 1, 1000.0, requests)]
    return Report("h", 1, "data", 7, started_at, usage=UsageBatch(number, rows))


def handed_in(folder: Path, takes: int = 1000) -> list[tuple[str, float, int]]:
    """Who reported what to a control plane that takes so many reports: name, start, number of the batch."""
    got: list[tuple[str, float, int]] = []

    async def send(worker: str, kept: Report) -> bool:
        assert kept.usage is not None
        got.append((worker, kept.started_at, kept.usage.number))
        return len(got) <= takes

    asyncio.run(Unreported(folder).hand_in(send))
    return got


def test_reports_go_out_once_in_their_order(tmp_path: Path) -> None:
    """Under the name, the start and the number that the control plane tells them apart by."""
    folder = tmp_path / "unreported"
    assert handed_in(folder) == []
    Unreported(folder).keep("h-1-0", [report(number) for number in (9, 10)])
    Unreported(folder).keep("h-1-0", [report(1, started_at=2000.0)])
    assert handed_in(folder) == [("h-1-0", 1000.0, 9), ("h-1-0", 1000.0, 10), ("h-1-0", 2000.0, 1)]
    assert handed_in(folder) == []


def test_what_is_not_taken_stays(tmp_path: Path) -> None:
    """Nothing goes out past a report that was not taken: a later number would hide an earlier one."""
    Unreported(tmp_path).keep("h-1-0", [report(number) for number in (1, 2, 3)])
    assert [number for _, _, number in handed_in(tmp_path, takes=1)] == [1, 2]
    assert [number for _, _, number in handed_in(tmp_path)] == [2, 3]


def test_one_worker_of_a_host_sends_at_a_time(tmp_path: Path) -> None:
    """The others leave it to that one."""
    Unreported(tmp_path).keep("h-1-0", [report(1)])
    got: list[int] = []

    async def send(_: str, kept: Report) -> bool:
        assert kept.usage is not None
        got.append(kept.usage.number)
        await Unreported(tmp_path).hand_in(send)
        return True

    asyncio.run(Unreported(tmp_path).hand_in(send))
    assert got == [1]


def test_a_damaged_file_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And told of; the others go out."""
    Unreported(tmp_path).keep("h-1-0", [report(1), report(2)])
    first = min(tmp_path.iterdir())
    first.write_bytes(first.read_bytes()[:-1])
    assert [number for _, _, number in handed_in(tmp_path)] == [2]
    assert "damaged" in caplog.text
    assert not list(tmp_path.iterdir())


def test_the_folder_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What no longer fits is lost, and the log says how many calls that were."""
    Unreported(tmp_path).keep("h-1-0", [report(1)])
    monkeypatch.setattr(module, "MOST_BYTES", 1.5 * next(tmp_path.iterdir()).stat().st_size)
    Unreported(tmp_path).keep("h-1-0", [report(2, requests=42)])
    assert [number for _, _, number in handed_in(tmp_path)] == [1]
    assert "42 calls" in caplog.text


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    """It says who called what."""
    folder = tmp_path / "unreported"
    Unreported(folder).keep("h-1-0", [report(1)])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert next(folder.iterdir()).stat().st_mode & 0o777 == 0o600
