"""The fixed-reply upstream behind every peer: what is measured in front of it is the proxy."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from loadtests.probe import answers
from loadtests.processes import Cores, free_port, running, wait_until


class Upstream(msgspec.Struct, frozen=True):
    """A running upstream: its port on 127.0.0.1 and its process id."""

    port: int
    pid: int


@contextlib.contextmanager
def fixed_reply_upstream(folder: Path, cores: Cores) -> Iterator[Upstream]:
    """`loadtests.drain` on a free port; its output goes to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "upstream.log"
    command = [sys.executable, "-m", "loadtests.drain", str(port)]
    with running(command, core=cores.upstream, log=log) as process:
        wait_until(lambda: answers(port, "/v2/health/ready"), "the upstream", process=process, log=log)
        yield Upstream(port, process.pid)
