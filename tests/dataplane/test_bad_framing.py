"""Bad input: what is no well-formed HTTP/1.1, and what is more than the gateway takes."""

import time

import pytest

from tests.dataplane.raw import CREDENTIAL, INFER, RawClient, ask, chunked, expect_problem, request
from tests.dataplane.upstream import Upstream
from tests.gateway_process import Gateway

pytestmark = pytest.mark.slow

LINE = f"POST {INFER} HTTP/1.1\r\n".encode()
HOST = b"Host: gateway\r\n"
GOOD = LINE + HOST + CREDENTIAL
TWO = b"Content-Length: 2\r\n\r\n{}"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GOOD + b"Transfer-Encoding: chunked\r\n" + TWO, id="transfer-encoding then length"),
        pytest.param(
            GOOD + b"Content-Length: 2\r\n" + CHUNKED + chunked(b"{}"), id="length then transfer-encoding"
        ),
        pytest.param(GOOD + b"Content-Length: 2\r\n" + TWO, id="two equal lengths"),
        pytest.param(GOOD + b"Content-Length: 3\r\n" + TWO, id="two lengths"),
        pytest.param(GOOD + b"Content-Length: 2, 2\r\n\r\n{}", id="a list of lengths"),
        pytest.param(GOOD + b"Content-Length: +2\r\n\r\n{}", id="signed length"),
        pytest.param(GOOD + b"Content-Length: -2\r\n\r\n{}", id="negative length"),
        pytest.param(GOOD + b"Content-Length: 0x2\r\n\r\n{}", id="hexadecimal length"),
        pytest.param(GOOD + b"Content-Length: \r\n\r\n{}", id="empty length"),
        pytest.param(GOOD + b"Content-Length: 99999999999999999999999\r\n\r\n{}", id="length beyond 64 bits"),
        pytest.param((GOOD + TWO).replace(b"\r\n", b"\n"), id="bare line feeds"),
        pytest.param(LINE + b"Host: gateway\n" + CREDENTIAL + TWO, id="one bare line feed"),
        pytest.param(GOOD + b"X-A: 1\r\n  2\r\n" + TWO, id="folded line"),
        pytest.param(LINE + b" Host: gateway\r\n" + CREDENTIAL + TWO, id="space before the first field"),
        pytest.param(GOOD + b"Content-Length : 2\r\n\r\n{}", id="space before the colon"),
        pytest.param(
            GOOD + b"Transfer-Encoding : chunked\r\n\r\n" + chunked(b"{}"), id="space before another colon"
        ),
        pytest.param(GOOD + b"X-A: a\x00b\r\n" + TWO, id="NUL in a value"),
        pytest.param(GOOD + b"X-A: a\rb\r\n" + TWO, id="bare carriage return in a value"),
        pytest.param(GOOD + b"X A: 1\r\n" + TWO, id="space in a name"),
        pytest.param(GOOD + b": 1\r\n" + TWO, id="empty name"),
        pytest.param(GOOD + b"X-A\r\n" + TWO, id="no colon"),
        pytest.param(GOOD + CHUNKED + b"2\n{}\r\n0\r\n\r\n", id="bare line feed behind a chunk size"),
        pytest.param(GOOD + CHUNKED + b"2\r\n{}\n0\r\n\r\n", id="bare line feed behind a chunk"),
        pytest.param(GOOD + CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", id="prefixed chunk size"),
        pytest.param(GOOD + CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n", id="negative chunk size"),
        pytest.param(GOOD + CHUNKED + b"fffffffffffffffff\r\n{}", id="chunk size beyond 64 bits"),
        pytest.param(GOOD + CHUNKED + b"2\r\n{}x\r\n0\r\n\r\n", id="chunk longer than its size"),
        pytest.param(GOOD + CHUNKED + b"\r\n{}", id="empty chunk size"),
        pytest.param(LINE + CREDENTIAL + TWO, id="no Host"),
        pytest.param(LINE + HOST + HOST + CREDENTIAL + TWO, id="two Hosts"),
        pytest.param(LINE + b"Host: x?y\r\n" + CREDENTIAL + TWO, id="Host with a query"),
        pytest.param(LINE + b"Host: x/y\r\n" + CREDENTIAL + TWO, id="Host with a path"),
        pytest.param(LINE + b"Host: u@x\r\n" + CREDENTIAL + TWO, id="Host with user information"),
        pytest.param(LINE + b"Host: a b\r\n" + CREDENTIAL + TWO, id="Host with a space"),
        pytest.param(b"POST " + INFER.encode() + b"\r\n" + HOST + TWO, id="no protocol version"),
        pytest.param(b"POST " + INFER.encode() + b" HTTP/3.0\r\n" + HOST + TWO, id="HTTP/3.0"),
        pytest.param(b"POST " + INFER.encode() + b" HTTP/1.2\r\n" + HOST + CREDENTIAL + TWO, id="HTTP/1.2"),
        pytest.param(
            b"POST " + INFER.encode() + b" x HTTP/1.1\r\n" + HOST + CREDENTIAL + TWO, id="space in a path"
        ),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 preface"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100, id="TLS"),
        pytest.param(b"NONSENSE / HTTP/1.1\r\nHost: g\r\n\r\n", id="unknown method"),
        pytest.param(b"\x00" * 1000, id="NULs"),
    ],
)
def test_malformed_requests_are_refused_and_the_connection_closed(
    gateway: Gateway, upstream: Upstream, data: bytes
) -> None:
    """400, then the end of the connection: a request behind it is never served, and none reaches the upstream whole."""
    with RawClient(gateway.address) as client:
        client.send(data + request("/v2/models/split/infer"))
        reply = client.reply()
        expect_problem(reply, 400)
        assert reply.header("Connection") == "close"
        assert client.ended()
    assert not [talk for talk in upstream.talks if b"/infer" in talk.path and talk.body]


@pytest.mark.parametrize(
    "coding",
    [
        b"gzip, chunked",
        b"gzip",
        b"identity",
        b"chunked, gzip",
        b"chunked, chunked",
        b"xchunked",
        b"chunked;x=1",
    ],
)
def test_other_transfer_codings_are_not_implemented(
    gateway: Gateway, upstream: Upstream, coding: bytes
) -> None:
    """501 for a coding, or 400 where the length could not be told (RFC 9112 section 6.3); closed in any case."""
    with RawClient(gateway.address) as client:
        client.send(GOOD + b"Transfer-Encoding: " + coding + b"\r\n\r\n" + chunked(b"{}") + request())
        reply = client.reply()
        expect_problem(reply, 501 if coding == b"gzip, chunked" else reply.status)
        assert reply.status in (400, 501)
        assert client.ended()
    assert not upstream.talks


def test_two_transfer_encodings_are_refused(gateway: Gateway, upstream: Upstream) -> None:
    """One line each for gzip and chunked is the same as both on one line."""
    with RawClient(gateway.address) as client:
        client.send(GOOD + b"Transfer-Encoding: gzip\r\n" + CHUNKED + chunked(b"{}"))
        assert client.reply().status in (400, 501)
        assert client.ended()
    assert not upstream.talks


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(b"X-Big: " + b"a" * 1_000_000 + b"\r\n", id="a header of 1 MB"),
        pytest.param(b"X-A: 1\r\n" * 20_000, id="20 000 headers"),
        pytest.param(b"X-A: 1\r\n" * 200, id="200 headers"),
        pytest.param(b"X" * 1_000_000 + b": a\r\n", id="a name of 1 MB"),
    ],
)
def test_large_heads_are_refused(gateway: Gateway, upstream: Upstream, fields: bytes) -> None:
    """431, closed."""
    with RawClient(gateway.address) as client:
        client.send(LINE + HOST + CREDENTIAL + fields + TWO)
        expect_problem(client.reply(), 431)
        assert client.ended()
    assert not upstream.talks


def test_a_target_of_a_megabyte_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    """431: the request line counts as part of the head."""
    expect_problem(ask(gateway.address, request("/v2/" + "a" * 1_000_000)), 431)
    assert not upstream.talks


def test_a_declared_size_over_the_limit_is_refused_before_it_is_read(
    gateway: Gateway, upstream: Upstream
) -> None:
    """413 at once, and no 100 Continue that would make the caller send it."""
    with RawClient(gateway.address) as client:
        client.send(GOOD + b"Expect: 100-continue\r\nContent-Length: 10737418240\r\n\r\n")
        reply = client.reply()
        expect_problem(reply, 413)
        assert not reply.interim
        assert client.ended()
    assert not upstream.talks


def test_an_endless_chunked_body_is_cut_at_the_limit(gateway: Gateway) -> None:
    """413 once the limit is passed, closed, with memory bounded."""
    piece = chunked(b"a" * 65536, last=b"")
    with RawClient(gateway.address) as client, gateway.memory_growth() as growth:
        client.send(GOOD + CHUNKED)
        for _ in range(40 * 16):
            client.send(piece)
        expect_problem(client.reply(), 413)
        assert client.ended()
        assert growth() < 32 * 1024 * 1024


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue"])
def test_a_caller_who_expects_to_be_told_is_told_to_go_on(
    gateway: Gateway, upstream: Upstream, value: bytes
) -> None:
    """100 Continue once the request may pass, then its reply; the expectation itself is not passed on."""
    with RawClient(gateway.address) as client:
        client.send(GOOD + b"Expect: " + value + b"\r\nContent-Length: 2\r\n\r\n")
        status, _ = client.head()
        assert status == 100
        client.send(b"{}")
        assert client.reply().status == 200
    assert upstream.talks[-1].body == b"{}"
    assert not [name for name, _ in upstream.talks[-1].fields if name.lower() == b"expect"]


@pytest.mark.parametrize(
    ("credential", "status"), [(b"", 401), (b"X-API-Key: wrong\r\n", 401)], ids=["no key", "wrong key"]
)
def test_who_is_refused_is_not_told_to_go_on(
    gateway: Gateway, upstream: Upstream, credential: bytes, status: int
) -> None:
    """The final answer comes without 100 Continue."""
    with RawClient(gateway.address) as client:
        client.send(LINE + HOST + credential + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        reply = client.reply()
        expect_problem(reply, status)
        assert not reply.interim
    assert not upstream.talks


@pytest.mark.parametrize("value", [b"200-ok", b"100-continue, x", b""])
def test_other_expectations_are_refused(gateway: Gateway, value: bytes) -> None:
    """417 (RFC 9110 section 10.1.1)."""
    expect_problem(ask(gateway.address, GOOD + b"Expect: " + value + b"\r\n" + TWO), 417)


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


@pytest.mark.parametrize("cut", [None, 10, -150, -100, -1])
def test_who_asks_for_another_protocol_is_served_in_this_one(
    gateway: Gateway, upstream: Upstream, cut: int | None
) -> None:
    """As Java's HttpClient does by itself (RFC 9110 section 7.8); nothing of it reaches the model, and no byte is lost."""
    whole = GOOD + UPGRADE + TWO + GOOD + UPGRADE + b"Content-Length: 0\r\n\r\n" + request(body=b"[]")
    with RawClient(gateway.address) as client:
        for piece in (whole,) if cut is None else (whole[:cut], whole[cut:]):
            client.send(piece)
            time.sleep(0.05)
        assert [client.reply().status for _ in range(3)] == [200] * 3
    assert [talk.body for talk in upstream.talks] == [b"{}", b"", b"[]"]
    for talk in upstream.talks:
        assert not {name.lower() for name, _ in talk.fields} & {b"upgrade", b"connection", b"http2-settings"}


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.0"])
def test_upgrades_with_a_chunked_body_are_refused(
    gateway: Gateway, upstream: Upstream, protocol: bytes
) -> None:
    """501, closed: where the body ends is not looked for."""
    with RawClient(gateway.address) as client:
        head = GOOD + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n"
        client.send(head + CHUNKED + chunked(b"{}") + request())
        expect_problem(client.reply(), 501)
        assert client.ended()
    assert not upstream.talks


def test_connect_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    """The gateway is no tunnel."""
    with RawClient(gateway.address) as client:
        client.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n" + request())
        reply = client.reply()
        assert reply.status in (400, 404, 405, 501)
        expect_problem(reply, reply.status)
        assert client.ended()
    assert not upstream.talks


def test_a_caller_who_names_hop_by_hop_fields_is_served_without_them(
    gateway: Gateway, upstream: Upstream
) -> None:
    """`Connection: TE` and its like are legal (RFC 9110 section 7.6.1): the named fields are not passed on."""
    fields = b"Connection: TE, X-Hop\r\nX-Kept: 1\r\nTE: trailers\r\nX-Hop: 1\r\n"
    assert ask(gateway.address, GOOD + fields + TWO).status == 200
    passed = {name.lower() for name, _ in upstream.talks[-1].fields}
    assert b"x-kept" in passed
    assert not passed & {b"te", b"x-hop", b"connection"}


@pytest.mark.parametrize("named", [b"Host", b"close, content-length", b"Authorization", b"Content-Encoding"])
def test_no_caller_may_name_what_a_request_needs(gateway: Gateway, upstream: Upstream, named: bytes) -> None:
    """400: one hop would read the request otherwise than the next."""
    expect_problem(ask(gateway.address, GOOD + b"Connection: " + named + b"\r\n" + TWO), 400)
    assert not upstream.talks


def test_trailers_are_not_passed_on(gateway: Gateway, upstream: Upstream) -> None:
    """A credential or a host in a trailer means nothing."""
    data = chunked(b"{}", last=b"0\r\nX-API-Key: other\r\nHost: other\r\nMaas-X: 1\r\n\r\n")
    with RawClient(gateway.address) as client:
        client.send(GOOD + CHUNKED + data + request())
        assert client.reply().status == 200
        assert client.reply().status == 200
    assert [talk.body for talk in upstream.talks] == [b"{}", b"{}"]


def test_an_endless_trailer_does_not_fill_the_memory(gateway: Gateway) -> None:
    """Trailers are bounded like heads."""
    with RawClient(gateway.address) as client, gateway.memory_growth() as growth:
        client.send(GOOD + CHUNKED + b"2\r\n{}\r\n0\r\nX-Big: ")
        for _ in range(30):
            client.send(b"a" * 1_000_000)
        assert growth() < 24 * 1024 * 1024
        assert client.reply().status in (400, 413, 431)


def test_a_million_chunks_of_one_byte_leave_the_memory_bounded(gateway: Gateway, upstream: Upstream) -> None:
    """Served whole, or refused."""
    piece = b"1\r\n \r\n" * 50_000
    with RawClient(gateway.address, 30) as client, gateway.memory_growth() as growth:
        client.send(GOOD + CHUNKED, *[piece] * 20, b"0\r\n\r\n")
        reply = client.reply()
        assert growth() < 32 * 1024 * 1024
    if reply.status == 200:
        assert upstream.talks[-1].body == b" " * 1_000_000
    else:
        expect_problem(reply, 413)
