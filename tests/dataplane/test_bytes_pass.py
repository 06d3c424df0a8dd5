"""Bytes pass exactly, both ways; replies come in the order of their requests."""

import hashlib
import random
import threading
import time

import pytest

from tests.dataplane.raw import INFER, RawClient, ask, chunked, expect_problem, request
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import Gateway
from tests.patience import PATIENT_S

pytestmark = pytest.mark.slow

KIB, MIB = 1024, 1024 * 1024
SIZES = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB - 1, MIB, MIB + 1, 16 * MIB]
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def payload(size: int) -> bytes:
    """Bytes that are no text and repeat nowhere."""
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_request_bodies_arrive_as_they_were_sent(
    gateway: Gateway, upstream: Upstream, size: int, framing: str
) -> None:
    """Whatever their size and framing; the connection goes on afterwards."""
    body = payload(size)
    if framing == "length":
        data = request(body=body, headers=b"Inference-Header-Content-Length: 0\r\n")
    else:
        pieces = [body[i : i + 100_000] for i in range(0, size, 100_000)]
        data = request(body=chunked(*pieces), headers=CHUNKED, length=False)
    with RawClient(gateway.address, 20) as client:
        for _ in range(2):
            client.send(data)
            assert client.reply().status == 200
    assert [hashlib.sha256(talk.body).digest() for talk in upstream.talks] == [
        hashlib.sha256(body).digest()
    ] * 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", ["length", "chunked", "closed"])
def test_reply_bodies_arrive_as_they_were_sent(
    gateway: Gateway, upstream: Upstream, size: int, framing: str
) -> None:
    """Whatever their size and framing; the caller's connection goes on afterwards."""
    body = payload(size)

    def behave(talk: Talk) -> None:
        talk.take_body()
        if framing == "length":
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body)
        elif framing == "chunked":
            pieces = [body[i : i + 77_777] for i in range(0, size, 77_777)]
            talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(*pieces))
        else:
            talk.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
            talk.sock.close()

    upstream.behave = behave
    with RawClient(gateway.address, 20) as client:
        for _ in range(2):
            client.send(request())
            reply = client.reply()
            assert reply.status == 200
            assert reply.body == body


@pytest.mark.parametrize("status", [200, 201, 206, 400, 404, 409, 418, 429, 500, 501, 503])
def test_statuses_and_error_bodies_pass(gateway: Gateway, upstream: Upstream, status: int) -> None:
    """Triton's own errors reach the caller in Triton's words."""
    body = b'{"error":"in Triton\'s words"}'
    upstream.behave = lambda talk: talk.answer(status, body)
    reply = ask(gateway.address, request())
    assert (reply.status, reply.body, reply.header("Maas-Served-By")) == (status, body, "m/1")


@pytest.mark.parametrize("status", [204, 304])
def test_replies_without_a_body_pass(gateway: Gateway, upstream: Upstream, status: int) -> None:
    """A status that has no body leaves the connection in step."""
    upstream.behave = lambda talk: talk.take_then_send(b"HTTP/1.1 %d X\r\n\r\n" % status)
    with RawClient(gateway.address) as client:
        for _ in range(2):
            client.send(request())
            assert client.reply().status == status


def test_headers_pass_both_ways_but_the_declared_ones(gateway: Gateway, upstream: Upstream) -> None:
    """Names, values, order and repetitions; hop-by-hop fields stay on their hop."""
    sent = [
        b"X-B: 2",
        b"x-a:  1",
        b"X-B: 3",
        b"Content-Type: application/octet-stream",
        b'X-C: a,b;c="d"',
        b"X-E:",
    ]
    reply_fields = [
        b"X-R: 1",
        b"x-r: 2",
        b"Inference-Header-Content-Length: 12",
        b"Content-Type: x/y",
        b"Set-Cookie: a=1",
    ]
    upstream.behave = lambda talk: talk.answer(
        headers=[*reply_fields, b"Connection: keep-alive, X-Hop", b"Keep-Alive: timeout=5"]
    )
    reply = ask(gateway.address, request(headers=b"\r\n".join(sent) + b"\r\nKeep-Alive: 3\r\n"))
    arrived = [
        pair for pair in upstream.talks[-1].fields if pair[0].lower() not in (b"host", b"content-length")
    ]
    expected = [tuple(part.strip() for part in line.split(b":", 1)) for line in sent]
    assert [pair for pair in arrived if pair[0] != b"X-Request-Id"] == expected
    got = [f"{name}: {value}".encode() for name, value in reply.headers]
    assert [line for line in got if line in reply_fields] == reply_fields
    assert reply.header("Keep-Alive") is None


def test_the_query_passes(gateway: Gateway, upstream: Upstream) -> None:
    """The path is the version's own; what follows `?` is the caller's."""
    assert ask(gateway.address, request(f"{INFER}?a=%41&b")).status == 200
    assert upstream.talks[-1].path == b"/v2/models/m/versions/1/infer?a=%41&b"


def test_a_head_in_single_bytes_is_a_head(gateway: Gateway, upstream: Upstream) -> None:
    """TCP may cut anywhere."""
    with RawClient(gateway.address) as client:
        for byte in request(body=b"[1]"):
            client.send(bytes([byte]))
        assert client.reply().status == 200
    assert upstream.talks[-1].body == b"[1]"


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, upstream: Upstream) -> None:
    """A thousand requests in one write, good and bad mixed, answered one by one in their order."""
    upstream.behave = lambda talk: talk.answer(body=talk.take_body())
    paths = [INFER, "/v2/models/nosuch/infer", "/v2/health/live", INFER]
    data = b"".join(
        request(
            paths[i % 4],
            b"[%d]" % i,
            method="GET" if i % 4 == 2 else "POST",
            headers=b"X-Request-Id: r%d\r\n" % i,
        )
        for i in range(1000)
    )
    with RawClient(gateway.address, 20) as client:
        threading.Thread(target=client.send, args=(data,), daemon=True).start()
        for i in range(1000):
            reply = client.reply()
            assert reply.header("X-Request-Id") == f"r{i}" or i % 4 == 2
            assert reply.status == (200, 404, 200, 200)[i % 4]
            if i % 4 in (0, 3):
                assert reply.body == b"[%d]" % i


def test_pipelined_bodies_of_all_framings_stay_apart(gateway: Gateway, upstream: Upstream) -> None:
    """Small, large and chunked bodies behind one another on one connection."""
    upstream.behave = lambda talk: talk.answer(body=hashlib.sha256(talk.take_body()).hexdigest().encode())
    bodies = [payload(size) for size in (0, 10, 200_000, 3, 2 * MIB, 65_536, 1)]
    data = b""
    for index, body in enumerate(bodies):
        if index % 2:
            data += request(body=chunked(*([body] if body else [])), headers=CHUNKED, length=False)
        else:
            data += request(body=body)
    with RawClient(gateway.address, 20) as client:
        threading.Thread(target=client.send, args=(data,), daemon=True).start()
        for body in bodies:
            assert client.reply().body == hashlib.sha256(body).hexdigest().encode()


def test_http_1_0_is_served_and_closed(gateway: Gateway, upstream: Upstream) -> None:
    """Without Host and chunking, which HTTP/1.0 does not know."""

    def behave(talk: Talk) -> None:
        talk.take_body()
        talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"one", b"two"))

    upstream.behave = behave
    data = request(body=b"{}").replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: gateway\r\n", b"")
    with RawClient(gateway.address) as client:
        client.send(data)
        status, fields = client.head()
        assert status == 200
        assert "transfer-encoding" not in {name.lower() for name, _ in fields}
        assert client.read(6) == b"onetwo"
        assert client.ended()


@pytest.mark.parametrize("say_close", [True, False])
def test_keep_alive_is_as_the_caller_says(gateway: Gateway, say_close: bool) -> None:
    """One connection carries many requests, and ends where the caller says so."""
    with RawClient(gateway.address) as client:
        for _ in range(5):
            client.send(request())
            assert client.reply().status == 200
        client.send(request(headers=b"Connection: close\r\n" if say_close else b""))
        reply = client.reply()
        assert reply.header("Connection") == ("close" if say_close else None)
        assert client.ended(60 if say_close else 0.2) is say_close


def test_upstream_connections_are_kept(gateway: Gateway, upstream: Upstream) -> None:
    """Requests one after another, from different callers, share one connection upstream."""
    for _ in range(20):
        assert ask(gateway.address, request()).status == 200
    assert upstream.connections <= 1


@pytest.mark.parametrize("how", ["says so", "HTTP/1.0"])
def test_an_upstream_that_closes_after_each_reply_costs_nothing_but_time(
    gateway: Gateway, upstream: Upstream, how: str
) -> None:
    """No request fails because its server does not keep connections."""

    def behave(talk: Talk) -> None:
        talk.take_body()
        version = b"1.0" if how == "HTTP/1.0" else b"1.1"
        field = b"Connection: close\r\n" if how == "says so" else b""
        talk.send(b"HTTP/%b 200 OK\r\n%bContent-Length: 2\r\n\r\nok" % (version, field))
        talk.sock.close()

    upstream.behave = behave
    for _ in range(30):
        reply = ask(gateway.address, request())
        assert (reply.status, reply.body) == (200, b"ok")


def test_an_upstream_that_closes_without_a_word_is_called_on_a_new_connection(
    gateway: Gateway, upstream: Upstream
) -> None:
    """Once its end has arrived a connection is not used again. Who writes into it before that gets an honest 502:
    the server may have begun, so the request is not sent twice.
    """
    closed = threading.Semaphore(0)

    def behave(talk: Talk) -> None:
        talk.take_body()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        talk.sock.close()
        closed.release()

    upstream.behave = behave
    answers = []
    for _ in range(30):
        reply = ask(gateway.address, request())
        assert reply.status == 200 or expect_problem(reply, 502)
        answers.append(reply.status)
        if reply.status == 200:
            assert closed.acquire(timeout=PATIENT_S)
        time.sleep(0.005)
    assert answers.count(200) > 25


def test_a_stream_arrives_event_by_event(gateway: Gateway, upstream: Upstream) -> None:
    """An event reaches the caller before the next one is sent."""
    seen = threading.Event()

    def behave(talk: Talk) -> None:
        talk.take_body()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            talk.send(chunked(b"data: {}\n\n", last=b""))
            assert seen.wait(PATIENT_S)
            seen.clear()
        talk.send(b"0\r\n\r\n")

    upstream.behave = behave
    with RawClient(gateway.address) as client:
        client.send(request("/v2/models/a/generate_stream"))
        status, fields = client.head()
        assert (status, dict(fields)["Content-Type"]) == (200, "text/event-stream")
        for _ in range(3):
            assert client.read(15) == b"a\r\ndata: {}\n\n\r\n"
            seen.set()
        assert client.read(5) == b"0\r\n\r\n"
