"""What is kept of every call: metrics, one line in the access log, who used what, and when a key was last used."""

import time

from gateway.dataplane.call import CALLER_GONE, Call, CallProtocol
from gateway.dataplane.sample import Capture
from gateway.dataplane.trace import trace
from gateway.dataplane.usage import UsageBook
from gateway.errors import HTTP_STATUS, GatewayError
from gateway.observe import metrics
from gateway.observe.logs import AccessLog, AccessRecord
from gateway.observe.redact import shown_path
from gateway.observe.tally import Tally
from gateway.observe.trace_context import TraceContext
from gateway.snapshot.compile import Snapshot
from gateway.types import Captured, Target

_CALLER_GONE_STATUS = 499


class Recorder:
    """Keeps the tally of each target of the current snapshot at hand, so that a request looks up no labels."""

    def __init__(self, access_log: AccessLog) -> None:
        self._access_log = access_log
        # By identity: hashing a target costs more than counting it. The target is kept beside its tally so that
        # its identity cannot pass to another object.
        self._tallies: dict[tuple[int, str], tuple[Tally, Target | None]] = {}
        self.keys_used: dict[str, float] = {}
        self.usage = UsageBook()

    def activated(self, snapshot: Snapshot) -> None:
        """Let go of the old snapshot's targets, and tell which snapshot is served."""
        self._tallies.clear()
        metrics.SNAPSHOT_VERSION.set(snapshot.version)
        metrics.SNAPSHOT_CREATED.set(snapshot.created_at)

    def record(self, call: Call) -> None:
        """Count and log one call that is over. A call that reached no target is counted under no alias.

        What is asked about a model (its metadata, its readiness) is counted by itself, and is part of no duration: many ask
        that every second, and it takes no model any time.
        """
        trail = call.trail
        outcome, status = _outcome(call)
        exchange = trail.exchange
        now_s = time.monotonic()
        total_s = now_s - trail.began
        upstream_s = 0.0
        if exchange is not None and exchange.started:
            upstream_s = (exchange.ended or now_s) - exchange.started
        tally: Tally | None = None
        if call.operation.action == "infer":
            tally = self._tally(call, trail.target)
            _count(call, tally, outcome, total_s, upstream_s)
        else:
            metrics.READS.labels(
                *_labels(call.alias, trail.target), call.protocol, call.operation.name, outcome
            ).inc()
        at = time.time()
        if trail.span is not None:
            self._trace(call, tally, outcome, status, now_s, at)
        if trail.principal is not None:
            if not trail.principal.issuer:
                self.keys_used[trail.principal.key_id] = at
            if trail.target is not None and tally is not None:
                self.usage.count(call, trail.target, outcome, status, at)
        if self._access_log.wanted:
            self._access_log.append(_access_record(call, at, outcome, status, total_s, upstream_s))
        if trail.capture is not None:
            trail.capture.end(
                _captured(call, trail.capture, at - total_s, outcome, status, total_s, upstream_s)
            )

    def _trace(
        self, call: Call, tally: Tally | None, outcome: str, status: int, now_s: float, at: float
    ) -> None:
        trail = call.trail
        span = trail.span
        assert span is not None
        if span.asked and trail.principal is None:
            # Who has no valid credential makes nobody keep a trace.
            span.tracing.forget()
            trail.span = None
            return
        trace(call, span, outcome, status, now_s, at)
        exchange = trail.exchange
        if tally is not None and exchange is not None and exchange.started:
            total_s = now_s - trail.began
            upstream_s = (exchange.ended or now_s) - exchange.started
            tally.exemplify(span.trace_id, at, total_s, upstream_s)

    def refused(
        self,
        error: GatewayError,
        request_id: str,
        target: bytes,
        trace: TraceContext,
        began: float,
        protocol: CallProtocol = "http",
    ) -> None:
        """Count and log a request that was refused as it was read, so that there was no call.

        `target` is what the caller wrote behind the method, over gRPC the method; `began` is monotonic seconds.
        """
        outcome = error.kind.value
        metrics.REFUSED.labels(outcome).inc()
        if self._access_log.wanted:
            took_s = time.monotonic() - began
            self._access_log.append(
                AccessRecord(
                    time.time(), request_id, trace.parent.decode(), trace.trace_id, "", "", "", "", 0, "", protocol, "",
                    outcome, HTTP_STATUS[error.kind][0], took_s, took_s, 0.0, 0.0, 0, 0, shown_path(target),
                )
            )  # fmt: skip

    def _tally(self, call: Call, target: Target | None) -> Tally:
        key = (id(target), call.protocol)
        known = self._tallies.get(key)
        if known is None:
            labels = (*_labels(call.alias, target), call.protocol)
            known = self._tallies[key] = (metrics.CALLS.of(labels), target)
        return known[0]


def _labels(alias: str, target: Target | None) -> tuple[str, str, str, str]:
    return ("", "", "", "") if target is None else (alias, target.model, str(target.version), target.arm)


def _count(call: Call, tally: Tally, outcome: str, total_s: float, upstream_s: float) -> None:
    trail = call.trail
    tally.outcomes[outcome] = tally.outcomes.get(outcome, 0) + 1
    exchange = trail.exchange
    if exchange is not None and exchange.started:
        first_s = None
        if exchange.status:
            # A reply that comes whole begins when it ends.
            first_s = exchange.answered - exchange.started if exchange.answered else upstream_s
        tally.forwarded(total_s, total_s - upstream_s - trail.queued_s, upstream_s, first_s)
        tally.reply_bytes += exchange.reply_bytes
        if call.body is not None:
            tally.request_bytes += call.body.length or 0


def _access_record(
    call: Call, at: float, outcome: str, status: int, total_s: float, upstream_s: float
) -> AccessRecord:
    trail = call.trail
    target = trail.target
    return AccessRecord(
        at,
        call.request_id,
        call.trace.parent.decode(),
        call.trace_id,
        "" if trail.span is None else trail.span.span_id,
        "" if trail.principal is None else trail.principal.id,
        # An alias that is none is whatever the caller wrote there, a key by mistake among it.
        call.alias if target is not None else shown_path(call.alias.encode()),
        "" if target is None else target.model,
        0 if target is None else target.version,
        "" if target is None else target.arm,
        call.protocol,
        call.operation.name,
        outcome,
        status,
        total_s,
        total_s - upstream_s - trail.queued_s,
        trail.queued_s,
        upstream_s,
        0 if call.body is None else call.body.length or 0,
        0 if trail.exchange is None else trail.exchange.reply_bytes,
    )


def _captured(
    call: Call, capture: Capture, at: float, outcome: str, status: int, total_s: float, upstream_s: float
) -> Captured:
    trail = call.trail
    assert trail.principal is not None and trail.target is not None
    request, request_missing = capture.request(call.body)
    reply, reply_missing = capture.reply()
    return Captured(
        call.alias,
        trail.target,
        capture.inclusion,
        call.request_id,
        trail.principal.id,
        call.routing_key,
        call.protocol,
        call.operation.name,
        outcome,
        status,
        at,
        total_s,
        upstream_s,
        0 if call.body is None else call.body.length or 0,
        0 if trail.exchange is None else trail.exchange.reply_bytes,
        call.headers,
        request,
        request_missing,
        capture.sink.headers,
        reply,
        reply_missing,
    )


def _outcome(call: Call) -> tuple[str, int]:
    """What became of the call, and the HTTP status that stands for it (499: the caller went before the reply).

    A caller who has the whole reply and closes at once has not gone before it. What had no exchange upstream, and is no
    error, the gateway has answered itself.
    """
    trail = call.trail
    if trail.error is not None:
        return trail.error.kind.value, HTTP_STATUS[trail.error.kind][0]
    exchange = trail.exchange
    if trail.gone and (exchange is None or not exchange.complete):
        return CALLER_GONE, _CALLER_GONE_STATUS
    status = 200 if exchange is None else exchange.status
    return ("ok" if status < 400 else "model_refused" if status < 500 else "model_failed"), status
