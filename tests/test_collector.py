"""Settings of traces: what is wrong is found before anything starts, and no value of a header is shown."""

import pytest

from gateway.cli.doctor.collector import look_at_collector
from gateway.collector import Traces
from gateway.settings import Settings, SettingsError, load_settings
from tests.observe.collector import Collector, refuse

SECRET = "c0llect0r-secret"


def problems(**values: str) -> list[str]:
    """What is found wrong."""
    with pytest.raises(SettingsError) as refused:
        load_settings(None, {f"MAAS_TRACES__{name.upper()}": value for name, value in values.items()})
    return refused.value.problems


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("endpoint", "127.0.0.1:4318"),
        ("endpoint", "grpc://127.0.0.1:4317"),
        ("endpoint", "http://"),
        ("endpoint", f"http://user:{SECRET}@127.0.0.1:4318"),
        ("endpoint", "http://127.0.0.1:0"),
        ("endpoint", "http://127.0.0.1:4318/?key=x"),
        ("endpoint", "http://169.254.169.254/"),
        ("sample_ratio", "1.1"),
        ("sample_ratio", "-0.1"),
        ("sample_ratio", "nan"),
        ("most_per_s", "-1"),
        ("most_per_s", "inf"),
        ("timeout_s", "0"),
        ("headers", SECRET),
        ("headers", f"Authorization {SECRET}"),
        ("headers", f"a=b,bad name={SECRET}"),
        ("headers", f"a={SECRET}%0d%0aX: y"),
        ("headers", f"a={SECRET}é"),
        ("resource", "1x=y"),
        ("nosuch", "1"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, value: str) -> None:
    """By the setting's name, and without the value of a header."""
    found = problems(**{name: value})
    assert [problem.startswith(f"traces.{name}: ") for problem in found] == [True]
    assert SECRET not in found[0]


def test_all_faults_are_told_together() -> None:
    """Three settings, three lines."""
    assert len(problems(endpoint="x", sample_ratio="2", headers="x")) == 3


def test_no_endpoint_is_no_traces() -> None:
    """The default, whatever else is set."""
    settings = load_settings(None, {"MAAS_TRACES__SAMPLE_RATIO": "0"})
    assert (settings.traces.endpoint, Settings().traces.endpoint) == ("", "")


def test_header_values_are_secrets() -> None:
    """Percent-encoded as they came, or not: no log may show them."""
    traces = Traces(headers=f"Authorization=Bearer%20{SECRET}, X-Scope-OrgID=team 1")
    assert traces.header_values == {"Authorization": f"Bearer {SECRET}", "X-Scope-OrgID": "team 1"}
    assert f"Bearer {SECRET}" in Settings(traces=traces).secrets


def test_the_doctor_asks_the_collector() -> None:
    """It takes a request without spans, wants other credentials, is something else, or is not there."""
    collector = Collector()
    settings = Settings(traces=Traces(collector.url, headers=f"X-Key={SECRET}"))
    severities = []
    for behave in (collector.behave, refuse(401), refuse(404)):
        collector.behave = behave
        (finding,) = look_at_collector(settings)
        severities.append((finding.severity, finding.todo.partition(" ")[0] if finding.todo else ""))
        assert SECRET not in finding.found + (finding.todo or "")
    assert severities == [("ok", ""), ("warning", "correct"), ("warning", "traces.endpoint")]
    assert collector.requests[0][1]["X-Key"] == SECRET
    collector.close()
    (finding,) = look_at_collector(Settings(traces=Traces("http://127.0.0.1:9")))
    assert (finding.severity, "does not answer" in finding.found) == ("warning", True)
    assert list(look_at_collector(Settings())) == []
