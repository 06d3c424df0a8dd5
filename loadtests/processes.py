"""Processes of a benchmark: started on chosen cores, read from /proc, and stopped again with all their children."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
"""Debian puts servers where the PATH of a plain user does not look."""

_STOP_LIMIT_S = 10.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_BLOCK = 50
_ports: list[int] = []
_claims: list[socket.socket] = []


class BenchError(Exception):
    """The benchmark cannot go on; the text says why and what to do."""


class Cores(msgspec.Struct, frozen=True):
    """Which cores do what. On two cores the load generator and the upstream share one; on one, everything does."""

    proxy: int
    load: int
    upstream: int

    @property
    def alone(self) -> bool:
        """True if the proxy shares its core with no other part of the benchmark."""
        return self.proxy not in (self.load, self.upstream)


def plan_cores(available: Sequence[int]) -> Cores:
    """The proxy gets the last core to itself, as far as there are cores: the first one often serves interrupts."""
    ordered = sorted(available)
    return Cores(proxy=ordered[-1], load=ordered[0], upstream=ordered[1] if len(ordered) > 2 else ordered[0])


def on_core(core: int, command: Sequence[str]) -> list[str]:
    """`command`, pinned before it starts, so that every thread and child inherits the core."""
    return ["taskset", "-c", str(core), *command]


@contextlib.contextmanager
def running(
    command: Sequence[str], *, core: int | None, log: Path, env: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """The command runs on `core` (None: on any) inside the block; its output goes to the file `log`."""
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command if core is None else on_core(core, command),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=None if env is None else {**os.environ, **env},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, then SIGKILL for the whole session: a benchmark leaves no server behind."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_LIMIT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(
    ready: Callable[[], bool],
    what: str,
    *,
    limit_s: float = 60.0,
    process: "subprocess.Popen[bytes] | None" = None,
    log: Path | None = None,
) -> None:
    """Return once `ready()` is true. Raises `BenchError`, with the end of the log, at the limit or if the process ends."""
    end = time.monotonic() + limit_s
    while not ready():
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > end:
            state = "ended" if ended else f"was not ready after {limit_s:.0f} s"
            raise BenchError(f"{what} {state}{_tail(log)}")
        time.sleep(0.05)


def _tail(log: Path | None) -> str:
    if log is None or not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()[-15:]
    return "; the end of its output:\n" + "\n".join(f"    {line}" for line in lines)


def free_port() -> int:
    """A TCP port that was free on 127.0.0.1 a moment ago.

    It is none of those that the system gives out by itself: nobody's connection takes it before it is used. Nor is it
    given to anybody twice, in this process or in another one that asks here while this one runs.
    """
    while True:
        if not _ports:
            _ports.extend(_claimed_ports())
        port = _ports.pop()
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _claimed_ports() -> range:
    """A block of ports that is this process's for as long as it runs, as is the abstract socket of the block's name."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        block = random.SystemRandom().randrange(min(10_000, first // 2), first - _BLOCK) // _BLOCK
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0maas-test-ports-{block}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return range(block * _BLOCK, (block + 1) * _BLOCK)


def process_tree(root: int) -> list[int]:
    """`root` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """CPU time, user and system, that `root` and its living descendants have used, in seconds."""
    ticks = 0
    for pid in process_tree(root):
        if fields := _stat(pid):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


def core_seconds(core: int) -> float:
    """CPU time that `core` has given to processes, or that the hypervisor took from it, since boot, in seconds.

    Interrupts are left out: those of loopback traffic belong to nobody's account (proc(5), /proc/stat).
    """
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(int, fields[:8])
            return (user + nice + system + steal) / _TICKS_PER_S
    raise BenchError(f"/proc/stat has no core {core}")


def resident_bytes(root: int) -> int:
    """Resident memory of `root` and its living descendants; pages that they share count once for each."""
    total = 0
    for pid in process_tree(root):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    return total


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (field 3 of proc(5)); empty if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The name in parentheses may itself hold spaces and parentheses.
    return text.rpartition(")")[2].split()
