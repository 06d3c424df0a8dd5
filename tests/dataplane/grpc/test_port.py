"""What the gRPC port says to what is no gRPC, or is put together wrongly, on plain sockets (gRPC's PROTOCOL-HTTP2)."""

import gzip
import signal
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hyperframe.frame import Frame, GoAwayFrame, PingFrame, RstStreamFrame, WindowUpdateFrame

from loadtests.processes import free_port
from tests.dataplane.grpc.conftest import (
    MOST_BYTES,
    SERVICE,
    Asked,
    Client,
    RpcServer,
    answer,
    infer,
    last_logged,
    reply_of,
    rpc_document,
)
from tests.dataplane.grpc.frames import message, sent
from tests.dataplane.raw import until_answered
from tests.gateway_process import APP, Gateway, running, wait_for
from tests.http2.peer import Peer
from tests.http2.wire import END_HEADERS, Code, Field, block, data, headers, ping
from tests.patience import PATIENT_S

INFER = (SERVICE + "ModelInfer").encode()
KEY: Field = (b"x-api-key", APP.encode())


@pytest.fixture
def address(shared_rpc_gateway: Gateway, server: RpcServer) -> tuple[str, int]:
    return "127.0.0.1", int(str(shared_rpc_gateway.settings["INFERENCE__GRPC_PORT"]))


@pytest.fixture
def peer(address: tuple[str, int]) -> Iterator[Peer]:
    """A caller; whatever it does, the next one's call is answered."""
    with Peer(address) as made:
        yield made
    with Peer(address) as after:
        after.goes_on()


def opening(
    *more: Field,
    method: bytes = b"POST",
    path: bytes = INFER,
    kind: bytes | None = b"application/grpc",
    te: bool = True,
    stream: int = 1,
) -> bytes:
    """The head of a call."""
    fields = [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"x")]
    fields += [] if kind is None else [(b"content-type", kind)]
    fields += [(b"te", b"trailers")] if te else []
    return headers(stream, block(*fields, *more), END_HEADERS)


def compressed(data: bytes) -> bytes:
    """A message that says of itself that it is."""
    return struct.pack(">BI", 1, len(data)) + data


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (opening(KEY, method=b"GET"), "405"),
        (opening(KEY, method=b"PUT"), "405"),
        (opening(KEY, kind=b"application/json"), "415"),
        (opening(KEY, kind=b"application/grpcx"), "415"),
        (opening(KEY, kind=None), "415"),
    ],
)
def test_what_is_no_call_gets_an_http_status(peer: Peer, head: bytes, status: str) -> None:
    """And no status of gRPC's, which its client may not speak."""
    peer.send(head, data(1))
    peer.answered(1)
    assert peer.fields[1][":status"] == status
    assert "grpc-status" not in peer.fields[1]


@pytest.mark.parametrize("kind", [b"application/grpc", b"application/grpc+proto", b"application/grpc;x=y"])
def test_grpc_has_several_names_and_needs_no_te(peer: Peer, kind: bytes) -> None:
    """Proxies on the way may have taken that away."""
    peer.send(opening(KEY, kind=kind, te=False), data(1, message(infer())))
    assert peer.answered(1) == "0"


STATUS = grpc.StatusCode
BODIES = {
    "no message": (b"", STATUS.INVALID_ARGUMENT),
    "half a prefix": (b"\0\0", STATUS.INVALID_ARGUMENT),
    "half a message": (message(infer(), 100), STATUS.INVALID_ARGUMENT),
    "two messages": (message(infer()) * 2, STATUS.INVALID_ARGUMENT),
    "a flag that is none": (b"\2" + message(infer())[1:], STATUS.INTERNAL),
    "compressed, nobody says how": (compressed(gzip.compress(infer())), STATUS.INTERNAL),
    "too large, by its prefix": (message(b"", MOST_BYTES + 1), STATUS.RESOURCE_EXHAUSTED),
    "as large as can be said": (message(b"", 2**32 - 1), STATUS.RESOURCE_EXHAUSTED),
}


@pytest.mark.parametrize("what", BODIES)
def test_bodies_that_are_no_message(peer: Peer, shared_rpc_gateway: Gateway, what: str) -> None:
    """Each has its status, and stands in the access log."""
    body, status = BODIES[what]
    name = what.replace(" ", "-").replace(",", "")
    peer.send(opening(KEY, (b"x-request-id", name.encode())), data(1, body))
    assert peer.answered(1) == str(status.value[0])
    outcome = last_logged(shared_rpc_gateway, name)["outcome"]
    assert outcome == ("too_large" if status is STATUS.RESOURCE_EXHAUSTED else "bad_request")


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        (b"gzip", gzip.compress(infer()), STATUS.OK),
        (b"deflate", zlib.compress(infer()), STATUS.OK),
        (b"gzip", gzip.compress(b"\0" * (MOST_BYTES + 1)), STATUS.RESOURCE_EXHAUSTED),
        (b"gzip", gzip.compress(infer())[:-1], STATUS.INTERNAL),
        (b"gzip", b"garbage", STATUS.INTERNAL),
        (b"identity", gzip.compress(infer()), STATUS.INTERNAL),
        (b"snappy", b"", STATUS.UNIMPLEMENTED),
    ],
)
def test_compression(peer: Peer, encoding: bytes, body: bytes, status: grpc.StatusCode) -> None:
    """What it comes to is bounded while it grows."""
    peer.send(opening(KEY, (b"grpc-encoding", encoding)), sent(compressed(body), 1, end=True))
    assert peer.answered(1) == str(status.value[0])


@pytest.mark.parametrize("timeout", [b"banana", b"-1S", b"1", b"S", b"1s", b"999999999S", b"99999999999H"])
def test_a_timeout_that_is_garbage_is_an_invalid_argument(
    peer: Peer, server: RpcServer, timeout: bytes
) -> None:
    """What its caller meant would be anybody's guess."""
    peer.send(opening(KEY, (b"grpc-timeout", timeout)), data(1, message(infer())))
    assert peer.answered(1) == "3"
    assert not server.asked


def test_a_timeout_that_is_over_is_a_deadline_exceeded(peer: Peer, server: RpcServer) -> None:
    """Zero is a time like others; however quick a server is, it is not asked."""
    peer.send(opening(KEY, (b"grpc-timeout", b"0m")), data(1, message(infer())))
    assert peer.answered(1) == "4"
    assert not server.asked


def test_a_message_that_does_not_come_in_time_ends_its_call(peer: Peer) -> None:
    """Its caller's deadline is looked at then, too."""
    peer.send(opening(KEY, (b"grpc-timeout", b"500m")), data(1, message(infer())[:7], 0))
    assert peer.answered(1) == "4"


def test_a_message_is_let_in_once_its_caller_is_known(peer: Peer) -> None:
    """Then all of it may come at once; of a stranger's, nothing is waited for."""
    large = message(b"", 5_000_000)

    def granted(found: Frame) -> bool:
        return isinstance(found, WindowUpdateFrame) and found.stream_id == 1

    peer.send(opening(KEY), data(1, large + bytes(1000), 0))
    update = peer.until(granted)
    assert isinstance(update, WindowUpdateFrame)
    assert update.window_increment >= 4_000_000
    peer.send(opening((b"x-api-key", b"nobody"), stream=3), data(3, large + bytes(1000), 0))
    assert peer.answered(3) == "16"
    reset = peer.next()
    assert isinstance(reset, RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (3, Code.NO_ERROR)
    assert not any(isinstance(each, WindowUpdateFrame) and each.stream_id == 3 for each in peer.frames)


def test_pings_without_calls_have_a_measure(peer: Peer) -> None:
    """Clients know the words, and ask less often from then on."""
    peer.send(*(ping() for _ in range(4)))
    assert peer.until_closed() == Code.ENHANCE_YOUR_CALM
    last = [found for found in peer.frames if isinstance(found, GoAwayFrame)][-1]
    assert last.additional_data == b"too_many_pings"


def test_words_pass_as_they_are(client: Client, server: RpcServer) -> None:
    """Whatever they are written in; without end they do not."""

    def refuse(asked: Asked) -> bytes:
        asked.context.abort(STATUS.INVALID_ARGUMENT, words)
        raise AssertionError

    server.behave = refuse
    words = "100 % für 模型 'm'"
    assert client.call(infer()).details() == words
    words = "x" * 4000
    call = client.call(infer())
    assert call.code() is STATUS.INVALID_ARGUMENT
    assert words.startswith(call.details()[:-1])


def test_connections_are_counted(
    shared_rpc_gateway: Gateway, address: tuple[str, int], server: RpcServer
) -> None:
    """As those over HTTP are."""

    def open_now() -> float:
        return shared_rpc_gateway.metric('maas_connections{protocol="grpc"}')

    before = open_now()
    with Peer(address) as peer:
        peer.goes_on()
        assert open_now() == before + 1
    wait_for(lambda: open_now() == before, what="it to be counted off")


def test_a_drain_says_which_calls_are_served(tmp_path: Path) -> None:
    """GOAWAY twice: a call that was on its way when the first one came is answered; then the connection closes."""
    server = RpcServer()
    with running(
        tmp_path, rpc_document(server), INFERENCE__GRPC_PORT=free_port(), INFERENCE__DRAIN_NOTICE_S=0
    ) as gateway:
        until_answered(gateway.address)
        release = threading.Event()

        def slow(asked: Asked) -> bytes:
            release.wait(PATIENT_S)
            return answer(asked)

        server.behave = slow
        with Peer(("127.0.0.1", int(str(gateway.settings["INFERENCE__GRPC_PORT"])))) as peer:
            peer.send(opening(KEY), data(1, message(infer())))
            wait_for(lambda: server.asked, what="the server to be asked")
            gateway.signal(signal.SIGTERM)
            first = peer.until(lambda found: isinstance(found, GoAwayFrame))
            assert isinstance(first, GoAwayFrame)
            assert (first.last_stream_id, first.error_code) == (2**31 - 1, 0)
            release.set()
            peer.send(opening(KEY, stream=3), data(3, message(infer())))
            asked = peer.until(lambda found: isinstance(found, PingFrame))
            assert isinstance(asked, PingFrame)
            peer.send(ping(asked.opaque_data, 1))
            # Which of the two is answered first is not said.
            for _ in range(2):
                peer.until(lambda found: "END_STREAM" in found.flags)
            assert {peer.fields[stream]["grpc-status"] for stream in (1, 3)} == {"0"}
            assert peer.until_closed() == 0
        assert gateway.wait(20) == 0
    server.close()


def test_calls_are_reset_with_their_deadline(client: Client, server: RpcServer) -> None:
    """A caller that is gone when the reply comes disturbs nobody."""

    def hang(asked: Asked) -> bytes:
        asked.ended.wait(PATIENT_S)
        return b""

    server.behave = hang
    calls = [client.start(infer(), timeout=0.2) for _ in range(50)]
    assert {call.exception(PATIENT_S).code() for call in calls} == {STATUS.DEADLINE_EXCEEDED}
    server.renew()
    reply_of(client.call(infer()))
