"""The same cases against a gateway's own gRPC port, and some of the floods: the worker is the one that it was, and serves on."""

from collections.abc import Iterator

import pytest

from loadtests.processes import free_port
from tests.dataplane.raw import until_answered
from tests.dataplane.upstream import Upstream
from tests.gateway_process import Gateway, document, running
from tests.http2.case import Case, check
from tests.http2.conftest import Running
from tests.http2.floods import CALM, FLOODS, MOST_GROWTH, RESETS, WHOLE, flood, many
from tests.http2.peer import Peer
from tests.http2.test_rfc9113 import CASES
from tests.http2.wire import (
    MOST_WINDOW,
    PREFACE,
    Code,
    Setting,
    continuation,
    headers,
    integer,
    opened,
    settings,
    text,
    window,
)
from tests.http2.wire import data as body

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    upstream = Upstream()
    folder = tmp_path_factory.mktemp("http2")
    with running(folder, document(upstream.url), INFERENCE__GRPC_PORT=free_port()) as found:
        until_answered(found.address)
        yield found
    upstream.close()


@pytest.fixture
def port(gateway: Gateway) -> Iterator[Running]:
    """Its gRPC port. A call that was under way on another connection is answered afterwards, by the same process."""
    pid = gateway.pid
    assert pid is not None
    address = ("127.0.0.1", int(str(gateway.settings["INFERENCE__GRPC_PORT"])))
    with Peer(address) as beside:
        beside.goes_on(1)
        beside.send(opened(3))
        yield Running(pid, address)
        beside.send(body(3))
        assert beside.answered(3) == "0"
    assert (gateway.pid, gateway.exit_status) == (pid, None)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, port: Running) -> None:
    """It is seen on the wire as it should be."""
    check(case, port.address)


# --- floods ---


@pytest.fixture
def bounded(port: Running) -> Iterator[Running]:
    """The port, of a process that does not grow by what its clients send."""
    before = port.memory_bytes
    yield port
    assert port.memory_bytes - before < MOST_GROWTH


def test_continuation_without_end(bounded: Running) -> None:
    """Not more of a block is kept than a list of fields may have."""
    piece = (b"\0" + text(b"x") + text(b"y" * 100)) * 150
    with Peer(bounded.address) as peer:
        assert flood(peer, many(continuation(1, piece, 0)), 2**26, headers(1, WHOLE, 0)) == CALM


@pytest.mark.parametrize("how", RESETS)
def test_streams_that_are_opened_and_reset(bounded: Running, how: str) -> None:
    """Whoever resets them."""
    pieces = (opened(stream) + RESETS[how](stream) for stream in range(1, 400_001, 2))
    with Peer(bounded.address) as peer:
        assert flood(peer, pieces, 2**30) in (CALM, Code.PROTOCOL_ERROR, Code.FRAME_SIZE_ERROR)


@pytest.mark.parametrize("what", FLOODS)
def test_frames_that_ask_for_nothing(bounded: Running, what: str) -> None:
    """Whether their answers are read or not."""
    with Peer(bounded.address) as peer:
        peer.goes_on(1)
        assert flood(peer, many(FLOODS[what]), 64 * 1024 * 1024) in (CALM, Code.PROTOCOL_ERROR)


def test_fields_that_grow_when_they_are_decoded(bounded: Running) -> None:
    """They are refused, call by call."""
    bomb = WHOLE + b"\x40" + text(b"x") + text(b"y" * 4000)
    with Peer(bounded.address) as peer:
        for stream in range(1, 41, 2):
            peer.send(headers(stream, (bomb if stream == 1 else WHOLE) + integer(62, 7, 0x80) * 10_000))
            assert peer.answered(stream) != "0"


def test_streams_that_are_opened_and_left(bounded: Running) -> None:
    """As many as a connection may have, on several of them."""
    peers = [Peer(bounded.address) for _ in range(3)]
    for peer in peers:
        peer.send(b"".join(opened(stream) for stream in range(1, 2 * 400 + 1, 2)))
        peer.pinged()
    for peer in peers:
        peer.sock.close()


def test_answers_that_nobody_reads(bounded: Running) -> None:
    """Nor lets through: they wait, and take up little."""
    hello = PREFACE + settings((Setting.INITIAL_WINDOW_SIZE, 0)) + window(0, MOST_WINDOW - 65_535)
    with Peer(bounded.address, hello=hello, receive_buffer=4096) as peer:
        for stream in range(1, 2001, 2):
            peer.send(opened(stream), body(stream))
        peer.pinged()
