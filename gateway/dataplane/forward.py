"""The admitted request goes to its target's pool, and the reply to the caller as it arrives."""

from gateway.dataplane.call import Call
from gateway.dataplane.plane import Plane
from gateway.dataplane.rewrite import RewritingSink
from gateway.dataplane.sample import Capture
from gateway.types import Admission
from gateway.upstream.exchange import Exchange, Sink


async def forward(admission: Admission, call: Call, plane: Plane) -> None:
    """Carry the call out. Raises `GatewayError` when no whole reply came; cancels the call upstream when the caller goes."""
    target = admission.target
    pool = plane.pools.get(target.pool)
    sink: Sink = call.sink if call.rewrite is None else RewritingSink(call.sink, call.rewrite, admission)
    body = call.body
    if admission.permit.alias.sampled:
        capture = call.trail.capture = _captured(admission, call, sink, plane)
        if capture is not None:
            body, sink = capture.body, capture.sink
    path = target.upstream_path + call.operation.suffix + call.query
    done = plane.loop.create_future()
    exchange = Exchange(call.operation, path, call.headers, body, sink, admission.deadline, done)
    exchange.span = call.trail.span
    share = call.trail.share
    if share is not None:
        exchange.on_reply = share
        exchange.load = share.gate.in_flight + share.gate.elsewhere
    call.trail.exchange = exchange
    plane.deadlines.add(exchange)
    try:
        if body is not None:
            body.open()
        if call.place is not None:
            await call.place.run(pool, exchange, target, grpc=call.protocol == "grpc")
        else:
            await (pool.run_grpc if call.protocol == "grpc" else pool.run)(exchange, target)
    finally:
        plane.deadlines.discard(exchange)
        exchange.abort()


def _captured(admission: Admission, call: Call, sink: Sink, plane: Plane) -> Capture | None:
    """What notes the call as it passes, if it is an inference and was chosen as a sample."""
    if plane.samples is None or call.operation.action != "infer":
        return None
    inclusion = plane.samples.wants(admission.permit.alias, admission.target, call.request_id)
    return None if inclusion is None else Capture(plane.samples, inclusion, call.body, sink)
