"""What a request counts for: rows, bytes and tokens."""

import pytest

from gateway.errors import GatewayError, Kind
from gateway.snapshot.document import LimitEntry
from gateway.upstream.exchange import Exchange
from tests.dataplane.quota.asks import Asks, Text, call, policy, told


def test_batch_rows_are_counted() -> None:
    """Each row is an inference; where there are none the estimate stands for them. The call's trail says how many."""
    asks = Asks(policy(LimitEntry("rows", "inferences", 100, 60, estimate=8)))
    seen = call(body=Text(b'{"inputs":[{"shape":[30,4]}]}'))  # type: ignore[arg-type]
    hidden = call(body=Text(b'{"inputs":[]}'))  # type: ignore[arg-type]
    raw = call(body=Text(None))  # type: ignore[arg-type]
    generated = call("generate", body=Text(b'{"text_input":"x"}'))  # type: ignore[arg-type]
    for asked, rows in ((seen, 30), (hidden, 8), (raw, 8), (generated, 1)):
        asks.take(asked=asked)
        assert asked.trail.inferences == rows
    assert told(generated, b"RateLimit") == {"p/rows": {"r": 53, "t": 29}}


def test_rows_that_cannot_be_seen_are_refused() -> None:
    """What cannot be counted cannot be limited; a shadow policy, which refuses nothing, counts its estimate."""
    limit = LimitEntry("rows", "inferences", 100, 60, estimate=8)
    hidden = call(body=Text(b'{"inputs":[{"data":[1,2,3'))  # type: ignore[arg-type]
    with pytest.raises(GatewayError, match="put each input's shape before its data") as refused:
        Asks(policy(limit)).take(asked=hidden)
    assert refused.value.kind is Kind.BAD_REQUEST
    Asks(policy(limit, shadow=True)).take(asked=hidden)
    assert hidden.trail.inferences == 8


def test_a_shape_that_stands_twice_is_refused() -> None:
    """Which of them the server takes, nobody should have to know."""
    twins = call(body=Text(b'{"inputs":[{"shape":[1,4],"shape":[64,4]}]}'))  # type: ignore[arg-type]
    with pytest.raises(
        GatewayError, match="shape stands twice in the request's JSON; p/rows counts by it"
    ) as refused:
        Asks(policy(LimitEntry("rows", "inferences", 100, 60))).take(asked=twins)
    assert refused.value.kind is Kind.BAD_REQUEST


def test_bytes_that_were_not_announced_are_put_right() -> None:
    """A chunked body reserves the estimate; what came is what counts, more or less of it."""
    limit = LimitEntry("bytes", "content-bytes", 10_000, 3600, estimate=4_000)
    for received, left in ((100, 9_900), (4_000, 6_000), (9_000, 1_000)):
        asks = Asks(policy(limit))
        asked = call(body=Text(length=None, received=received))  # type: ignore[arg-type]
        taken = asks.take(asked=asked)
        assert told(asked, b"RateLimit")["p/bytes"]["r"] == 6_000
        assert taken is not None
        taken.end(asked, asks.now)
        after = call(body=Text(length=1))  # type: ignore[arg-type]
        asks.take(asked=after)
        assert told(after, b"RateLimit")["p/bytes"]["r"] == left - 1


@pytest.mark.parametrize(
    ("status", "reached", "tokens", "counted"),
    [
        (200, True, 120, 120),
        (200, True, 900, 900),
        (200, True, 0, 500),
        (200, True, 30, 30),
        (400, True, 0, 0),
        (0, False, 0, 0),
        (0, True, 0, 500),
    ],
)
def test_tokens_are_reserved_and_then_put_right(
    status: int, reached: bool, tokens: int, counted: int
) -> None:
    """What the outcome tells counts; a reply that broke off untold costs what was reserved, one that never began nothing."""
    asks = Asks(policy(LimitEntry("tokens", "tokens", 10_000, 3600, estimate=500)))
    asked = call()
    taken = asks.take(asked=asked)
    assert told(asked, b"RateLimit")["p/tokens"]["r"] == 9_500
    exchange = Exchange(asked.operation, b"", b"", None, asked.sink, 0.0, None)  # type: ignore[arg-type]
    exchange.started = 1.0 if reached else 0.0
    exchange.status = status
    asked.trail.exchange = exchange
    asked.trail.tokens = tokens
    assert taken is not None
    taken.end(asked, asks.now)
    after = call()
    asks.take(asked=after)
    assert told(after, b"RateLimit")["p/tokens"]["r"] == 10_000 - counted - 500
