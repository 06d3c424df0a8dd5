"""`make bench`: the gateway beside direct calls, nginx and Envoy, in one run on one machine.

For each payload, a unary one or a stream, the fixed-reply upstream and all peers are started afresh and checked; then they are loaded in turn,
round by round, so that a slow moment of the machine falls on all of them. The medians over the rounds are reported.
"""

import datetime
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from loadtests import field, machine, report, stream_load
from loadtests.payloads import all_payloads
from loadtests.peers import direct, envoy, maas, nginx
from loadtests.peers.peer import Kind
from loadtests.plan import WARM_UP_S, Options, parse_options, rotated
from loadtests.processes import BenchError, plan_cores
from loadtests.results import Memory, Run, Sample
from loadtests.stream_results import StreamSample

_KINDS = {
    kind.name: kind
    for kind in (
        Kind(direct.NAME, direct.missing, direct.start),
        Kind(nginx.NAME, nginx.missing, nginx.start),
        Kind(envoy.NAME, envoy.missing, envoy.start),
        Kind(maas.NAME, maas.missing, maas.start, speaks_openai=True),
        Kind(maas.WITH_QUOTAS, maas.missing, maas.start_with_quotas, speaks_openai=True),
        Kind(maas.WITH_REDIS, maas.missing_redis, maas.start_with_redis, speaks_openai=True),
    )
}
_WARM_UP_CONNECTIONS = 8

Say = Callable[[str], None]
Measure = Callable[[field.Field, str, int, int, int], Sample | StreamSample]
"""One spell: the peer, how many connections or streams, seconds, the round."""


def run(options: Options, say: Say) -> Run:
    """Measure all that `options` ask for. Raises `BenchError` if a peer that is here does not do its job."""
    missing = {name: reason for name in options.peers if (reason := _KINDS[name].missing())}
    present = [_KINDS[name] for name in options.peers if name not in missing]
    if not present:
        raise BenchError("none of the chosen peers can run here")
    chosen = {name: all_payloads()[name] for name in options.payloads}
    missing |= {load.title: reason for load in chosen.values() if (reason := field.missing(load))}
    payloads = [payload for payload in chosen.values() if payload.title not in missing]
    if not payloads:
        raise BenchError("; ".join(sorted(set(missing.values()))))
    for name, reason in missing.items():
        say(f"{name}: {reason}; the others are measured")
    cores = plan_cores(sorted(os.sched_getaffinity(0)))
    described = machine.describe(cores)
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    streams = [payload for payload in payloads if payload.streams]
    expected_s = options.expected_s(len(payloads) - len(streams), len(streams), len(present))
    say(f"{described.core_plan}; about {expected_s:.0f} s of load")
    samples: list[Sample | StreamSample] = []
    memory: list[Memory] = []
    with tempfile.TemporaryDirectory(prefix="maas-bench-", dir=_memory_folder()) as folder:
        for payload in payloads:
            with field.started(payload, present, cores, Path(folder) / payload.name) as ready:
                say(f"{payload.title}: {', '.join(ready.peers)} answer rightly")
                memory += _load(ready, options, samples, say)
    return Run(
        started_at=started_at,
        machine=described,
        payloads={payload.name: payload.title for payload in payloads if not payload.streams},
        peers=options.peers,
        connections=options.connections,
        rounds=options.rounds,
        duration_s=options.duration_s,
        missing=missing,
        samples=tuple(sample for sample in samples if isinstance(sample, Sample)),
        memory=tuple(memory),
        streams={payload.name: payload.title for payload in streams},
        stream_counts=options.streams,
        stream_samples=tuple(sample for sample in samples if isinstance(sample, StreamSample)),
    )


def _load(
    ready: field.Field, options: Options, samples: list[Sample | StreamSample], say: Say
) -> list[Memory]:
    """All spells of load for one payload, appended to `samples`; the proxies' memory before and after."""
    measure: Measure = field.Field.measure
    counts, what = options.connections, "connections"
    if ready.payload.streams:
        measure = stream_load.measure
        counts, what = options.streams, "streams"
    at_rest = ready.resident()
    for name in ready.peers:
        measure(ready, name, _WARM_UP_CONNECTIONS, WARM_UP_S, 0)
    for round_number in range(1, options.rounds + 1):
        for place, count in enumerate(counts):
            for name in rotated(list(ready.peers), round_number - 1 + place):
                sample = measure(ready, name, count, options.duration_s, round_number)
                samples.append(sample)
                say(
                    f"  round {round_number}/{options.rounds}  {count:>4} {what}  {name:<11}  {sample.summary}"
                )
    after = ready.resident()
    return [Memory(ready.payload.name, name, resident, after[name]) for name, resident in at_rest.items()]


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
