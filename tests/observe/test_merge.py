"""One page of metrics from several processes."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gateway.observe.merge import SUPERVISOR, Merged, told
from gateway.observe.metrics import GAUGES, render
from gateway.observe.quotas import QuotaTallies
from gateway.observe.tally import Tallies
from tests.test_house import written_metrics


class Process:
    """A process with a counter, a histogram and gauges of each kind."""

    def __init__(self, alias: str = "digits") -> None:
        registry = self.registry = CollectorRegistry()
        self.calls = Counter("maas_calls_total", "Calls.", ("alias",), registry=registry).labels(alias)
        self.times = Histogram("maas_call_seconds", "Times.", buckets=(0.1, 1.0), registry=registry)
        self.connections = Gauge("maas_connections", "Open.", registry=registry)
        self.version = Gauge("maas_snapshot_version", "Version.", registry=registry)
        self.memory = Gauge("process_resident_memory_bytes", "Memory.", registry=registry)
        self.workers = Gauge("maas_workers", "Workers.", registry=registry)

    def told(self) -> bytes:
        """Its metrics as it tells them."""
        return told(self.registry)


def samples(merged: Collector) -> dict[str, float]:
    """Every sample of the rendered page, less when each began."""
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(render("", merged)[0].decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_counts_are_summed_and_gauges_become_what_they_mean() -> None:
    """Counters, buckets and sums add up exactly; gauges are summed, the least, one for each worker, or the supervisor's."""
    one, two, supervisor = Process(), Process("legacy"), Process()
    one.calls.inc(2**40 + 1)
    two.calls.inc(5)
    supervisor.calls.inc(2)
    for process, value_s in ((one, 0.05), (two, 0.5), (two, 5.0)):
        process.times.observe(value_s)
    for process, number in ((one, 3), (two, 4), (supervisor, 0)):
        process.connections.set(number)
        process.version.set(number)
        process.memory.set(number)
        process.workers.set(number)
    supervisor.workers.set(2)
    merged = Merged()
    merged.add(supervisor.told(), SUPERVISOR)
    merged.add(one.told(), "0")
    merged.add(two.told(), "1")
    assert samples(merged) == {
        "maas_calls_total alias=digits": 2**40 + 3,
        "maas_calls_total alias=legacy": 5,
        "maas_call_seconds_bucket le=0.1": 1,
        "maas_call_seconds_bucket le=1.0": 2,
        "maas_call_seconds_bucket le=+Inf": 3,
        "maas_call_seconds_count": 3,
        "maas_call_seconds_sum": 5.55,
        "maas_connections": 7,
        "maas_snapshot_version": 3,
        "process_resident_memory_bytes worker=supervisor": 0,
        "process_resident_memory_bytes worker=0": 3,
        "process_resident_memory_bytes worker=1": 4,
        "maas_workers": 2,
    }


def test_counts_of_those_who_ended_stay() -> None:
    """A process that ended keeps its counts in the sum and takes its gauges with it; when each count began, the first says."""
    gone, here = Process(), Process()
    gone.calls.inc(7)
    gone.connections.set(9)
    here.calls.inc(1)
    here.connections.set(1)
    retired = Merged().with_totals(gone.told()).with_totals(gone.told())
    merged = Merged()
    merged.add(here.told(), "0")
    merged.add_totals(retired)
    found = samples(merged)
    assert found["maas_calls_total alias=digits"] == 15
    assert found["maas_connections"] == 1
    began = [
        sample.value
        for family in merged.collect()
        for sample in family.samples
        if sample.name == "maas_calls_created"
    ]
    assert len(began) == 1
    assert began[0] <= time.time()


def test_counts_of_a_quota_that_was_deleted_go() -> None:
    """Of those who ended too: what was deleted meanwhile nobody tells any more."""

    def process(*policies: str) -> bytes:
        tallies, registry = QuotaTallies(), CollectorRegistry()
        registry.register(tallies)
        for name in policies:
            tallies.of((name, "minute", "enforce")).taken = 3
        return told(registry)

    merged = Merged()
    merged.add(process("stays"), "0")
    merged.add_totals(Merged().with_totals(process("stays", "deleted")))
    found = {name: value for name, value in samples(merged).items() if name.startswith("maas_quota_taken")}
    assert found == {"maas_quota_taken_total limit=minute mode=enforce policy=stays": 6}


def test_the_latest_exemplar_of_a_bucket_stands() -> None:
    """Whichever worker had it; a page in OpenMetrics form names its trace, one in Prometheus' own form does not."""
    merged = Merged()
    for at, trace_id in ((5.0, "a"), (7.0, "b"), (6.0, "c")):
        tallies, registry = Tallies(), CollectorRegistry()
        registry.register(tallies)
        tally = tallies.of(("digits", "digits", "1", "stable", "http"))
        tally.forwarded(0.2, 0.1, 0.1, None)
        tally.exemplify(trace_id, at, 0.2, 0.1)
        merged.add(told(registry), trace_id)
    page = render("application/openmetrics-text; version=1.0.0", merged)[0].decode()
    bucket = [line for line in page.splitlines() if "request_duration" in line and 'le="0.25"' in line]
    assert len(bucket) == 1
    assert bucket[0].endswith('3.0 # {trace_id="b"} 0.2 7.0')
    assert "trace_id" not in render("", merged)[0].decode()


def test_ten_thousand_series_of_four_workers_take_no_second() -> None:
    """Told, merged and rendered. It takes a sixth of a second where nothing else runs."""
    process = Process()
    histogram = Histogram("maas_many", "Many.", ("alias",), buckets=range(20), registry=process.registry)
    for number in range(440):
        histogram.labels(f"alias-{number}").observe(number % 20)
    best_s, page = float("inf"), b""
    for _ in range(10):
        began = time.process_time()
        merged = Merged()
        for number in range(4):
            merged.add(process.told(), str(number))
        page, _ = render("application/openmetrics-text", merged)
        best_s = min(best_s, time.process_time() - began)
        if best_s < 1.0:
            break
    assert page.count(b"\n") > 10_000
    assert best_s < 1.0


def test_every_gauge_says_how_it_is_merged() -> None:
    """A gauge of the gateway stands in `GAUGES`, and nothing else does."""
    assert {name for kind, name in written_metrics() if kind == "Gauge"} == set(GAUGES)
