"""Which requests are traced: by their caller's word, by chance, and never more than so many."""

import time

import pytest

from gateway.collector import Traces
from gateway.observe.metrics import TRACES_LIMITED
from gateway.observe.trace_context import NO_TRACE, TraceContext, read_trace_context
from gateway.observe.traces import FinishedSpan, Tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = read_trace_context([f"00-{TRACE}-{SPAN}-01".encode()], [b"a=1"])
NOT_SAMPLED = read_trace_context([f"00-{TRACE}-{SPAN}-00".encode()], [])


class Kept:
    """Keeps spans to look at."""

    def __init__(self) -> None:
        self.spans: list[FinishedSpan] = []

    def keep(self, span: FinishedSpan) -> None:
        """Keep it."""
        self.spans.append(span)


def tracing(ratio: float = 0.0, most_per_s: float = 1e9) -> Tracing:
    """Tracing with these settings."""
    return Tracing(Traces("http://127.0.0.1:9", ratio, most_per_s), Kept(), "h", 1)


def test_a_caller_decides_over_its_own_traces() -> None:
    """Kept where it keeps them and not where it does not, whatever the ratio."""
    for ratio in (0.0, 1.0):
        span = tracing(ratio).begin(SAMPLED)
        assert span is not None
        assert (span.trace_id, span.context.span_id, span.asked, span.state) == (TRACE, SPAN, True, "a=1")
        assert len(bytes.fromhex(span.span_id)) == 8
        assert span.span_id != SPAN
        assert tracing(ratio).begin(NOT_SAMPLED) is None


def test_chance_decides_where_no_caller_does() -> None:
    """By the ratio; each trace has an id of its own."""
    assert tracing(0.0).begin(NO_TRACE) is None
    assert tracing(1.0).begin(NO_TRACE) is not None
    some = tracing(0.25)
    spans = [span for _ in range(4000) if (span := some.begin(NO_TRACE)) is not None]
    # Six standard deviations of a binomial of 4000 and a quarter.
    assert abs(len(spans) - 1000) < 6 * (4000 * 0.25 * 0.75) ** 0.5
    assert len({span.trace_id for span in spans} | {span.span_id for span in spans}) == 2 * len(spans)
    assert not any(span.asked or span.context.parent for span in spans)


@pytest.mark.parametrize(("context", "other"), [(SAMPLED, NO_TRACE), (NO_TRACE, SAMPLED)])
def test_no_more_than_so_many_a_second(
    monkeypatch: pytest.MonkeyPatch, context: TraceContext, other: TraceContext
) -> None:
    """Callers who ask for all have no more than their rate, and take nothing from those that chance chooses."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limited = tracing(1.0, most_per_s=10)
    before = TRACES_LIMITED._value.get()
    assert sum(limited.begin(context) is not None for _ in range(100)) == 10
    assert TRACES_LIMITED._value.get() == before + 90
    assert limited.begin(other) is not None
    now[0] += 0.35
    assert sum(limited.begin(context) is not None for _ in range(100)) == 3
    now[0] += 3600
    assert sum(limited.begin(context) is not None for _ in range(100)) == 10


def test_a_rate_of_nothing_traces_nothing() -> None:
    """Not even at first."""
    assert tracing(1.0, 0.0).begin(SAMPLED) is None


def test_what_is_forgotten_is_free_again() -> None:
    """A caller without a valid credential uses up no place of those that have one."""
    limited = tracing(0.0, most_per_s=1)
    for _ in range(50):
        assert limited.begin(SAMPLED) is not None
        limited.forget()


def test_a_request_tells_so_much_of_itself_and_no_more() -> None:
    """Steps and moments are bounded, and so is the caller's state."""
    span = tracing().begin(read_trace_context([SAMPLED.parent], [b"a=" + b"1" * 255, b"b=" + b"2" * 255]))
    assert span is not None
    for _ in range(1000):
        span.step("queue", 0.0)
        span.moment("tried", {"n": 1})
    assert len(span.steps) == 32
    assert span.state == ""
    assert b"2" * 255 in span.sent("http://127.0.0.1:1")
