"""What the stream loads measured, and the medians drawn from it. Pure, as `loadtests.results`."""

import statistics
from collections.abc import Iterable, Sequence

import msgspec

DIRECT = "direct"


class StreamSample(msgspec.Struct, frozen=True):
    """One spell of streams through one peer. `first` is from a request to its first token, `token` any token's way from the
    upstream. Shares are CPU time over wall time; None where there is no proxy.
    """

    payload: str
    streams: int
    peer: str
    round: int
    tokens: int
    first_p50_ms: float
    first_p99_ms: float
    token_p50_us: float
    token_p99_us: float
    proxy_cpu_us_per_token: float | None
    proxy_busy: float | None
    lost_busy: float | None
    load_busy: float

    @property
    def summary(self) -> str:
        """In a few words."""
        return f"first token {self.first_p50_ms:.2f} ms  a token's way {self.token_p50_us:,.0f} µs"


class StreamPoint(msgspec.Struct, frozen=True):
    """The medians over the rounds. `added` is the median over that of direct calls; None where those were not measured."""

    payload: str
    streams: int
    peer: str
    first_p50_ms: float
    first_p99_ms: float
    first_added_ms: float | None
    token_p50_us: float
    token_p99_us: float
    token_added_us: float | None
    proxy_cpu_us_per_token: float | None
    proxy_busy: float | None


def stream_points(samples: Iterable[StreamSample]) -> list[StreamPoint]:
    """The medians, in the order in which payloads, streams and peers first appear."""
    groups: dict[tuple[str, int, str], list[StreamSample]] = {}
    for sample in samples:
        groups.setdefault((sample.payload, sample.streams, sample.peer), []).append(sample)
    return [
        _point(group, groups.get((payload, streams, DIRECT), ()))
        for (payload, streams, _), group in groups.items()
    ]


def _point(group: Sequence[StreamSample], direct: Sequence[StreamSample]) -> StreamPoint:
    one = group[0]
    first_p50_ms, token_p50_us = _median(group, "first_p50_ms"), _median(group, "token_p50_us")
    proxied, beside = one.proxy_busy is not None, bool(direct) and one.peer != DIRECT
    return StreamPoint(
        payload=one.payload,
        streams=one.streams,
        peer=one.peer,
        first_p50_ms=first_p50_ms,
        first_p99_ms=_median(group, "first_p99_ms"),
        first_added_ms=first_p50_ms - _median(direct, "first_p50_ms") if beside else None,
        token_p50_us=token_p50_us,
        token_p99_us=_median(group, "token_p99_us"),
        token_added_us=token_p50_us - _median(direct, "token_p50_us") if beside else None,
        proxy_cpu_us_per_token=_median(group, "proxy_cpu_us_per_token") if proxied else None,
        proxy_busy=_median(group, "proxy_busy") if proxied else None,
    )


def _median(group: Sequence[StreamSample], figure: str) -> float:
    return statistics.median(getattr(sample, figure) for sample in group)
