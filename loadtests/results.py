"""What a run measured, and the medians and ratios drawn from it. Pure: no clock, no file."""

import statistics
from collections.abc import Iterable, Sequence

import msgspec

from loadtests.stream_results import StreamSample

REFERENCE = "envoy"
"""Ratios are to this peer's requests/s and CPU time."""

BARE = "maas"
"""What `BARE` with more turned on costs is told as a ratio to it."""

FULL = 0.95
"""A core this busy is taken to be full."""


class Sample(msgspec.Struct, frozen=True):
    """One spell of load on one peer. Shares are CPU time over wall time; None where there is no proxy.

    `lost_busy` is the share of the proxy's core that others had: other processes and the hypervisor.
    """

    payload: str
    connections: int
    peer: str
    round: int
    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    proxy_cpu_us_per_request: float | None
    proxy_busy: float | None
    lost_busy: float | None
    load_busy: float

    @property
    def summary(self) -> str:
        """In a few words."""
        return f"{self.requests_per_s:>9,.0f} requests/s  p99 {self.p99_ms:.2f} ms"


class Memory(msgspec.Struct, frozen=True):
    """Resident bytes of a proxy's processes: before any load, and after the last of one payload."""

    payload: str
    peer: str
    at_rest_bytes: int
    after_bytes: int


class Machine(msgspec.Struct, frozen=True):
    """Where the run was made. `load_average` is the one-minute average before it."""

    cpu: str
    cores: int
    system: str
    python: str
    versions: dict[str, str]
    load_average: float
    core_plan: str


class Run(msgspec.Struct, frozen=True):
    """One whole run. `missing` says why a peer or payload that was asked for could not take part; `payloads` and `streams` are
    the titles of those measured.
    """

    started_at: str
    machine: Machine
    payloads: dict[str, str]
    peers: tuple[str, ...]
    connections: tuple[int, ...]
    rounds: int
    duration_s: int
    missing: dict[str, str]
    samples: tuple[Sample, ...]
    memory: tuple[Memory, ...]
    streams: dict[str, str] = {}
    stream_counts: tuple[int, ...] = ()
    stream_samples: tuple[StreamSample, ...] = ()


class Point(msgspec.Struct, frozen=True):
    """The medians over the rounds for one peer, payload and number of connections."""

    payload: str
    connections: int
    peer: str
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    proxy_cpu_us_per_request: float | None
    proxy_busy: float | None
    load_busy: float
    ratio: float | None
    """Requests/s over those of `REFERENCE`; None where that was not measured."""
    cpu_ratio: float | None
    """CPU time for a request over that of `REFERENCE`; None where either was not measured."""

    @property
    def load_bound(self) -> bool:
        """True if the load generator's core was full and the proxy's was not: the figure is a lower bound."""
        return self.load_busy >= FULL and (self.proxy_busy is None or self.proxy_busy < FULL)


def points(samples: Iterable[Sample]) -> list[Point]:
    """The medians, in the order in which payloads, connections and peers first appear."""
    groups: dict[tuple[str, int, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.payload, sample.connections, sample.peer), []).append(sample)
    return [
        _point(payload, connections, peer, group, groups.get((payload, connections, REFERENCE), ()))
        for (payload, connections, peer), group in groups.items()
    ]


def _point(
    payload: str, connections: int, peer: str, group: Sequence[Sample], reference: Sequence[Sample]
) -> Point:
    rate = statistics.median(sample.requests_per_s for sample in group)
    cpu_us = _median(sample.proxy_cpu_us_per_request for sample in group)
    reference_rate = _median(sample.requests_per_s for sample in reference)
    reference_cpu_us = _median(sample.proxy_cpu_us_per_request for sample in reference)
    return Point(
        payload=payload,
        connections=connections,
        peer=peer,
        requests_per_s=rate,
        p50_ms=statistics.median(sample.p50_ms for sample in group),
        p99_ms=statistics.median(sample.p99_ms for sample in group),
        proxy_cpu_us_per_request=cpu_us,
        proxy_busy=_median(sample.proxy_busy for sample in group),
        load_busy=statistics.median(sample.load_busy for sample in group),
        ratio=rate / reference_rate if reference_rate else None,
        cpu_ratio=cpu_us / reference_cpu_us if cpu_us is not None and reference_cpu_us else None,
    )


def lost_share(samples: Iterable[Sample | StreamSample]) -> float:
    """The mean share of the proxy's core that others had during the run."""
    known = [sample.lost_busy for sample in samples if sample.lost_busy is not None]
    return statistics.fmean(known) if known else 0.0


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
