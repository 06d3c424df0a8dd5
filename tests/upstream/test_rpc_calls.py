"""Calls to Triton over gRPC, frame by frame: what goes out, and what is taken for a reply."""

import gzip
import zlib

import pytest

from gateway.upstream.exchange import GRPC_STATUS
from gateway.upstream.rpc_call import NotBegun
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
    window,
)
from tests.upstream.rpc_line import (
    GOOD,
    MOST_BYTES,
    NO_REPLY,
    REPLY,
    TARGET,
    Server,
    alone,
    data_of,
    fields_of,
    head,
    message,
    outcome,
    resets,
    sent,
    trailers,
)

pytestmark = pytest.mark.usefixtures("without_timers")


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
    server.says(headers(1, alone(b"8", b"too large for me")))
    assert sink.told == [("whole", 429, ((GRPC_STATUS, b"8"),), b"too large for me")]
    assert outcome(exchange) == "ok"
    assert resets(server.heard()) == [Code.NO_ERROR]
    server.says(window(0, 2**20))
    assert data_of(server.heard()) == b""


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
        server.says(before, end if before else headers(1, alone(number, b"no%20more")))
        code = b"2" if number == b"77" else number
        assert sink.told == [("whole", status, ((GRPC_STATUS, code),), b"no more")]
        assert (outcome(exchange), exchange.status) == ("ok", status)


def test_a_server_that_goes_away_has_not_answered() -> None:
    """What it says of the calls that it ends, UNAVAILABLE, is no word of the model's."""
    server = Server()
    exchange, sink = server.asked()
    server.going = True
    server.says(goaway(Code.INTERNAL_ERROR, 1), headers(1, alone(b"14", b"Cancelling all calls")))
    assert (outcome(exchange), sink.told) == (NO_REPLY, [])


def test_a_version_that_is_gone_is_told_apart() -> None:
    """As a status, or in a stream's first message; never once something was passed on."""
    words = "Request for unknown model: 'm' version 7 is not found"
    server = Server()
    exchange, _ = server.asked()
    server.says(headers(1, alone(b"5", words.encode())))
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
