"""What a load generator saw, and how one is run: pinned, bounded, its own CPU time counted."""

import resource
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from loadtests.processes import BenchError, on_core

REPLY_LIMIT_S = 30
"""A reply that takes longer is an error."""

_LEAST_AT_WORK = 0.5
"""Measured shares of connections at work were above 0.8, the generator's own share of the time being the rest."""


class Load(msgspec.Struct, frozen=True):
    """One spell of load. `errors` counts by kind what went wrong: failed connects, reads and writes, bad replies, timeouts."""

    requests: int
    duration_us: int
    mean_us: float
    p50_us: float
    p99_us: float
    max_us: float
    errors: Mapping[str, int]

    @property
    def requests_per_s(self) -> float:
        """Answered requests a second."""
        return self.requests / (self.duration_us / 1e6)

    def stalled(self, connections: int) -> bool:
        """True if most connections waited for a reply that never came; generators say nothing about those.

        By Little's law the latencies of all replies, over the duration, are the connections at work. A connection
        cannot count for the reply that it still waited for at the end: at most the longest latency seen.
        """
        at_work = self.requests * self.mean_us / self.duration_us
        countable = max(0.0, 1 - self.max_us / self.duration_us)
        return at_work < _LEAST_AT_WORK * countable * connections

    def check(self, url: str, connections: int) -> None:
        """Raise `BenchError` if anything went wrong: a measurement of errors is none."""
        if self.requests == 0:
            raise BenchError(f"{url}: no reply at all; errors: {self.errors}")
        if any(self.errors.values()):
            raise BenchError(f"{url}: {self.requests} requests with errors: {self.errors}")
        if self.stalled(connections):
            raise BenchError(
                f"{url}: connections hang; {connections} of them got {self.requests} replies: {self}"
            )


def generate(
    command: Sequence[str], *, duration_s: float, core: int, given: str | None = None
) -> tuple[str, float]:
    """Run a generator on `core`, `given` on its standard input: its standard output, and its own CPU time in seconds.

    Raises `BenchError` if it fails.
    """
    name = command[0]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    limit_s = duration_s + 2 * REPLY_LIMIT_S
    try:
        done = subprocess.run(
            on_core(core, command),
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            input=given,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{name} did not end {limit_s} s after its start: {command[-1]}") from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise BenchError(f"{name} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout, (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


class Generator(Protocol):
    """A load that is ready to be sent: the second value is the generator's own CPU time in seconds."""

    def __call__(self, url: str, *, connections: int, duration_s: int, core: int) -> tuple[Load, float]:
        """Load `url`. Raises `BenchError` if anything went wrong."""
