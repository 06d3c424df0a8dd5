"""The small server, and a connection beside each test's own that goes on whatever the test does."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.gateway_process import ROOT
from tests.http2.peer import Peer
from tests.http2.wire import data as body
from tests.http2.wire import opened

Address = tuple[str, int]


class Running(msgspec.Struct, frozen=True):
    """The small server as a process."""

    pid: int
    address: Address

    @property
    def memory_bytes(self) -> int:
        """What it holds resident."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@contextlib.contextmanager
def small_server(*arguments: str) -> Iterator[Running]:
    """Until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.http2.server", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Running(process.pid, ("127.0.0.1", int(process.stdout.readline())))
        process.stdin.close()
        process.wait()


@pytest.fixture(scope="session")
def running_server() -> Iterator[Running]:
    with small_server() as found:
        yield found


@pytest.fixture(scope="session")
def hasty_server() -> Iterator[Running]:
    """One that waits for nobody."""
    with small_server("hasty") as found:
        yield found


@pytest.fixture
def server(running_server: Running) -> Iterator[Running]:
    """The small server. A connection that was there before, with a request under way, is served to its end afterwards, and so is
    a new one.
    """
    with Peer(running_server.address) as beside:
        beside.send(opened(1))
        beside.pinged()
        yield running_server
        beside.send(body(1))
        assert beside.answered(1) == "0"
    with Peer(running_server.address) as after:
        after.goes_on()
