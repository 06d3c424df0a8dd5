"""Servers of a benchmark: pinned, read from /proc, stopped with their children, and told of when they fail."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtests.processes import (
    BenchError,
    core_seconds,
    cpu_seconds,
    free_port,
    process_tree,
    resident_bytes,
    running,
    wait_until,
)

CORE = min(os.sched_getaffinity(0))
ROOT = Path(__file__).parents[2]
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
print(child.pid, flush=True)
child.wait()
"""


def test_a_tree_is_pinned_measured_and_stopped_whole(tmp_path: Path) -> None:
    """A busy child counts for its parent, keeps to the core, and does not outlive the block."""
    log = tmp_path / "log"
    with running([sys.executable, "-c", PARENT], core=CORE, log=log) as process:
        wait_until(lambda: log.read_text().endswith("\n"), "the parent", process=process, log=log)
        child = int(log.read_text())
        assert process_tree(process.pid) == [process.pid, child]
        assert os.sched_getaffinity(child) == {CORE}
        wait_until(lambda: cpu_seconds(child) > 0.05, "the child")
        # The child goes on meanwhile, so what is smaller is read first.
        used_s = cpu_seconds(child)
        assert used_s <= cpu_seconds(process.pid) <= core_seconds(CORE)
        assert resident_bytes(process.pid) > resident_bytes(child) > 1 << 20
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        # Killed with its group; init may still have to collect it.
        wait_until(
            lambda: Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z", "end"
        )
    assert cpu_seconds(process.pid) == 0.0


def test_a_server_that_ends_early_is_reported_with_its_output(tmp_path: Path) -> None:
    """At once, not at the limit, and with the line that says why."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", "raise SystemExit('no such port')"]
    start = time.monotonic()
    with (
        running(command, core=CORE, log=log) as process,
        pytest.raises(BenchError, match=r"(?s)the server ended.*no such port"),
    ):
        wait_until(lambda: False, "the server", process=process, log=log, limit_s=30)
    assert time.monotonic() - start < 20


def test_no_port_is_given_out_twice() -> None:
    """Not in one process, nor to two that run at the same time."""
    mine = [free_port() for _ in range(120)]
    program = "from loadtests.processes import free_port; print(*(free_port() for _ in range(120)))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, cwd=ROOT).stdout
    assert len({*mine, *map(int, told.split())}) == 240
