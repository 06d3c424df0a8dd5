"""The measurement of what a flood costs another tenant: its upstream, and a tiny run of the whole."""

import json
import sys
import threading
import time
from pathlib import Path

import pytest

from loadtests import fairness
from loadtests.payloads import infer_path, json_payload
from loadtests.probe import answers, infers
from loadtests.processes import BenchError, free_port, running, wait_until

pytestmark = pytest.mark.slow


def test_the_upstream_serves_no_more_at_a_time_than_it_has_slots(tmp_path: Path) -> None:
    """Six calls of 100 ms on two slots take three rounds; what is not an inference waits for nobody."""
    port, log, payload = free_port(), tmp_path / "slots.log", json_payload()
    command = [sys.executable, "-m", "loadtests.slots", str(port), "2", "100", "0"]
    with running(command, core=None, log=log) as process:
        wait_until(lambda: answers(port, "/v2/health/ready"), "slots", process=process, log=log)
        found: list[bool] = []
        calls = [
            threading.Thread(
                target=lambda: found.append(infers(port, infer_path(1), payload.body, payload.headers))
            )
            for _ in range(6)
        ]
        began = time.monotonic()
        for call in calls:
            call.start()
        assert answers(port, "/v2/health/ready")
        for call in calls:
            call.join()
        assert time.monotonic() - began >= 0.29
        assert found == [True] * 6


def test_a_tiny_run_tells_what_a_flood_costs(capsys: pytest.CaptureFixture[str]) -> None:
    """A gateway of two workers for some seconds: both tenants are measured, and the figures come out as JSON."""
    status = fairness.main(["--workers=2", "--flood=40", "--seconds=4", "--settle=1", "--json"])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    figures = json.loads(printed.out)
    assert figures["workers"] == 2
    assert figures["alone"]["answered"] > 0
    assert figures["flood"]["answered"] > figures["flooded"]["answered"] > 0
    assert figures["ratio"] == pytest.approx(figures["flooded"]["p99_ms"] / figures["alone"]["p99_ms"])
    assert figures["kept"] == (figures["ratio"] <= 1.5)


def test_people_read_a_table_and_a_verdict() -> None:
    """The same for a terminal."""
    calm = fairness.Load(answered=100, refused=0, p50_ms=50.0, p99_ms=60.0)
    busy = fairness.Load(answered=100, refused=3, p50_ms=60.0, p99_ms=120.0)
    found = fairness.Found(4, 16, 50.0, 0.15, 400, 20.0, 30.0, calm, busy, busy, 0.4)
    shown = fairness.text(found)
    assert "4 worker(s)" in shown
    assert shown.endswith("2.00, promised at most 1.5: MISSED")


def test_a_gateway_that_cannot_start_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1 and one line why."""

    def refuse(_: object) -> fairness.Found:
        raise BenchError("no port")

    monkeypatch.setattr(fairness, "run", refuse)
    assert fairness.main([]) == 1
    assert capsys.readouterr().err == "fairness: no port\n"
