"""Counts and durations of inferences, kept in plain lists on the request path and turned into metrics when scraped.

One thread writes, the event loop's; a scrape from another thread may see one observation's bucket before its sum.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

LABELS = ("alias", "model", "version", "arm", "protocol")

DURATION_BOUNDS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
OVERHEAD_BOUNDS_S = (0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)


Bucket = tuple[str, float] | tuple[str, float, Exemplar]


class Spread:
    """A histogram: `counts[i]` observations up to and including `bounds[i]`, the last one above them all."""

    __slots__ = ("bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.exemplars: dict[int, Exemplar] = {}
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def exemplify(self, value: float, trace_id: str, at: float) -> None:
        """Name the trace of a value that was counted; the last one of a bucket stands for it. `at` is Unix seconds."""
        self.exemplars[bisect_left(self.bounds, value)] = Exemplar({"trace_id": trace_id}, value, at)

    def buckets(self) -> list[Bucket]:
        """Cumulative counts by upper bound, as Prometheus wants them, with their exemplars."""
        running = 0
        found: list[Bucket] = []
        bounds = (*map(str, self.bounds), "+Inf")
        for index, (bound, count) in enumerate(zip(bounds, list(self.counts), strict=True)):
            running += count
            exemplar = self.exemplars.get(index)
            found.append((bound, running) if exemplar is None else (bound, running, exemplar))
        return found


class Tally:
    """What became of the calls with one set of labels."""

    __slots__ = (
        "first",
        "labels",
        "outcomes",
        "overhead",
        "reply_bytes",
        "request_bytes",
        "total",
        "upstream",
    )

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.outcomes: dict[str, int] = {}
        self.total = Spread(DURATION_BOUNDS_S)
        self.overhead = Spread(OVERHEAD_BOUNDS_S)
        self.upstream = Spread(DURATION_BOUNDS_S)
        self.first = Spread(DURATION_BOUNDS_S)
        self.request_bytes = 0
        self.reply_bytes = 0

    def forwarded(self, total_s: float, own_s: float, upstream_s: float, first_s: float | None) -> None:
        """Count how long a call took that went upstream: in all, of that the gateway's own part and the upstream's, and
        the upstream's until its reply began, if it did.
        """
        total, own, upstream, first = self.total, self.overhead, self.upstream, self.first
        total.counts[bisect_left(DURATION_BOUNDS_S, total_s)] += 1
        total.total += total_s
        own.counts[bisect_left(OVERHEAD_BOUNDS_S, own_s)] += 1
        own.total += own_s
        bucket = bisect_left(DURATION_BOUNDS_S, upstream_s)
        upstream.counts[bucket] += 1
        upstream.total += upstream_s
        if first_s is not None:
            # A reply that comes whole begins when it ends.
            first.counts[bucket if first_s == upstream_s else bisect_left(DURATION_BOUNDS_S, first_s)] += 1
            first.total += first_s

    def exemplify(self, trace_id: str, at: float, total_s: float, upstream_s: float) -> None:
        """Name the trace of the call that was counted last."""
        for spread, value in (
            (self.total, total_s),
            (self.overhead, total_s - upstream_s),
            (self.upstream, upstream_s),
        ):
            spread.exemplify(value, trace_id, at)


class Tallies(Collector):
    """All tallies of the process, by labels; also their Prometheus collector."""

    def __init__(self) -> None:
        self._by_labels: dict[tuple[str, ...], Tally] = {}

    def of(self, labels: tuple[str, ...]) -> Tally:
        """The tally of these labels (`LABELS`), made when it is new."""
        tally = self._by_labels.get(labels)
        if tally is None:
            tally = self._by_labels[labels] = Tally(labels)
        return tally

    def collect(self) -> Iterable[Metric]:
        """The metrics `maas_requests_total`, the bytes and the durations."""
        tallies = list(self._by_labels.values())
        requests = CounterMetricFamily(
            "maas_requests", "Inferences answered, by what became of them.", labels=(*LABELS, "outcome")
        )
        for tally in tallies:
            for outcome, count in list(tally.outcomes.items()):
                requests.add_metric((*tally.labels, outcome), count)
        yield requests
        for name, what, part in (
            ("maas_request_bytes", "Bytes of request bodies.", "request_bytes"),
            ("maas_reply_bytes", "Bytes of reply bodies, as the upstream sent them.", "reply_bytes"),
        ):
            sizes = CounterMetricFamily(name, what, labels=LABELS)
            for tally in tallies:
                sizes.add_metric(tally.labels, getattr(tally, part))
            yield sizes
        yield from self._durations(tallies)

    def _durations(self, tallies: list[Tally]) -> Iterator[Metric]:
        for name, what, part in (
            (
                "maas_request_duration_seconds",
                "Of an inference: from the request's head to the reply's end.",
                "total",
            ),
            ("maas_overhead_duration_seconds", "The gateway's own part of it.", "overhead"),
            (
                "maas_upstream_duration_seconds",
                "From sending the request upstream to its reply's end.",
                "upstream",
            ),
            (
                "maas_upstream_first_byte_seconds",
                "From sending the request upstream to the beginning of its reply.",
                "first",
            ),
        ):
            family = HistogramMetricFamily(name, what, labels=LABELS)
            for tally in tallies:
                spread: Spread = getattr(tally, part)
                family.add_metric(tally.labels, spread.buckets(), spread.total)
            yield family
