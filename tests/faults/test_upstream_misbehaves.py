"""A server that hangs, cuts its reply short or talks garbage: a problem within the deadline, and no use of it again."""

import contextlib
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.dataplane.raw import INFER, RawClient, ask, chunked, expect_problem, request
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import Gateway, wait_for
from tests.patience import in_time

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\n"


def sends(data: bytes) -> Callable[[Talk], object]:
    """A server that answers with these bytes and then closes."""

    def behave(talk: Talk) -> None:
        talk.take_body()
        talk.send(data)
        talk.sock.close()

    return behave


def stays(data: bytes) -> Callable[[Talk], object]:
    """A server that answers with these bytes and then keeps the connection."""
    return lambda talk: talk.take_then_send(data)


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(lambda talk: talk.sock.close(), id="closes at once"),
        pytest.param(lambda talk: talk.reset(), id="resets at once"),
        pytest.param(lambda talk: (talk.take_body(), talk.reset()), id="resets after the request"),
        pytest.param(sends(b""), id="closes after the request"),
        pytest.param(sends(b"HTTP/1.1 200"), id="cut in the status line"),
        pytest.param(sends(OK + b"Content-Le"), id="cut in the head"),
        pytest.param(sends(b"garbage\r\n\r\n"), id="garbage"),
        pytest.param(sends(b"\x00\xff" * 1000), id="binary garbage"),
        pytest.param(sends(b"SSH-2.0-OpenSSH_9.2\r\n"), id="another protocol"),
        pytest.param(sends(b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"), id="status of two digits"),
        pytest.param(sends(b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"), id="status of four digits"),
        pytest.param(sends(OK + b"Content-Length: x\r\n\r\nok"), id="length that is no number"),
        pytest.param(sends(OK + b"Content-Length: -2\r\n\r\nok"), id="negative length"),
        pytest.param(sends(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"), id="two lengths"),
        pytest.param(
            sends(OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ok")), id="both"
        ),
        pytest.param(
            sends(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(b"ok")), id="coded transfer"
        ),
        pytest.param(sends(OK + b"Transfer-Encoding: gzip\r\n\r\nok"), id="unknown transfer coding"),
        pytest.param(sends(OK + b"X A: 1\r\nContent-Length: 2\r\n\r\nok"), id="malformed field"),
        pytest.param(sends(OK + b"X-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\nok"), id="folded field"),
        pytest.param(
            sends(OK + b"X-Big: " + b"a" * 1_000_000 + b"\r\nContent-Length: 2\r\n\r\nok"), id="huge head"
        ),
        pytest.param(sends(OK + b"X-A: 1\r\n" * 100_000 + b"\r\n"), id="endless head"),
        pytest.param(sends(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000), id="endless interim replies"),
        pytest.param(
            sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxx"),
            id="101",
        ),
    ],
)
def test_what_is_no_reply_is_a_bad_gateway(
    gateway: Gateway, upstream: Upstream, behave: Callable[[Talk], object]
) -> None:
    """502 with a problem document at once, not at the deadline, and the connection is not used again."""
    upstream.behave = behave

    def attempt() -> float:
        upstream.talks.clear()
        began = time.monotonic()
        expect_problem(ask(gateway.address, request()), 502)
        took = time.monotonic() - began
        assert len(upstream.talks) == 1
        return took

    in_time(attempt, 1.0)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(OK + b"Content-Length: 10\r\n\r\nok", id="cut in a body of known length"),
        pytest.param(OK + b"Content-Length: 5000000\r\n\r\n" + b"a" * 2_000_000, id="cut in a large body"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nok", id="cut in a chunk"),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"ok", last=b""), id="cut between chunks"
        ),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"ok", last=b"zz\r\n"), id="bad chunk size"
        ),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"ok", last=b"0\r\nX"), id="cut in a trailer"
        ),
    ],
)
def test_a_reply_that_is_cut_short_never_looks_whole(
    gateway: Gateway, upstream: Upstream, data: bytes
) -> None:
    """502, or, where the head had gone out already, a connection that ends before the body does."""
    upstream.behave = sends(data)
    with RawClient(gateway.address) as client:
        client.send(request())
        try:
            reply = client.reply()
        except (EOFError, ConnectionResetError):
            return
        expect_problem(reply, 502)


@pytest.mark.parametrize("fragment", [b"", b"HTTP/1.1 2", OK + b"X-A: 1\r\n"])
def test_a_hung_server_is_a_gateway_time_out(strict: Gateway, upstream: Upstream, fragment: bytes) -> None:
    """504 within 50 ms of the deadline of 1 s, with a problem document; the connection upstream is closed."""
    closed: list[bool] = []

    def behave(talk: Talk) -> None:
        talk.take_then_send(fragment)
        closed.append(talk.until_closed(60))

    upstream.behave = behave

    def attempt() -> float:
        closed.clear()
        began = time.monotonic()
        expect_problem(ask(strict.address, request()), 504)
        took = time.monotonic() - began
        assert took >= 0.99
        wait_for(lambda: closed, what="the connection to be closed")
        assert closed == [True]
        return took

    in_time(attempt, 1.05)


@pytest.mark.parametrize("framing", [b"Content-Length: 100000\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_reply_that_drips_past_the_deadline_is_cut(
    strict: Gateway, upstream: Upstream, framing: bytes
) -> None:
    """The deadline is for the whole reply: the caller sees it end early, not look whole."""

    def behave(talk: Talk) -> None:
        talk.take_body()
        talk.send(OK + framing + b"\r\n")
        while True:
            talk.send(b"1\r\nx\r\n")
            time.sleep(0.05)

    upstream.behave = behave

    def attempt() -> float:
        began = time.monotonic()
        with RawClient(strict.address) as client:
            client.send(request())
            with pytest.raises((EOFError, ConnectionResetError)):
                client.reply()
        took = time.monotonic() - began
        assert took > 0.9
        return took

    in_time(attempt, 1.3)


def test_the_callers_own_deadline_is_honoured(strict: Gateway, upstream: Upstream) -> None:
    """The protocol's `timeout` (µs) shortens the wait, and lengthens it up to the limit of 3 s."""
    upstream.behave = Talk.take_then_hang

    def attempt(asked_us: int, expected_s: float) -> float:
        began = time.monotonic()
        expect_problem(ask(strict.address, request(body=b'{"parameters":{"timeout":%d}}' % asked_us)), 504)
        took = time.monotonic() - began
        assert took >= expected_s - 0.01
        return took

    for asked_us, expected_s in ((300_000, 0.3), (1_500_000, 1.5), (60_000_000, 3.0)):
        in_time(partial(attempt, asked_us, expected_s), expected_s + 0.05)


def test_the_callers_deadline_is_honoured_however_the_request_is_cut(
    gateway: Gateway, upstream: Upstream
) -> None:
    """Many clients send head and body in two writes: the deadline in the body counts all the same."""
    upstream.behave = Talk.take_then_hang
    data = request(body=b'{"parameters":{"timeout":300000}}')
    head, _, body = data.partition(b"\r\n\r\n")

    def attempt() -> float:
        began = time.monotonic()
        with RawClient(gateway.address) as client:
            client.send(head + b"\r\n\r\n")
            time.sleep(0.05)
            client.send(body)
            expect_problem(client.reply(), 504)
        return time.monotonic() - began

    in_time(attempt, 0.45)


def test_a_tiny_deadline_is_the_callers_own_affair(gateway: Gateway, upstream: Upstream) -> None:
    """A caller who allows 1 µs gets 504; the server is not taken for dead on that account."""
    upstream.behave = stays(OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok")
    assert ask(gateway.address, request()).status == 200
    for _ in range(20):
        expect_problem(ask(gateway.address, request(body=b'{"parameters":{"timeout":1}}')), 504)
        assert ask(gateway.address, request()).status == 200


@pytest.mark.parametrize(
    ("second", "what"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nwrong", "a whole second reply"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 50\r\n\r\nwro", "a part of a second reply"),
        (b"HTTP/1.1 500 No\r\nContent-Le", "a part of a second head"),
        (b"more and more", "bytes beyond the length"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_what_follows_a_reply_belongs_to_nobody(
    gateway: Gateway, upstream: Upstream, second: bytes, what: str
) -> None:
    """The first reply is delivered as it is; nothing of what follows reaches this caller or the next."""
    upstream.behave = stays(OK + b"Content-Length: 5\r\n\r\nright" + second)
    with RawClient(gateway.address) as client:
        client.send(request())
        reply = client.reply()
        if reply.status == 502:
            expect_problem(reply, 502)
        else:
            assert (reply.status, reply.body) == (200, b"right"), what
    upstream.behave = Talk.answer
    assert ask(gateway.address, request()).body == b'{"outputs":[]}'


def test_bytes_between_two_replies_cost_the_connection(gateway: Gateway, upstream: Upstream) -> None:
    """A reply that was sent before its request is not taken for the next request's."""
    upstream.behave = stays(OK + b"Content-Length: 5\r\n\r\nright")
    assert ask(gateway.address, request()).body == b"right"
    upstream.talks[-1].send(OK + b"Content-Length: 6\r\n\r\npoison")
    time.sleep(0.1)
    upstream.behave = Talk.answer
    assert ask(gateway.address, request()).body == b'{"outputs":[]}'


def test_interim_replies_are_dropped(gateway: Gateway, upstream: Upstream) -> None:
    """1xx before the reply, with fields of their own, leave the reply as it is."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    upstream.behave = stays(interim + OK + b"Content-Length: 2\r\n\r\nok")
    reply = ask(gateway.address, request())
    assert (reply.status, reply.body, reply.header("Link")) == (200, b"ok", None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(gateway: Gateway, upstream: Upstream, status: int) -> None:
    """Whatever Location says, nothing is asked there."""
    location = f"Location: {upstream.url}/elsewhere".encode()
    upstream.behave = lambda talk: talk.answer(status, b"", [location])
    reply = ask(gateway.address, request())
    assert reply.status in (status, 502)
    time.sleep(0.1)
    assert [talk.path for talk in upstream.talks] == [b"/v2/models/m/versions/1/infer"]


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b"[" * 100_000, b'{"name":' * 10_000, b"\xff", b"a" * 5_000_000]
)
def test_metadata_that_is_none_is_a_bad_gateway(gateway: Gateway, upstream: Upstream, body: bytes) -> None:
    """Metadata must be read to name the alias in it: what cannot be read is 502."""
    upstream.behave = lambda talk: talk.answer(200, body)
    expect_problem(ask(gateway.address, request("/v2/models/a", method="GET")), 502)


def test_an_early_reply_ends_the_exchange(gateway: Gateway, upstream: Upstream) -> None:
    """A server may refuse before it has read the body: the caller gets its reply; the next request is not mixed up."""

    def behave(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        time.sleep(0.3)
        talk.take_body()

    upstream.behave = behave
    for megabytes in (1, 4, 6, 8, 16):
        with RawClient(gateway.address) as client:
            client.send(request(body=b"a" * (megabytes << 20)))
            reply = client.reply()
            assert (reply.status, reply.body) == (413, b"big")
            if reply.header("Connection") != "close":
                try:
                    client.send(request("/v2/health/live", method="GET"))
                    assert client.reply().status == 200
                except (EOFError, ConnectionResetError):
                    pass


def test_an_endless_trailer_of_a_reply_does_not_fill_the_memory(gateway: Gateway, upstream: Upstream) -> None:
    """Reply trailers are bounded like heads."""

    def behave(talk: Talk) -> None:
        talk.take_body()
        talk.send(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"ok", last=b"0\r\nX-Big: "))
        for _ in range(30):
            talk.send(b"a" * 1_000_000)

    upstream.behave = behave
    with RawClient(gateway.address) as client, gateway.memory_growth() as growth:
        client.send(request())
        with contextlib.suppress(EOFError, ConnectionResetError):
            assert client.reply().status == 502
        assert growth() < 24 * 1024 * 1024


def test_the_path_upstream_is_the_pinned_version(gateway: Gateway, upstream: Upstream) -> None:
    """Whatever the caller calls, the server is asked for one version by number."""
    assert ask(gateway.address, request(INFER)).status == 200
    assert upstream.talks[-1].path == b"/v2/models/m/versions/1/infer"
