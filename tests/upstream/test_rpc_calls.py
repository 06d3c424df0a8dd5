"""Calls to Triton over gRPC, frame by frame: what goes out, what is taken for a reply, and who waits for whom."""

import gc
import gzip
import zlib
from collections.abc import Callable

import pytest
from hpack import Decoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, RstStreamFrame, WindowUpdateFrame
from tritonclient.grpc import service_pb2

from gateway.errors import GatewayError, Kind
from gateway.upstream.exchange import GRPC_STATUS, Headers, ReplySource
from gateway.upstream.rpc_call import Call, NotBegun
from gateway.upstream.rpc_request import pin
from gateway.upstream.triton_http import NotLoaded
from gateway.wire import written
from tests.http2.wire import (
    END_HEADERS,
    Code,
    Field,
    Setting,
    block,
    goaway,
    headers,
    reset,
    settings,
    window,
)
from tests.upstream.rpc_line import (
    MOST_BYTES,
    TARGET,
    Server,
    Sink,
    head,
    message,
    outcome,
    sent,
    trailers,
)

pytestmark = pytest.mark.usefixtures("without_timers")

REPLY = service_pb2.ModelInferResponse(model_name="m").SerializeToString()
GOOD = sent(message(REPLY)) + trailers(b"0")
NO_REPLY = "The model's server sent no whole reply."


def fields_of(frames: list[Frame]) -> list[tuple[str, str]]:
    """What the request's head says."""
    (found,) = [frame for frame in frames if isinstance(frame, HeadersFrame)]
    return [(str(name), str(value)) for name, value in Decoder().decode(found.data)]


def data_of(frames: list[Frame]) -> bytes:
    """What was sent in DATA frames."""
    return b"".join(frame.data for frame in frames if isinstance(frame, DataFrame))


def resets(frames: list[Frame]) -> list[int]:
    """The codes of RST_STREAM."""
    return [frame.error_code for frame in frames if isinstance(frame, RstStreamFrame)]


# --- requests ---


def test_a_request_is_one_of_grpc() -> None:
    """Its fields as PROTOCOL-HTTP2 has them, the caller's own behind, in lower case; binary ones without padding."""
    server = Server()
    server.asked(b"abc", b"X-Colour: blue\r\nx-raw-bin: AP8NCg==\r\nx-request-id: r: 1\r\n", left_s=9.0)
    frames = server.heard()
    fields = fields_of(frames)
    assert fields[:4] == [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/inference.GRPCInferenceService/ModelInfer"),
        (":authority", "h:1"),
    ]
    found = dict(fields)
    assert (found["te"], found["content-type"]) == ("trailers", "application/grpc")
    assert found["grpc-timeout"] == "9000000u"
    assert "gzip" in found["grpc-accept-encoding"]
    assert fields[-3:] == [("x-colour", "blue"), ("x-raw-bin", "AP8NCg"), ("x-request-id", "r: 1")]
    assert data_of(frames) == message(b"abc" + pin(TARGET))
    assert "END_STREAM" in frames[-1].flags


def test_a_large_message_goes_out_as_the_windows_let_it() -> None:
    """In frames as large as the server takes; all of it, and then its end."""
    server = Server((Setting.INITIAL_WINDOW_SIZE, 2**20), (Setting.MAX_FRAME_SIZE, 2**20))
    large = bytes(range(256)) * 8000
    server.asked(large)
    got = data_of(server.heard())
    assert len(got) == 65_535
    server.says(window(0, 2**22), window(1, 2**22))
    frames = server.heard()
    assert got + data_of(frames) == message(large + pin(TARGET))
    assert "END_STREAM" in frames[-1].flags


def test_what_a_server_has_answered_it_is_not_sent() -> None:
    """A refusal that comes before the request was read: the rest of it stays here, and the stream ends."""
    server = Server()
    exchange, sink = server.asked(bytes(1_000_000))
    server.heard()
    server.says(headers(1, _alone(b"8", b"too large for me")))
    assert sink.told == [("whole", 429, ((GRPC_STATUS, b"8"),), b"too large for me")]
    assert outcome(exchange) == "ok"
    assert resets(server.heard()) == [Code.NO_ERROR]
    server.says(window(0, 2**20))
    assert data_of(server.heard()) == b""


def _alone(status: bytes, words: bytes) -> bytes:
    return block(
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", status),
        (b"grpc-message", words),
    )


# --- replies ---


def test_a_reply_is_passed_on() -> None:
    """With its metadata; what gRPC says for itself, what is binary and what is no text are left out."""
    server = Server()
    exchange, sink = server.asked()
    more = (
        (b"x-colour", b"blue"),
        (b"x-raw-bin", b"AP8"),
        (b"x-odd", b"\xff"),
        (b"content-length", b"%d" % len(message(REPLY))),
        (b"trailer", b"grpc-status"),
        (b"grpc-encoding", b"identity"),
        (b"grpc-accept-encoding", b"gzip"),
    )
    server.says(head(*more), GOOD)
    assert sink.told == [("whole", 200, ((b"x-colour", b"blue"),), REPLY)]
    assert (outcome(exchange), exchange.status, exchange.reply_bytes) == ("ok", 200, len(REPLY))
    assert not resets(server.heard())


@pytest.mark.parametrize("content_type", [b"application/grpc+proto", b"application/grpc;charset=utf-8"])
def test_a_content_type_may_say_more(content_type: bytes) -> None:
    """What the messages are, and parameters; or it is left out, as by servers that know no gRPC but its bytes."""
    for fields in ((), ((b"content-type", content_type),)):
        server = Server()
        exchange, _ = server.asked()
        server.says(_head_of((b":status", b"200"), *fields), GOOD)
        assert outcome(exchange) == "ok"


def _head_of(*fields: Field) -> bytes:
    return headers(1, block(*fields), END_HEADERS)


@pytest.mark.parametrize(
    ("status", "content_type"),
    [
        (b"200", b"text/html"),
        (b"200", b"application/grpcx"),
        (b"200", b"application/json"),
        (b"200", b""),
        (b"404", b"application/grpc"),
        (b"503", b"text/plain"),
        (b"204", b"application/grpc"),
    ],
)
def test_what_is_not_grpc_is_no_reply(status: bytes, content_type: bytes) -> None:
    """By its status or its content type, at once; the server is told to stop."""
    server = Server()
    exchange, sink = server.asked()
    server.says(_head_of((b":status", status), (b"content-type", content_type)))
    assert (outcome(exchange), sink.told) == (NO_REPLY, [])
    assert resets(server.heard()) == [Code.CANCEL]


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [(b"gzip", gzip.compress(REPLY)), (b"deflate", zlib.compress(REPLY)), (b"identity", None)],
)
def test_a_compressed_reply_is_read(encoding: bytes, packed: bytes | None) -> None:
    """Whether this message is, its flag says."""
    server = Server()
    _, sink = server.asked()
    part = message(REPLY) if packed is None else message(packed, flag=1)
    server.says(head((b"grpc-encoding", encoding)), sent(part), trailers(b"0"))
    assert sink.told == [("whole", 200, (), REPLY)]


def test_a_compressed_reply_is_bounded_by_what_it_grows_to() -> None:
    """It is not unpacked beyond what a message may have."""
    server = Server()
    exchange, _ = server.asked()
    bomb = gzip.compress(bytes(50 * MOST_BYTES))
    server.says(head((b"grpc-encoding", b"gzip")), sent(message(bomb, flag=1)))
    assert "too large" in outcome(exchange)
    assert resets(server.heard()) == [Code.CANCEL]


@pytest.mark.parametrize(
    ("number", "status"), [(b"1", 499), (b"5", 404), (b"12", 501), (b"14", 503), (b"16", 401), (b"77", 500)]
)
def test_an_error_is_the_servers_own(number: bytes, status: int) -> None:
    """Alone or behind a message; one that nobody knows is UNKNOWN."""
    for before in (b"", head(), head() + sent(message(REPLY))):
        server = Server()
        exchange, sink = server.asked()
        end = trailers(number, (b"grpc-message", b"no%20more"))
        server.says(before, end if before else headers(1, _alone(number, b"no%20more")))
        code = b"2" if number == b"77" else number
        assert sink.told == [("whole", status, ((GRPC_STATUS, code),), b"no more")]
        assert (outcome(exchange), exchange.status) == ("ok", status)


def test_a_server_that_goes_away_has_not_answered() -> None:
    """What it says of the calls that it ends, UNAVAILABLE, is no word of the model's."""
    server = Server()
    exchange, sink = server.asked()
    server.going = True
    server.says(goaway(Code.INTERNAL_ERROR, 1), headers(1, _alone(b"14", b"Cancelling all calls")))
    assert (outcome(exchange), sink.told) == (NO_REPLY, [])


def test_a_version_that_is_gone_is_told_apart() -> None:
    """As a status, or in a stream's first message; never once something was passed on."""
    words = "Request for unknown model: 'm' version 7 is not found"
    server = Server()
    exchange, _ = server.asked()
    server.says(headers(1, _alone(b"5", words.encode())))
    assert isinstance(exchange.done.exception(), NotLoaded)
    first = written(1, words)
    for before, lost in ((b"", True), (sent(message(written(2, REPLY))), False)):
        server = Server()
        exchange, sink = server.asked(stream=True)
        server.says(head(), before, sent(message(first)))
        assert exchange.done.done() is lost
        assert (sink.told == []) is lost
        if lost:
            assert isinstance(exchange.done.exception(), NotLoaded)


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_server_has_not_begun_may_be_sent_again(stream: bool) -> None:
    """It refused the stream, or went away before it: never where a reply has begun."""
    for refusal in (reset(1, Code.REFUSED_STREAM), goaway(0, 0)):
        for begun in (False, True):
            server = Server()
            exchange, _ = server.asked(stream=stream)
            server.says(head() if begun else b"", refusal)
            assert isinstance(exchange.done.exception(), NotBegun) is not begun
            assert outcome(exchange) == NO_REPLY


@pytest.mark.parametrize("code", [0, 1, 2, 8, 11, 0xFACE])
def test_a_reset_is_no_reply(code: int) -> None:
    """Whatever its code says: the model has not answered. One at the deadline is the deadline."""
    server = Server()
    exchange, _ = server.asked()
    server.says(reset(1, code))
    assert outcome(exchange) == NO_REPLY
    late, _ = server.asked(left_s=0.01)
    server.says(reset(3, code))
    assert ("deadline" in outcome(late)) is (code == Code.CANCEL)


def test_an_exchange_that_is_aborted_resets_its_stream() -> None:
    """And hears no more."""
    for stream in (False, True):
        server = Server()
        exchange, sink = server.asked(stream=stream)
        server.says(head())
        exchange.abort()
        assert resets(server.heard()) == [Code.CANCEL]
        server.says(GOOD)
        assert sink.told == []
        assert outcome(exchange) == "under way"


# --- back pressure ---


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
def test_a_reply_that_cannot_be_passed_on_ends_its_call_alone(
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
    "by an error": lambda: headers(1, _alone(b"13", b"no")),
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
