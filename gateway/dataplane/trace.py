"""The spans of a traced call, made from its trail once it is over: one for the call, one for each attempt upstream, one for
each step that told of itself.

Names by OpenTelemetry's semantic conventions 1.44 (HTTP: stable; feature flags: release candidate), what is the gateway's
own under `maas.`. Never a credential, a payload or a query: whatever stands here was checked or made by the gateway.
"""

from functools import lru_cache
from urllib.parse import urlsplit

from gateway.dataplane.call import CALLER_GONE, Call
from gateway.observe.traces import Attempt, FinishedSpan, RequestSpan, Step, Value
from gateway.types import RPC_METHODS, WHOLE_BP, Operation

_ROUTE = "/v2/models/{alias}"
_PINNED = "/versions/{version}"


def trace(call: Call, span: RequestSpan, outcome: str, status: int, now_s: float, at: float) -> None:
    """Keep the spans of one call. `now_s` is monotonic and `at` Unix seconds, of the same moment."""
    behind_ns = int(at * 1e9) - int(now_s * 1e9)
    keep = span.tracing.keep
    # A span within the call's ends with it at the latest: an upstream may still be about to be told.
    for attempt in span.attempts:
        keep(_attempt(call, span, attempt, now_s, behind_ns))
    moments = []
    for step in span.steps:
        if step.began < step.ended:
            keep(_step(span, step, behind_ns))
        else:
            moments.append((step.name, behind_ns + int(step.began * 1e9), step.attributes))
    error_type = _error_type(call, outcome, status)
    attributes = _attributes(call, span, outcome)
    if call.protocol == "grpc":
        name = _rpc(call.operation)
        attributes |= {"rpc.system.name": "grpc", "rpc.method": name, **_server(span)}
    else:
        attributes |= _http(call, span, status)
        name = f"{call.operation.method.decode()} {attributes['http.route']}"
    if error_type:
        attributes["error.type"] = error_type
    keep(
        FinishedSpan(
            name, "server", span.trace_id, span.span_id, span.context.span_id, span.asked, span.state,
            behind_ns + int(call.trail.began * 1e9), behind_ns + int(now_s * 1e9), attributes, tuple(moments),
            bool(error_type),
        )
    )  # fmt: skip


def _error_type(call: Call, outcome: str, status: int) -> str:
    """Of a server's span only what is not the caller's own fault is an error; a caller who went is one (HTTP spans)."""
    if outcome == CALLER_GONE:
        return outcome
    if status < 500:
        return ""
    return str(status) if call.trail.error is None else outcome


def _attributes(call: Call, span: RequestSpan, outcome: str) -> dict[str, Value]:
    trail = call.trail
    found: dict[str, Value] = {
        "maas.request_id": call.request_id,
        "maas.protocol": call.protocol,
        "maas.alias": call.alias,
        "maas.operation": call.operation.name,
        "maas.outcome": outcome,
    }
    if trail.principal is not None:
        found["maas.principal"] = trail.principal.id
    target = trail.target
    if target is not None:
        variant = f"{target.model}@{target.version}"
        found |= {
            "maas.model": target.model,
            "maas.version": target.version,
            "maas.arm": target.arm,
            "maas.pool": target.pool,
            "feature_flag.key": call.alias,
            "feature_flag.provider.name": "maas",
            "feature_flag.result.variant": variant,
            "feature_flag.result.reason": "targeting_match"
            if call.version is not None
            else "static"
            if target.weight_bp == WHOLE_BP
            else "split",
        }
    if span.attempts and span.attempts[-1].endpoint:
        found["maas.endpoint"] = span.attempts[-1].endpoint
    return found


def _http(call: Call, span: RequestSpan, status: int) -> dict[str, Value]:
    suffix = call.operation.suffix.decode()
    pinned = call.version is not None
    path = f"/v2/models/{call.alias}" + (f"/versions/{call.version}" if pinned else "")
    found: dict[str, Value] = {
        "http.request.method": call.operation.method.decode(),
        "http.route": _ROUTE + (_PINNED if pinned else "") + suffix,
        "url.path": path + suffix,
        "url.scheme": "http",
        "network.protocol.version": "1.1" if span.http_11 else "1.0",
        **_server(span),
    }
    if span.route:
        found |= {"http.route": span.route, "url.path": span.route}
    exchange = call.trail.exchange
    # A reply that had begun has the upstream's status, whatever became of it.
    if exchange is not None and exchange.status:
        found["http.response.status_code"] = exchange.status
    elif not call.trail.gone:
        found["http.response.status_code"] = status
    return found


def _server(span: RequestSpan) -> dict[str, Value]:
    return {"server.address": span.tracing.host, "server.port": span.tracing.port}


def _rpc(operation: Operation) -> str:
    """The method's full name."""
    return f"inference.GRPCInferenceService/{RPC_METHODS[operation.name]}"


def _attempt(call: Call, span: RequestSpan, attempt: Attempt, now_s: float, behind_ns: int) -> FinishedSpan:
    exchange, target = call.trail.exchange, call.trail.target
    assert exchange is not None and target is not None
    number = span.attempts.index(attempt)
    last = number == len(span.attempts) - 1
    ended = attempt.ended or (exchange.ended if last else 0.0) or now_s
    found: dict[str, Value] = {
        "maas.pool": target.pool,
        "maas.model": target.model,
        "maas.version": target.version,
    }
    method = call.operation.method.decode()
    error_type = attempt.error_type
    status = exchange.status if last and not error_type else 0
    if status >= 400:
        error_type = str(status)
    if last and not error_type:
        error_type = _outcome_of_last(call)
    if call.protocol == "grpc":
        method = _rpc(call.operation)
        found |= {"rpc.system.name": "grpc", "rpc.method": method}
    if attempt.endpoint:
        host, port = _address(attempt.endpoint)
        found |= {"server.address": host, "server.port": port, "maas.endpoint": attempt.endpoint}
        if call.protocol != "grpc":
            path = (target.upstream_path + call.operation.suffix).decode()
            found |= {
                "http.request.method": method,
                "url.full": attempt.endpoint + path,
                "network.protocol.version": "1.1",
            }
        if status and call.protocol != "grpc":
            found["http.response.status_code"] = status
        if number:
            found["http.request.resend_count"] = number
    if error_type:
        found["error.type"] = error_type
    return FinishedSpan(
        method if attempt.endpoint else "embedded engine",
        "client" if attempt.endpoint else "internal",
        span.trace_id, attempt.span_id, span.span_id, False, span.state,
        behind_ns + int(attempt.began * 1e9), behind_ns + int(ended * 1e9), found, (), bool(error_type),
    )  # fmt: skip


def _outcome_of_last(call: Call) -> str:
    trail = call.trail
    if trail.error is not None:
        return trail.error.kind.value
    gone = trail.gone and trail.exchange is not None and not trail.exchange.complete
    return CALLER_GONE if gone else ""


def _step(span: RequestSpan, step: Step, behind_ns: int) -> FinishedSpan:
    return FinishedSpan(
        step.name, "internal", span.trace_id, step.span_id, span.span_id, False, span.state,
        behind_ns + int(step.began * 1e9), behind_ns + int(step.ended * 1e9), step.attributes,
        failed="error.type" in step.attributes,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _address(endpoint: str) -> tuple[str, int]:
    parts = urlsplit(endpoint)
    return parts.hostname or "", parts.port or 80
