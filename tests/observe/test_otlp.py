"""Sending spans: what a collector takes, and that nothing which it does is of any harm."""

import time
from collections.abc import Iterator

import pytest

from gateway.collector import Traces
from gateway.observe.metrics import SPANS_DROPPED, SPANS_EXPORTED
from gateway.observe.otlp import SpanExport
from gateway.observe.traces import FinishedSpan
from tests.gateway_process import wait_for
from tests.observe import collector as behaviour
from tests.observe.collector import Behave, Collector, attributes
from tests.patience import PATIENT_S

pytestmark = pytest.mark.slow

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Hasty(SpanExport):
    """Sends at once."""

    INTERVAL_S = 0.01


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of one's own."""
    found = Collector()
    yield found
    found.close()


def finished(number: int = 1, **fields: object) -> FinishedSpan:
    """A span."""
    found: dict[str, object] = {
        "name": "POST /x", "kind": "server", "trace_id": TRACE, "span_id": f"{number:016x}", "parent_id": "",
        "remote_parent": False, "state": "", "start_ns": 1_000, "end_ns": 2_000, "attributes": {},
    }  # fmt: skip
    return FinishedSpan(**(found | fields))  # type: ignore[arg-type]


def counted() -> dict[str, float]:
    """What the metrics say by now."""
    found = {
        reason: SPANS_DROPPED.labels(reason)._value.get() for reason in ("queue_full", "not_sent", "rejected")
    }
    return found | {"exported": SPANS_EXPORTED._value.get()}


def risen(before: dict[str, float]) -> dict[str, float]:
    """By how much they have risen."""
    return {name: value - before[name] for name, value in counted().items() if value != before[name]}


def test_a_span_arrives_as_it_was(collector: Collector) -> None:
    """Ids, kinds, times, attributes of each type, events, status and flags, as OpenTelemetry's messages have them."""
    settings = Traces(
        collector.url + "/", service_name="shop", resource="deployment.environment.name=pro%64, a.b=c", headers="X-Key=a%2Cb"
    )  # fmt: skip
    export = Hasty(settings, "worker-1")
    export.keep(
        finished(
            7, parent_id="b7ad6b7169203331", remote_parent=True, state="a=1,b=2", failed=True,
            attributes={"s": "é" * 300, "i": 5, "f": 0.5, "b": True}, events=(("retry", 1_500, {"n": 1}),),
        )
    )  # fmt: skip
    export.keep(finished(8, kind="client", parent_id=f"{7:016x}"))
    first, second = collector.of(TRACE, 2)
    export.close(PATIENT_S)
    assert (first.trace_id.hex(), first.span_id.hex(), first.parent_span_id.hex()) == (
        TRACE, f"{7:016x}", "b7ad6b7169203331",
    )  # fmt: skip
    assert (first.name, first.kind, first.trace_state) == ("POST /x", first.SPAN_KIND_SERVER, "a=1,b=2")
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (1_000, 2_000)
    assert attributes(first) == {"s": "é" * 256, "i": 5, "f": 0.5, "b": True}
    assert [(event.name, event.time_unix_nano, attributes(event)) for event in first.events] == [
        ("retry", 1_500, {"n": 1})
    ]
    assert (first.status.code, second.status.code) == (first.status.STATUS_CODE_ERROR, 0)
    # Sampled, and whether the parent is of another process (trace.proto, SpanFlags).
    assert (first.flags, second.flags) == (0x301, 0x101)
    path, headers = collector.requests[0]
    assert path == "/v1/traces"
    assert (headers["Content-Type"], headers["X-Key"]) == ("application/x-protobuf", "a,b")
    resource = attributes(collector.resources[0])
    assert (resource["service.name"], resource["service.instance.id"]) == ("shop", "worker-1")
    assert (resource["deployment.environment.name"], resource["a.b"]) == ("prod", "c")


def test_an_endpoint_may_name_its_path(collector: Collector) -> None:
    """As collectors behind a prefix have it."""
    for endpoint, path in (("/v1/traces", "/v1/traces"), ("/otel/", "/otel/v1/traces")):
        export = Hasty(Traces(collector.url + endpoint), "w")
        collector.renew()
        export.keep(finished())
        collector.of(TRACE)
        export.close(PATIENT_S)
        assert collector.requests[0][0] == path


def test_many_spans_go_in_batches(collector: Collector) -> None:
    """All of them, at the end too, with no batch larger than it may be."""
    before = counted()
    export = SpanExport(Traces(collector.url), "w")
    for number in range(1, 1001):
        export.keep(finished(number))
    export.close(20)
    assert sorted(int(span.span_id.hex(), 16) for span in collector.spans) == list(range(1, 1001))
    # A batch may have gone before all were queued.
    assert 8 <= len(collector.requests) <= 10
    assert risen(before) == {"exported": 1000}


def test_a_full_queue_drops_and_counts(collector: Collector) -> None:
    """Memory stays bounded while the collector hangs; closing does not wait for it."""
    before = counted()
    collector.behave = behaviour.hang
    export = Hasty(Traces(collector.url, timeout_s=60), "w")
    for number in range(1, 10_001):
        export.keep(finished(number))
    began = time.monotonic()
    export.close(0.5)
    assert time.monotonic() - began < 10
    found = risen(before)
    assert found["queue_full"] + found["not_sent"] >= 10_000 - SpanExport.BATCH
    assert found["queue_full"] >= 10_000 - SpanExport.MOST_WAITING - SpanExport.BATCH


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(behaviour.refuse(500), id="500"),
        pytest.param(behaviour.refuse(400), id="400"),
        pytest.param(behaviour.refuse(308, Location="http://127.0.0.1:1/"), id="a redirect"),
        pytest.param(behaviour.refuse(503, Retry_After="3600"), id="503 for an hour"),
        pytest.param(behaviour.refuse(429), id="429 again and again"),
        pytest.param(behaviour.garbage, id="no HTTP"),
        pytest.param(behaviour.hang, id="silence"),
        pytest.param(behaviour.dripping, id="a dripping head"),
        pytest.param(behaviour.endless_head, id="an endless head"),
    ],
)
def test_what_is_not_taken_is_counted_and_the_next_goes_on(
    collector: Collector, behave: Behave, caplog: pytest.LogCaptureFixture
) -> None:
    """Within the time of a batch, whatever the collector does; said once in the log, and once when it is well again."""
    before = counted()
    export = Hasty(Traces(collector.url, timeout_s=1.5), "w")
    collector.behave = behave
    for number in (1, 2):
        export.keep(finished(number))
        wait_for(lambda number=number: risen(before).get("not_sent") == number, 20, "the drop")  # type: ignore[misc]
    collector.behave = behaviour.Request.take
    export.keep(finished(3))
    assert [span.span_id.hex() for span in collector.of(TRACE)] == [f"{3:016x}"]
    export.close(PATIENT_S)
    assert risen(before) == {"not_sent": 2, "exported": 1}
    said = [record.message for record in caplog.records if record.name == "gateway.observe.otlp"]
    assert len([line for line in said if "cannot be sent" in line]) == 1


def test_nobody_there_is_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    """A port that nobody listens on; the log says that, and not that somebody takes too long."""
    before = counted()
    export = Hasty(Traces("http://127.0.0.1:9", timeout_s=2), "w")
    export.keep(finished())
    wait_for(lambda: risen(before) == {"not_sent": 1}, 20, "the drop")
    export.close(PATIENT_S)
    (said,) = [record.message for record in caplog.records if "cannot be sent" in record.message]
    assert "ConnectError" in said
    assert "too long" not in said


@pytest.mark.parametrize(
    ("behave", "why"),
    [
        pytest.param(behaviour.refuse(401), "it answers 401", id="refused"),
        # A pause of half a second, then another: the batch's time is over in one of them.
        pytest.param(behaviour.refuse(503), "it answers 503", id="refused until the time is over"),
        pytest.param(behaviour.hang, "it takes too long", id="silence"),
    ],
)
def test_the_log_says_what_the_collector_did(
    collector: Collector, behave: Behave, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A collector that refuses does not take too long."""
    before = counted()
    export = Hasty(Traces(collector.url, timeout_s=1), "w")
    collector.behave = behave
    export.keep(finished())
    wait_for(lambda: risen(before) == {"not_sent": 1}, 20, "the drop")
    export.close(PATIENT_S)
    (said,) = [record.message for record in caplog.records if "cannot be sent" in record.message]
    assert said.endswith(why)


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        pytest.param(behaviour.garbage_body, {"exported": 5}, id="a body that is no message"),
        pytest.param(behaviour.endless, {"exported": 5}, id="an endless body"),
        pytest.param(behaviour.rejecting(2), {"exported": 3, "rejected": 2}, id="partial success"),
        pytest.param(behaviour.rejecting(1000), {"rejected": 5}, id="more rejected than there were"),
        pytest.param(behaviour.rejecting(-5), {"exported": 5}, id="fewer than none"),
    ],
)
def test_what_a_collector_says_is_read_with_care(
    collector: Collector, behave: Behave, expected: dict[str, float]
) -> None:
    """Its count of rejected spans is believed within reason, and no reply is read without end."""
    before = counted()
    collector.behave = behave
    export = SpanExport(Traces(collector.url), "w")
    for number in range(1, 6):
        export.keep(finished(number))
    wait_for(lambda: risen(before) == expected, 20, f"{expected}")
    export.close(PATIENT_S)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_collector_that_is_busy_is_asked_again(collector: Collector, status: int) -> None:
    """Nothing is lost where it says that it will do so."""
    before = counted()
    refusals = [behaviour.refuse(status, Retry_After="0"), behaviour.refuse(status)]

    def behave(request: behaviour.Request) -> None:
        (refusals.pop() if refusals else behaviour.Request.take)(request)

    collector.behave = behave
    export = Hasty(Traces(collector.url), "w")
    export.keep(finished())
    collector.of(TRACE)
    export.close(PATIENT_S)
    assert risen(before) == {"exported": 1}


def test_a_fault_in_one_span_ends_nothing(collector: Collector) -> None:
    """A batch that cannot be encoded is dropped alone."""
    before = counted()
    export = Hasty(Traces(collector.url), "w")
    export.keep(finished(1, trace_id="no hexadecimal digits"))
    wait_for(lambda: risen(before) == {"not_sent": 1}, 20, "the drop")
    export.keep(finished(2))
    collector.of(TRACE)
    export.close(PATIENT_S)
