"""Whoever is slow holds back the other side, not the gateway's memory; and leaves nothing behind for the next."""

import threading
import time
from functools import partial

import pytest

from tests.dataplane.raw import RawClient, ask, chunked, request
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import Gateway, wait_for
from tests.patience import PATIENT_S, in_time

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\n"
LONG = b'{"parameters":{"timeout":60000000}}'


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_slow_reader_does_not_grow_the_memory(gateway: Gateway, upstream: Upstream, framing: str) -> None:
    """200 MB towards a caller who reads nothing for a while: bounded memory, then every byte of it."""
    total, piece = 200 * MIB, b"a" * MIB
    sent = 0

    def behave(talk: Talk) -> None:
        nonlocal sent
        talk.take_body()
        length = b"Content-Length: %d\r\n\r\n" % total
        talk.send(OK + (length if framing == "length" else b"Transfer-Encoding: chunked\r\n\r\n"))
        for _ in range(200):
            talk.send(piece if framing == "length" else chunked(piece, last=b""))
            sent += MIB
        if framing == "chunked":
            talk.send(b"0\r\n\r\n")

    upstream.behave = behave
    with RawClient(gateway.address, receive_buffer=65536) as client, gateway.memory_growth() as growth:
        client.send(request(body=LONG))
        time.sleep(0.5)
        assert sent < 40 * MIB
        reply = client.reply()
        assert len(reply.body) == total
        assert growth() < 24 * MIB


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_slow_server_does_not_grow_the_memory(gateway: Gateway, upstream: Upstream, framing: str) -> None:
    """A body of 60 MB towards a server that reads nothing for a while: bounded memory, then every byte of it."""

    def behave(talk: Talk) -> None:
        time.sleep(0.5)
        talk.answer(body=b"%d" % len(talk.take_body()))

    upstream.behave = behave
    piece = b"a" * MIB
    with RawClient(gateway.address) as client, gateway.memory_growth() as growth:
        if framing == "length":
            client.send(
                request(length=False, body=b"", headers=b"Content-Length: %d\r\n" % (60 * MIB)), *[piece] * 60
            )
        else:
            client.send(request(length=False, body=b"", headers=b"Transfer-Encoding: chunked\r\n"))
            client.send(*[chunked(piece, last=b"")] * 60, b"0\r\n\r\n")
        assert client.reply().body == b"%d" % (60 * MIB)
        assert growth() < 24 * MIB


@pytest.mark.parametrize("reply_bytes", [3 * MIB, 6 * MIB, 8 * MIB, 12 * MIB])
def test_after_a_slow_reader_the_connection_upstream_still_answers(
    gateway: Gateway, upstream: Upstream, reply_bytes: int
) -> None:
    """A connection that was held back while its last bytes passed carries the next exchange like any other."""
    begun = threading.Event()

    def behave(talk: Talk) -> None:
        begun.set()
        talk.answer(body=b"a" * reply_bytes)

    upstream.behave = behave
    with RawClient(gateway.address, receive_buffer=65536) as client:
        client.send(request(body=LONG))
        assert begun.wait(PATIENT_S)
        time.sleep(0.3)
        client.send(b"")
        upstream.behave = Talk.answer
        reply = client.reply()
        assert len(reply.body) == reply_bytes
    for _ in range(3):
        assert ask(gateway.address, request()).status == 200


@pytest.mark.parametrize("body_bytes", [size * 512 * 1024 for size in (3, 5, 7, 9, 11, 13, 15, 17)])
def test_after_a_slow_server_the_callers_connection_still_answers(
    gateway: Gateway, upstream: Upstream, body_bytes: int
) -> None:
    """Reading that was held back for one body goes on for the next request."""

    def behave(talk: Talk) -> None:
        time.sleep(0.2)
        talk.answer()

    upstream.behave = behave
    with RawClient(gateway.address) as client:
        for _ in range(2):
            client.send(request(body=b"a" * body_bytes))
            assert client.reply().status == 200


@pytest.mark.parametrize("body_bytes", [65_537, 70_000, 100_000, 131_073])
def test_a_body_just_over_a_read_leaves_the_connection_reading(gateway: Gateway, body_bytes: int) -> None:
    """Bodies about the size of one read, sent in one piece and in two, several on one connection."""
    with RawClient(gateway.address) as client:
        for split in (0, 10, 1000, 65_536):
            data = request(body=b"a" * body_bytes)
            at = data.index(b"\r\n\r\n") + 4 + split
            client.send(data[:at])
            time.sleep(0.02)
            client.send(data[at:])
            assert client.reply().status == 200


def test_a_caller_who_asks_and_never_reads_does_not_grow_the_memory(
    gateway: Gateway, upstream: Upstream
) -> None:
    """Replies to pipelined requests wait upstream, or unasked, while the caller takes none."""
    upstream.behave = lambda talk: talk.answer(body=b"a" * 60_000)
    with RawClient(gateway.address, 2, receive_buffer=65536) as client, gateway.memory_growth() as growth:

        def flood() -> None:
            try:
                for _ in range(200):
                    client.sock.sendall(request() * 20)
            except OSError:
                pass

        flooding = threading.Thread(target=flood, daemon=True)
        flooding.start()
        flooding.join(3)
        assert growth() < 24 * MIB


def test_when_the_caller_goes_the_call_upstream_is_cancelled(gateway: Gateway, upstream: Upstream) -> None:
    """The server sees its connection close at once, whether the caller closes or resets."""

    def attempt(reset: bool) -> float:
        closed: list[float] = []
        began = threading.Event()

        def behave(talk: Talk) -> None:
            talk.take_body()
            began.set()
            if talk.until_closed():
                closed.append(time.monotonic())

        upstream.behave = behave
        client = RawClient(gateway.address)
        client.send(request())
        assert began.wait(PATIENT_S)
        gone = time.monotonic()
        if reset:
            client.sock.setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.sock.close()
        wait_for(closed.__len__, what="the call to be cancelled")
        return closed[0] - gone

    for reset in (False, True):
        in_time(partial(attempt, reset), 0.3)


def test_when_the_caller_goes_in_the_middle_of_its_body_so_does_the_call(
    gateway: Gateway, upstream: Upstream
) -> None:
    """Half a request is never answered as a whole one, and its connection upstream is closed."""
    failed: list[str] = []

    def behave(talk: Talk) -> None:
        try:
            talk.take_body()
        except OSError as error:
            failed.append(str(error))
            raise

    upstream.behave = behave
    for framing in (b"Content-Length: 1000000\r\n", b"Transfer-Encoding: chunked\r\n"):
        failed.clear()
        with RawClient(gateway.address) as client:
            upstream.talks.clear()
            client.send(request(length=False, body=b"", headers=framing), b"80000\r\n" + b"a" * 500_000)
            wait_for(lambda: upstream.talks, what="the call to begin")
            time.sleep(0.05)
        wait_for(lambda: failed, what="the call to end")


def test_closed_connections_leave_nothing_behind(gateway: Gateway) -> None:
    """Memory does not grow with the number of connections that came and went, refused ones among them."""
    refused = request(headers=b"X-Big: " + b"a" * 200_000 + b"\r\n")

    def rounds(count: int) -> None:
        for _ in range(count):
            with RawClient(gateway.address) as client:
                client.send(refused)
                client.reply()
            ask(gateway.address, request())

    rounds(30)
    before = gateway.rss_bytes()
    rounds(150)
    assert gateway.rss_bytes() - before < 6 * MIB


def test_field_names_that_nobody_knows_are_not_kept(gateway: Gateway) -> None:
    """Thousands of long, different field names leave the memory as it was."""

    def rounds(first: int, count: int) -> None:
        with RawClient(gateway.address) as client:
            for number in range(first, first + count):
                client.send(
                    request(
                        "/v2/health/live", method="GET", headers=b"X%d" % number + b"a" * 60_000 + b": 1\r\n"
                    )
                )
                assert client.reply().status == 200

    rounds(0, 20)
    before = gateway.rss_bytes()
    rounds(20, 400)
    assert gateway.rss_bytes() - before < 8 * MIB
