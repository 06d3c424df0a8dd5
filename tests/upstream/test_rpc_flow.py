"""Calls to Triton over gRPC, side by side: who waits for whom, what ends one of them alone, and what is kept of those that are over."""

import gc
from collections.abc import Callable

import pytest
from hyperframe.frame import Frame, WindowUpdateFrame

from gateway.errors import GatewayError, Kind
from gateway.upstream.exchange import Headers, ReplySource
from gateway.upstream.rpc_call import Call
from gateway.upstream.rpc_request import pin
from tests.http2.wire import (
    Setting,
    goaway,
    headers,
    reset,
    settings,
)
from tests.upstream.rpc_line import (
    GOOD,
    MOST_BYTES,
    NO_REPLY,
    REPLY,
    TARGET,
    Server,
    Sink,
    alone,
    data_of,
    head,
    message,
    outcome,
    resets,
    sent,
    trailers,
)

pytestmark = pytest.mark.usefixtures("without_timers")


def allowed(frames: list[Frame], stream: int = 1) -> int:
    """How much more the server may send on the stream."""
    return sum(
        frame.window_increment
        for frame in frames
        if isinstance(frame, WindowUpdateFrame) and frame.stream_id == stream
    )


def test_a_server_may_send_what_its_caller_takes() -> None:
    """A message at a time; while one is not taken the stream's window stays shut."""
    server = Server()
    exchange, sink = server.asked(stream=True)
    sink.takes_one = True
    server.heard()
    one = message(bytes(10_000))
    server.says(head(), sent(one) * 6)
    assert [what for what, *_ in sink.told] == ["head", "data"]
    assert allowed(server.heard()) == 0
    assert sink.source is not None
    for count in range(2, 7):
        sink.source.resume_reading()
        assert len(sink.told) == 1 + count
    sink.source.resume_reading()
    assert allowed(server.heard()) == 6 * len(one)
    server.says(trailers(b"0"))
    assert sink.told[-1] == ("end",)
    assert outcome(exchange) == "ok"


def test_the_end_waits_behind_what_was_not_taken() -> None:
    """Good or bad."""
    for end, told in ((trailers(b"0"), "ok"), (reset(1, 2), NO_REPLY), (trailers(b"13"), "ok")):
        server = Server()
        exchange, sink = server.asked(stream=True)
        sink.takes_one = True
        server.says(head(), sent(message(b"1")), sent(message(b"2")), end)
        assert outcome(exchange) == "under way"
        assert sink.source is not None
        while outcome(exchange) == "under way":
            sink.source.resume_reading()
        assert ("data", b"2") in sink.told
        assert outcome(exchange) == told


@pytest.mark.parametrize("stream", [False, True])
def test_a_large_reply_is_let_through(stream: bool) -> None:
    """Beyond the window, once it has said how large it is, and no more than that."""
    server = Server()
    exchange, sink = server.asked(stream=stream)
    large = message(bytes(MOST_BYTES))
    server.heard()
    server.says(head(), sent(large[:5]))
    room = 65_535 - 5 + allowed(server.heard())
    assert len(large) - 5 <= room <= len(large) + 65_535
    server.says(sent(large[5:]), trailers(b"0"))
    assert outcome(exchange) == "ok"
    assert sum(len(told[-1]) for told in sink.told if isinstance(told[-1], bytes)) == MOST_BYTES


def test_nothing_larger_than_may_be_is_waited_for() -> None:
    """Its prefix is enough."""
    for stream in (False, True):
        server = Server()
        exchange, _ = server.asked(stream=stream)
        server.says(head(), sent(message(b"", length=MOST_BYTES + 1)))
        assert "too large" in outcome(exchange)
        assert resets(server.heard())


def test_settings_behind_the_call_change_its_window() -> None:
    """What waited for it goes out."""
    server = Server((Setting.INITIAL_WINDOW_SIZE, 10))
    server.asked(bytes(100))
    assert len(data_of(server.heard())) == 10
    server.says(settings((Setting.INITIAL_WINDOW_SIZE, 1000)))
    assert len(data_of(server.heard())) == 5 + 100 + len(pin(TARGET)) - 10


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (
            lambda: GatewayError(Kind.BAD_GATEWAY, "metadata that is no message"),
            "metadata that is no message",
        ),
        (lambda: ValueError("a fault of our own"), "The gateway failed on this request"),
    ],
    ids=["refused", "failed"],
)
def test_a_reply_that_cannot_be_passed_on_ends_its_callalone(
    raised: Callable[[], Exception], told: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Others on the same connection go on."""

    class Raising(Sink):
        def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
            raise raised()

        def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
            raise raised()

    server = Server()
    exchange, _ = server.asked(stream=stream, sink=Raising())
    beside, _ = server.asked()
    server.says(head(), GOOD)
    assert told in outcome(exchange)
    assert bool(caplog.records) is told.startswith("The gateway")
    server.says(head(stream=3), sent(message(REPLY), 3), trailers(b"0", stream=3))
    assert outcome(beside) == "ok"


# --- what is kept ---


ENDS = {
    "well": lambda: head() + GOOD,
    "by an error": lambda: headers(1, alone(b"13", b"no")),
    "by a reset": lambda: head() + reset(1, 2),
    "by garbage": lambda: b"\xff" * 100,
    "by one message too many": lambda: head() + sent(message(REPLY) * 2) + GOOD,
    "by its server's going away": lambda: goaway(0, 0),
    "by an abort": lambda: b"",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ENDS)
def test_a_call_that_is_over_is_forgotten(how: str, stream: bool) -> None:
    """At once, and not when the garbage collector runs: it has held a message."""
    server = Server()
    gc.disable()
    before = {id(found) for found in gc.get_objects() if isinstance(found, Call)}
    try:
        exchange, sink = server.asked(bytes(100_000), stream=stream)
        server.says(ENDS[how]())
        if how == "by an abort":
            exchange.abort()
        assert exchange.on_abort is None
        # The caller's side undoes what it knows, as its listener does.
        outcome(exchange)
        del exchange, sink
        assert {id(found) for found in gc.get_objects() if isinstance(found, Call)} <= before
    finally:
        gc.enable()
