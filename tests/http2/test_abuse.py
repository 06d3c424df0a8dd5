"""Clients that cost more than they send (RFC 9113 section 10.5): they are let go, with little memory, and nobody else notices."""

import socket
from collections.abc import Iterator

import pytest
from hyperframe.frame import RstStreamFrame

from tests.http2.conftest import Running
from tests.http2.floods import CALM, FLOODS, MOST_GROWTH, RESETS, WHOLE, code_of, flood, many
from tests.http2.peer import Closed, Peer
from tests.http2.wire import (
    MOST_WINDOW,
    PREFACE,
    Code,
    Kind,
    Setting,
    block,
    continuation,
    data,
    frame,
    headers,
    integer,
    opened,
    ping,
    request,
    settings,
    text,
    to,
    window,
)


@pytest.fixture(autouse=True)
def bounded(server: Running) -> Iterator[None]:
    """The process does not grow by what its clients send."""
    before = server.memory_bytes
    yield
    assert server.memory_bytes - before < MOST_GROWTH


@pytest.mark.parametrize("size", [0, 1, 16_384])
def test_continuation_without_end(server: Running, size: int) -> None:
    """Not more of a block is kept than a list of fields may have (CVE-2024-27983 and its like)."""
    piece = (b"\0" + text(b"x") + text(b"y" * 100)) * 200
    with Peer(server.address) as peer:
        code = flood(peer, many(continuation(1, piece[:size], 0)), 2**26, headers(1, WHOLE, 0))
        assert code in (CALM, Code.COMPRESSION_ERROR if size == 1 else CALM)


@pytest.mark.parametrize("how", RESETS)
def test_streams_that_are_opened_and_reset(server: Running, how: str) -> None:
    """Whoever resets them (CVE-2023-44487, CVE-2025-8671)."""
    pieces = (opened(stream) + RESETS[how](stream) for stream in range(1, 200_001, 2))
    with Peer(server.address) as peer:
        assert flood(peer, pieces, 2**30) in (CALM, Code.PROTOCOL_ERROR, Code.FRAME_SIZE_ERROR)


def test_requests_that_are_malformed_one_after_the_other(server: Running) -> None:
    """They are cheap to send, too."""
    pieces = (opened(stream, (b"Upper", b"x")) for stream in range(1, 200_001, 2))
    with Peer(server.address) as peer:
        assert flood(peer, pieces, 2**30) == CALM


@pytest.mark.parametrize("what", FLOODS)
def test_frames_that_ask_for_nothing(server: Running, what: str) -> None:
    """Whether their answers are read or not (CVE-2019-9512, -9513, -9515)."""
    with Peer(server.address) as peer:
        peer.send(request(1))
        assert peer.answered(1) == "0"
        assert flood(peer, many(FLOODS[what]), 64 * 1024 * 1024) in (CALM, Code.PROTOCOL_ERROR)


def test_answers_to_pings_that_nobody_reads(server: Running) -> None:
    """They do not pile up."""
    with Peer(server.address, receive_buffer=4096) as peer:
        peer.pinged()
        for _ in range(100_000):
            try:
                peer.sock.sendall(ping() * 100)
            except OSError:
                break
        else:
            pytest.fail("all were taken")
        assert peer.until_closed() in (CALM, None)


@pytest.mark.parametrize("empty", [data(1, b"", 0), frame(Kind.DATA, 8, 1, b"\0")], ids=["bare", "padded"])
def test_data_of_no_bytes(server: Running, empty: bytes) -> None:
    """CVE-2019-9518."""
    with Peer(server.address) as peer:
        peer.send(opened(1))
        assert flood(peer, many(empty), 64 * 1024 * 1024) == CALM


def test_a_body_of_single_bytes_is_served(server: Running) -> None:
    """It is slow, and no crime."""
    with Peer(server.address) as peer:
        peer.send(opened(1), data(1, b"x", 0) * 20_000, data(1, b""))
        assert peer.answered(1) == "0"


def test_a_reply_that_is_let_through_byte_by_byte(server: Running) -> None:
    """CVE-2019-9511: it may be served or ended, and nobody waits for it."""
    with Peer(server.address, hello=PREFACE + settings((Setting.INITIAL_WINDOW_SIZE, 0))) as peer:
        peer.send(to(b"/large/1000000", 1))
        peer.pinged()
        peer.send(window(1, 1) * 500)
        peer.pinged()
        assert peer.body[1] == 500
        assert flood(peer, many(window(1, 1)), 64 * 1024 * 1024) in (CALM, None)


def test_fields_that_grow_when_they_are_decoded(server: Running) -> None:
    """16 KB of references to one field of 4 KB: 60 MB (CVE-2016-6581)."""
    bomb = WHOLE + b"\x40" + text(b"x") + text(b"y" * 4000)
    with Peer(server.address) as peer:
        peer.send(headers(1, bomb + integer(62, 7, 0x80) * 12_000))
        _refused(peer, 1)
    with Peer(server.address) as peer:
        peer.send(headers(1, bomb))
        assert peer.answered(1) == "0"
        for stream in range(3, 23, 2):
            peer.send(headers(stream, WHOLE + integer(62, 7, 0x80) * 16_000))
        _refused(peer, 21)


def test_a_list_of_fields_that_is_too_large(server: Running) -> None:
    """However it is made up: many fields, one large one."""
    for fields in (block((b"x", b"y")) * 20_000, block((b"x", b"y" * 100_000))):
        first, *more = [(WHOLE + fields)[at : at + 16_384] for at in range(0, len(WHOLE + fields), 16_384)]
        with Peer(server.address) as peer:
            peer.send(headers(1, first, 1), *(continuation(1, piece, 0) for piece in more[:-1]))
            peer.send(continuation(1, more[-1]))
            _refused(peer, 1)


def _refused(peer: Peer, stream: int) -> None:
    """Status 431, or the stream was reset, or the connection ended, each as it should be."""
    try:
        ended = peer.answered(stream)
    except Closed:
        assert code_of(peer) in (CALM, Code.PROTOCOL_ERROR, Code.COMPRESSION_ERROR)
        return
    assert ended in ("reset 1", "reset 11") or peer.fields[stream][":status"] == "431"


def test_streams_that_are_opened_and_left(server: Running) -> None:
    """Beyond what may be open at a time they are refused, and the connection goes on (section 5.1.2)."""
    with Peer(server.address) as peer:
        peer.send(b"".join(opened(stream) for stream in range(1, 401, 2)))
        peer.pinged()
        refused = [found for found in peer.frames if isinstance(found, RstStreamFrame)]
        assert {found.error_code for found in refused} == {Code.REFUSED_STREAM}
        assert len(refused) >= 50
        for stream in range(1, 401, 2):
            if stream not in {found.stream_id for found in refused}:
                peer.send(data(stream))
        peer.goes_on()


@pytest.mark.slow
def test_thousands_of_half_open_streams(server: Running) -> None:
    """100 connections with 100 streams each cost a few kilobytes for each stream."""
    peers = [Peer(server.address) for _ in range(100)]
    for peer in peers:
        peer.send(b"".join(opened(stream) for stream in range(1, 201, 2)))
    for peer in peers:
        peer.pinged()
        peer.sock.close()


def test_a_reader_that_does_not_read(server: Running) -> None:
    """64 MiB wait where they are made: the process does not hold them, and others are served."""
    allowed = settings((Setting.INITIAL_WINDOW_SIZE, MOST_WINDOW)) + window(0, MOST_WINDOW - 65_535)
    with Peer(server.address, hello=PREFACE + allowed, receive_buffer=4096) as peer:
        peer.pinged()
        for stream in range(1, 21, 2):
            peer.send(to(b"/large/67108864", stream))
        with Peer(server.address) as other:
            for stream in range(1, 201, 2):
                other.goes_on(stream)
        peer.sock.shutdown(socket.SHUT_RDWR)
