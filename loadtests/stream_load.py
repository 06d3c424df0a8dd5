"""Streams as a load: one spell of `loadtests.listener` on one peer."""

import sys

import msgspec

from loadtests.field import Field
from loadtests.listener import Heard, Order
from loadtests.load import generate
from loadtests.meter import Meter
from loadtests.processes import BenchError
from loadtests.stream_results import StreamSample


def measure(field: Field, name: str, streams: int, duration_s: int, round_number: int) -> StreamSample:
    """One spell of streams through the peer `name`, which ends when those have ended that began in time."""
    peer = field.peers[name]
    headers, body = peer.headers(field.payload), peer.body(field.payload)
    order = Order(peer.url, headers, body, field.payload.grpc, streams, duration_s)
    given = msgspec.json.encode(order).decode()
    meter = Meter(peer.pid, field.upstream, field.cores)
    output, generator_s = generate(
        [sys.executable, "-m", "loadtests.listener"],
        duration_s=duration_s,
        core=field.cores.load,
        given=given,
    )
    spent = meter.stop(generator_s)
    peer.forget_log()
    heard = msgspec.json.decode(output, type=Heard)
    if heard.wrong:
        raise BenchError(f"{name}, {field.payload.title}, {streams} streams: {heard.wrong}")
    return StreamSample(
        payload=field.payload.name,
        streams=streams,
        peer=name,
        round=round_number,
        tokens=heard.tokens,
        first_p50_ms=heard.first_p50_ms,
        first_p99_ms=heard.first_p99_ms,
        token_p50_us=heard.token_p50_us,
        token_p99_us=heard.token_p99_us,
        proxy_cpu_us_per_token=spent.proxy_us_for_each(heard.tokens),
        proxy_busy=spent.proxy_busy,
        lost_busy=spent.lost_busy,
        load_busy=spent.load_busy,
    )
