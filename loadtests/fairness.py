"""What one tenant's flood costs another, on the running product: the quiet tenant's p99 alone and under the flood.

`python -m loadtests.fairness [--workers N] [--slots 16] [--service-ms 50] [--flood 400] [--seconds 20] [--json]`

In front of an upstream with a fixed number of slots (`loadtests.slots`), a gateway is set up as an operator would do it:
a control plane, and a data plane of N workers. The quiet tenant sends a call now and then; then so does it while the
flood sends its next call as soon as it has the reply to the one before, a second later where it was refused. The promise
is a ratio of 1.5 at most (docs/adr/0010-admission.md). Nothing is pinned to a core, and the load shares them: repeat
a run in which something else used the machine, as late timers show.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvloop

from loadtests.figures import show
from loadtests.payloads import ALIAS_PATH, MODEL, VERSIONS, json_payload
from loadtests.peers import maas
from loadtests.peers.peer import CREDENTIAL_HEADER
from loadtests.probe import answers
from loadtests.processes import BenchError, free_port, running, wait_until
from loadtests.upstream import Upstream

PROMISED = 1.5

_QUIET, _FLOOD = "app:quiet", "app:flood"
_QUIET_CALLERS, _QUIET_PAUSE_S = 4, 0.2
_REFUSED_S = 1.0
_LEAST_CALLS = 20
_TIMER_S = 0.01


class Load(msgspec.Struct, frozen=True):
    """One tenant's calls of a measurement: how many were `answered` with 200 and `refused` with anything else.

    The percentiles are of the answered ones, in milliseconds from the first byte sent to the last one received.
    """

    answered: int
    refused: int
    p50_ms: float
    p99_ms: float


class Found(msgspec.Struct, frozen=True):
    """One run. `late_ms` is how late timers of the load's own process came, at their p99: above a few milliseconds something
    else used the machine, and the ratio tells of that.
    """

    workers: int
    slots: int
    service_ms: float
    spread: float
    flood_callers: int
    seconds: float
    settled_s: float
    alone: Load
    flooded: Load
    flood: Load
    late_ms: float

    @property
    def ratio(self) -> float:
        """The quiet tenant's p99 under the flood over its p99 alone."""
        return self.flooded.p99_ms / self.alone.p99_ms


class _Caller:
    """Calls of one tenant: each of `callers` on a connection of its own, one call after the other."""

    def __init__(self, port: int, key: str) -> None:
        payload = json_payload()
        fields = {**payload.headers, CREDENTIAL_HEADER: key, "Content-Length": str(len(payload.body))}
        lines = [f"POST {ALIAS_PATH} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        self._request = "\r\n".join([*lines, "", ""]).encode() + payload.body
        self._port = port
        self.took_ms: list[float] = []
        self.refused = 0
        self.counts = True

    async def run(self, callers: int, pause_s: float, until: float) -> None:
        """Call until the moment (monotonic seconds), `pause_s` between a reply and the next call."""
        await asyncio.gather(*(self._one(pause_s, until) for _ in range(callers)))

    def load(self) -> Load:
        """What was measured. Raises `BenchError` when too little was."""
        took = sorted(self.took_ms)
        if len(took) < _LEAST_CALLS:
            raise BenchError(
                f"only {len(took)} calls were answered and {self.refused} refused: too few for a p99"
            )
        return Load(len(took), self.refused, took[len(took) // 2], took[int(len(took) * 0.99)])

    async def _one(self, pause_s: float, until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while (began := time.monotonic()) < until:
                writer.write(self._request)
                status = await _reply(reader)
                if self.counts and status == 200:
                    self.took_ms.append((time.monotonic() - began) * 1000)
                elif self.counts:
                    self.refused += 1
                await asyncio.sleep(pause_s if status == 200 else _REFUSED_S)
        finally:
            writer.close()


async def _reply(reader: asyncio.StreamReader) -> int:
    """Read one reply with a body of known length to its end; its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    await reader.readexactly(int(rest.partition(b"\r\n")[0]))
    return int(head.split(b" ", 2)[1])


async def _lateness(until: float) -> float:
    """By how many milliseconds timers come late, at their p99, until the moment (monotonic seconds)."""
    late_ms = []
    while (began := time.monotonic()) < until:
        await asyncio.sleep(_TIMER_S)
        late_ms.append((time.monotonic() - began - _TIMER_S) * 1000)
    return sorted(late_ms)[int(len(late_ms) * 0.99)]


async def measure(
    port: int, keys: tuple[str, str], flood: int, seconds: float, settle_s: float
) -> tuple[list[Load], float]:
    """The quiet tenant alone, then under the flood once that has had `settle_s`, and the flood itself; and `late_ms`."""
    alone = _Caller(port, keys[0])
    await alone.run(_QUIET_CALLERS, _QUIET_PAUSE_S, time.monotonic() + seconds)
    quiet, loud = _Caller(port, keys[0]), _Caller(port, keys[1])
    quiet.counts = loud.counts = False
    until = time.monotonic() + settle_s + seconds
    running_now = asyncio.gather(
        quiet.run(_QUIET_CALLERS, _QUIET_PAUSE_S, until), loud.run(flood, 0.0, until)
    )
    await asyncio.sleep(settle_s)
    quiet.counts = loud.counts = True
    late_ms = await _lateness(until)
    await running_now
    return [alone.load(), quiet.load(), loud.load()], late_ms


@contextmanager
def _gateway(folder: Path, options: argparse.Namespace) -> Iterator[tuple[int, tuple[str, str]]]:
    """Upstream and gateway: the inference port, and the keys of the quiet tenant and of the flood."""
    port, log = free_port(), folder / "slots.log"
    upstream = [
        sys.executable,
        "-m",
        "loadtests.slots",
        *(str(number) for number in (port, options.slots, options.service_ms, options.spread)),
    ]
    with running(upstream, core=None, log=log) as process:
        wait_until(lambda: answers(port, "/v2/health/ready"), "the upstream", process=process, log=log)
        more = {"MAAS_ADMISSION__ENABLED": "false"} if options.no_admission else {}
        home = folder / "maas"
        with maas.set_up(home, Upstream(port, free_port()), core=None, more=more) as made:
            # One version, so that there is one limit.
            maas.verb(made.environment, "alias", "set", MODEL, f"{MODEL}@{VERSIONS[0]}=100%", "--yes")
            keys = (maas.key_of(made.environment, _QUIET), maas.key_of(made.environment, _FLOOD))
            with maas.serving(home, made, core=None, workers=options.workers):
                yield made.port, keys


def run(options: argparse.Namespace) -> Found:
    """One measurement. Raises `BenchError`."""
    with (
        tempfile.TemporaryDirectory(prefix="maas-fairness-") as folder,
        _gateway(Path(folder), options) as (port, keys),
    ):
        (alone, flooded, flood), late_ms = uvloop.run(
            measure(port, keys, options.flood, options.seconds, options.settle)
        )
    return Found(
        workers=options.workers,
        slots=options.slots,
        service_ms=options.service_ms,
        spread=options.spread,
        flood_callers=options.flood,
        seconds=options.seconds,
        settled_s=options.settle,
        alone=alone,
        flooded=flooded,
        flood=flood,
        late_ms=late_ms,
    )


def text(found: Found) -> str:
    """For people."""
    capacity = found.slots / found.service_ms * 1000
    lines = [
        f"{found.workers} worker(s), an upstream with {found.slots} slots of {found.service_ms:g} ms, "
        f"{found.flood_callers} callers of a flood, {os.cpu_count()} cores",
        "",
        f"{'':24}{'answered':>9}{'refused':>9}{'p50 ms':>9}{'p99 ms':>9}",
    ]
    rows = {
        "quiet tenant, alone": found.alone,
        "quiet tenant, flooded": found.flooded,
        "the flood": found.flood,
    }
    for name, load in rows.items():
        lines.append(f"{name:24}{load.answered:>9}{load.refused:>9}{load.p50_ms:>9.1f}{load.p99_ms:>9.1f}")
    served = (found.flooded.answered + found.flood.answered) / found.seconds
    lines += [
        "",
        f"timers of the load itself came up to {found.late_ms:.1f} ms late (p99)",
        f"served {served:.0f} calls/s of the {capacity:.0f} that the upstream can take",
        f"ratio of the quiet tenant's p99: {found.ratio:.2f}, promised at most {PROMISED}: "
        f"{'kept' if found.ratio <= PROMISED else 'MISSED'}",
    ]
    return "\n".join(lines)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.fairness", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--workers", type=int, default=1, help="of the gateway (1)")
    parser.add_argument("--slots", type=int, default=16, help="of the upstream (16)")
    parser.add_argument("--service-ms", type=float, default=50.0, help="what each call takes (50)")
    parser.add_argument("--spread", type=float, default=0.15, help="of that, of its logarithm (0.15)")
    parser.add_argument("--flood", type=int, default=400, help="callers of the flood (400)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (20)")
    parser.add_argument("--settle", type=float, default=30.0, help="seconds of flood before it counts (30)")
    parser.add_argument("--no-admission", action="store_true", help="with `admission.enabled = false`")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Measure and print; status 1 when the measurement could not be made."""
    options = parse(words)
    try:
        found = run(options)
    except BenchError as error:
        print(f"fairness: {error}", file=sys.stderr)
        return 1
    show(found, text(found), as_json=options.json, ratio=found.ratio, kept=found.ratio <= PROMISED)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
