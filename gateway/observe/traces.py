"""Which requests are traced, and what their steps leave for it. A request that is not traced has no `RequestSpan`.

Spans are made after the fact, mostly from times that a request's trail has anyway: `dataplane.trace` says what they
tell, `otlp` sends them.
"""

import os
import random
import time
from typing import Literal, Protocol

import msgspec

from gateway.collector import Traces
from gateway.observe.metrics import TRACES_LIMITED
from gateway.observe.trace_context import TraceContext, trace_fields

Value = str | int | float | bool

_MOST_STATE_BYTES = 512
"""Of a `tracestate` in a kept span; the specification promises no more to anybody (section 3.3.1.5)."""

_MOST_STEPS = 32
"""Kept of one request; a loop gone wild fills no memory."""


class FinishedSpan(msgspec.Struct, frozen=True):
    """One span to be kept. Ids in hexadecimal, `parent_id` empty at a trace's root; `state` is the `tracestate`.

    Times are Unix nanoseconds. `events` are (name, time, attributes). `failed` is OpenTelemetry's status Error.
    """

    name: str
    kind: Literal["server", "client", "internal"]
    trace_id: str
    span_id: str
    parent_id: str
    remote_parent: bool
    state: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Value]
    events: tuple[tuple[str, int, dict[str, Value]], ...] = ()
    failed: bool = False


class SpanTaker(Protocol):
    """Takes finished spans; whatever becomes of them, it neither waits nor raises."""

    def keep(self, span: FinishedSpan) -> None:
        """Send it when there is time."""


class Step(msgspec.Struct, frozen=True):
    """Something within a request, from `began` to `ended`, monotonic seconds; a moment where they are equal."""

    name: str
    span_id: str
    began: float
    ended: float
    attributes: dict[str, Value]


class Attempt(msgspec.Struct):
    """One call of an upstream. `endpoint` is its URL, empty for the embedded engine; `ended` is 0 while it runs."""

    span_id: str
    endpoint: str
    began: float
    ended: float = 0.0
    error_type: str = ""


class RequestSpan:
    """One traced request. `asked` says that its caller decided so; steps leave here what they have to tell.

    `route` is its path where that does not name its alias.
    """

    __slots__ = (
        "asked",
        "attempts",
        "context",
        "http_11",
        "route",
        "span_id",
        "state",
        "steps",
        "trace_id",
        "tracing",
    )

    def __init__(self, tracing: "Tracing", context: TraceContext) -> None:
        ids = os.urandom(24).hex()
        self.tracing = tracing
        self.context = context
        self.state = context.state.decode() if len(context.state) <= _MOST_STATE_BYTES else ""
        self.asked = bool(context.parent)
        self.trace_id = context.trace_id or ids[:32]
        self.span_id = ids[32:]
        self.http_11 = True
        self.route = ""
        self.steps: list[Step] = []
        self.attempts: list[Attempt] = []

    def step(self, name: str, began: float, attributes: dict[str, Value] | None = None) -> None:
        """A step that began then (monotonic seconds) is over: it becomes a span within the request's.

        An attribute `error.type` says that it failed.
        """
        if len(self.steps) < _MOST_STEPS:
            self.steps.append(Step(name, os.urandom(8).hex(), began, time.monotonic(), attributes or {}))

    def moment(self, name: str, attributes: dict[str, Value] | None = None) -> None:
        """Something happened now: it becomes an event of the request's span."""
        if len(self.steps) < _MOST_STEPS:
            now = time.monotonic()
            self.steps.append(Step(name, "", now, now, attributes or {}))

    def sent(self, endpoint: str) -> bytes:
        """The request goes upstream now: the fields that make this attempt the parent of what happens there."""
        attempt = Attempt(os.urandom(8).hex(), endpoint, time.monotonic())
        self.attempts.append(attempt)
        return trace_fields(self.trace_id, attempt.span_id, self.context.state)

    def failed(self, error_type: str) -> None:
        """The last attempt brought no reply for the caller; another one may follow."""
        attempt = self.attempts[-1]
        attempt.ended = time.monotonic()
        attempt.error_type = error_type


class Tracing:
    """Decides at a request's start. `host` and `port` are where callers reach this worker."""

    def __init__(self, settings: Traces, spans: SpanTaker, host: str, port: int) -> None:
        self.keep = spans.keep
        self.host = host
        self.port = port
        self._ratio = settings.sample_ratio
        self._chosen = _Allowance(settings.most_per_s)
        self._asked = _Allowance(settings.most_per_s)

    def begin(self, context: TraceContext) -> RequestSpan | None:
        """The span of a request that is to be traced: where its caller keeps the trace, or by chance where it has none.

        Both up to a rate, so that no caller fills the collector. A caller that keeps nothing decides that too.
        """
        if not context.parent:
            if random.random() >= self._ratio:
                return None
        elif not context.sampled:
            return None
        allowance = self._asked if context.parent else self._chosen
        if not allowance.take():
            TRACES_LIMITED.inc()
            return None
        return RequestSpan(self, context)

    def forget(self) -> None:
        """A request that its caller wanted traced is not: who has no valid credential decides nothing here."""
        self._asked.give_back()


class _Allowance:
    """So many a second, and a second's worth at once."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._most = max(per_s, 1.0) if per_s else 0.0
        self._left = self._most
        self._at = time.monotonic()

    def take(self) -> bool:
        """Whether there is one left."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def give_back(self) -> None:
        """It was not used."""
        self._left += 1.0
