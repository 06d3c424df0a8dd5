"""`make bench`: the gateway beside direct calls, nginx and Envoy, in one run on one machine.

For each payload the fixed-reply upstream and all peers are started afresh and checked; then they are loaded in turn,
round by round, so that a slow moment of the machine falls on all of them. The medians over the rounds are reported.
"""

import contextlib
import datetime
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from loadtests import machine, report, wrk
from loadtests.check import check_peer
from loadtests.payloads import Payload, all_payloads
from loadtests.peers import direct, envoy, maas, nginx
from loadtests.peers.peer import Kind, Peer, Stage
from loadtests.plan import WARM_UP_S, Options, parse_options, rotated
from loadtests.processes import BenchError, Cores, core_seconds, cpu_seconds, plan_cores, resident_bytes
from loadtests.results import Memory, Run, Sample
from loadtests.upstream import Upstream, fixed_reply_upstream

_KINDS = {
    kind.name: kind
    for kind in (
        Kind(direct.NAME, direct.missing, direct.start),
        Kind(nginx.NAME, nginx.missing, nginx.start),
        Kind(envoy.NAME, envoy.missing, envoy.start),
        Kind(maas.NAME, maas.missing, maas.start),
        Kind(maas.WITH_QUOTAS, maas.missing, maas.start_with_quotas),
        Kind(maas.WITH_REDIS, maas.missing_redis, maas.start_with_redis),
    )
}
_WARM_UP_CONNECTIONS = 8

Say = Callable[[str], None]


class _Field:
    """All that runs for one payload: the upstream, the peers that could start, and how they are called."""

    def __init__(self, payload: Payload, upstream: Upstream, cores: Cores, folder: Path) -> None:
        self.payload = payload
        self.upstream = upstream
        self.cores = cores
        self.folder = folder
        self.peers: dict[str, Peer] = {}
        self.scripts: dict[str, Path] = {}

    def add(self, peer: Peer) -> None:
        """Take part from now on. Raises `BenchError` if the peer does not do its job."""
        check_peer(peer, self.payload)
        self.peers[peer.name] = peer
        self.scripts[peer.name] = wrk.write_script(
            self.folder / f"wrk-{peer.name}", self.payload, peer.headers(self.payload)
        )

    def measure(self, name: str, connections: int, duration_s: int, round_number: int) -> Sample:
        """One spell of load on the peer `name`."""
        peer = self.peers[name]
        proxy_before, upstream_before = self._cpu(peer.pid), cpu_seconds(self.upstream.pid)
        core_before, start = core_seconds(self.cores.proxy), time.monotonic()
        try:
            load, wrk_s = wrk.run(
                self.scripts[name],
                f"http://127.0.0.1:{peer.port}{peer.path}",
                connections=connections,
                duration_s=duration_s,
                core=self.cores.load,
            )
        except BenchError as error:
            raise BenchError(f"{name}, {self.payload.title}, {connections} connections: {error}") from error
        wall_s = time.monotonic() - start
        core_s = core_seconds(self.cores.proxy) - core_before
        proxy_s = self._cpu(peer.pid) - proxy_before
        upstream_s = cpu_seconds(self.upstream.pid) - upstream_before
        if peer.access_log is not None and peer.access_log.exists():
            os.truncate(peer.access_log, 0)
        shared = self.cores.load == self.cores.upstream
        load_s = wrk_s + upstream_s if shared else max(wrk_s, upstream_s)
        return Sample(
            payload=self.payload.name,
            connections=connections,
            peer=name,
            round=round_number,
            requests=load.requests,
            requests_per_s=load.requests_per_s,
            p50_ms=load.p50_us / 1e3,
            p99_ms=load.p99_us / 1e3,
            proxy_cpu_us_per_request=None if peer.pid is None else proxy_s * 1e6 / load.requests,
            proxy_busy=None if peer.pid is None else proxy_s / wall_s,
            lost_busy=None
            if peer.pid is None or not self.cores.alone
            else max(0.0, core_s - proxy_s) / wall_s,
            load_busy=load_s / wall_s,
        )

    def _cpu(self, pid: int | None) -> float:
        return 0.0 if pid is None else cpu_seconds(pid)

    def resident(self) -> dict[str, int]:
        """Resident bytes of each proxy."""
        return {peer.name: resident_bytes(peer.pid) for peer in self.peers.values() if peer.pid is not None}


@contextlib.contextmanager
def _field(payload: Payload, names: list[str], cores: Cores, folder: Path) -> Iterator[_Field]:
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(fixed_reply_upstream(folder / "upstream", cores))
        field = _Field(payload, upstream, cores, folder)
        for name in names:
            stage = Stage(upstream.port, folder / name, cores)
            field.add(stack.enter_context(_KINDS[name].start(stage)))
        yield field


def run(options: Options, say: Say) -> Run:
    """Measure all that `options` ask for. Raises `BenchError` if a peer that is here does not do its job."""
    if reason := wrk.missing():
        raise BenchError(reason)
    missing = {name: reason for name in options.peers if (reason := _KINDS[name].missing())}
    present = [name for name in options.peers if name not in missing]
    for name, reason in missing.items():
        say(f"{name}: {reason}; the others are measured")
    if not present:
        raise BenchError("none of the chosen peers can run here")
    cores = plan_cores(sorted(os.sched_getaffinity(0)))
    described = machine.describe(cores)
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    say(f"{described.core_plan}; about {options.expected_s(len(present)):.0f} s of load")
    samples: list[Sample] = []
    memory: list[Memory] = []
    payloads = {name: all_payloads()[name] for name in options.payloads}
    with tempfile.TemporaryDirectory(prefix="maas-bench-", dir=_memory_folder()) as folder:
        for payload in payloads.values():
            with _field(payload, present, cores, Path(folder) / payload.name) as field:
                say(f"{payload.title}: {', '.join(present)} answer rightly")
                memory += _load(field, options, samples, say)
    return Run(
        started_at=started_at,
        machine=described,
        payloads={name: payload.title for name, payload in payloads.items()},
        peers=options.peers,
        connections=options.connections,
        rounds=options.rounds,
        duration_s=options.duration_s,
        missing=missing,
        samples=tuple(samples),
        memory=tuple(memory),
    )


def _load(field: _Field, options: Options, samples: list[Sample], say: Say) -> list[Memory]:
    """All spells of load for one payload, appended to `samples`; the proxies' memory before and after."""
    at_rest = field.resident()
    for name in field.peers:
        field.measure(name, _WARM_UP_CONNECTIONS, WARM_UP_S, round_number=0)
    for round_number in range(1, options.rounds + 1):
        for place, connections in enumerate(options.connections):
            for name in rotated(list(field.peers), round_number - 1 + place):
                sample = field.measure(name, connections, options.duration_s, round_number)
                samples.append(sample)
                say(
                    f"  round {round_number}/{options.rounds}  {connections:>4} connections  {name:<11}"
                    f"{sample.requests_per_s:>11,.0f} requests/s  p99 {sample.p99_ms:.2f} ms"
                )
    after = field.resident()
    return [Memory(field.payload.name, name, resident, after[name]) for name, resident in at_rest.items()]


def _memory_folder() -> str | None:
    """Logs and temporary files on a file system in memory, where there is one: no disk is measured."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main(arguments: list[str] | None = None) -> int:
    """Run, print, and keep the results. 0: done; 1: a peer failed, and nothing was reported."""
    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    try:
        finished = run(options, say=lambda line: print(line, file=sys.stderr, flush=True))
        kept = report.keep(finished, options.results)
        if options.write_docs:
            report.write_docs(finished, Path("docs/benchmarks.md"))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(report.as_json(finished) if options.json_to_stdout else report.as_text(finished))
    print(f"kept in {kept}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    # A terminated benchmark unwinds like an interrupted one, and leaves no server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
