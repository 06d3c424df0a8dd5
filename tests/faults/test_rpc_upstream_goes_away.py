"""A gRPC server that goes away, refuses, or takes few calls at a time: what it has not begun is sent again, and all else ends well."""

import struct
import threading
from collections.abc import Iterator

import grpc
import pytest

from gateway.snapshot.document import PoolEntry
from loadtests.processes import free_port
from tests.dataplane.grpc.conftest import Client, infer, last_logged
from tests.dataplane.grpc.frames import (
    GOAWAY,
    HEAD,
    RST_STREAM,
    SETTINGS,
    RawCall,
    RawRpcServer,
    frame,
    message,
    sent,
    trailers,
)
from tests.dataplane.raw import until_answered
from tests.gateway_process import Gateway, changed, document, running, wait_for
from tests.patience import PATIENT_S

pytestmark = pytest.mark.slow

CODE = grpc.StatusCode
MAX_CONCURRENT_STREAMS = 3
REPLY = HEAD + sent(message(b"")) + trailers(b"0")


@pytest.fixture
def server() -> Iterator[RawRpcServer]:
    made = RawRpcServer()
    yield made
    made.close()


@pytest.fixture
def gateway(server: RawRpcServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """In front of that server alone."""
    url = server.probed.url
    pool = PoolEntry("main", "triton", (url,), (f"grpc://127.0.0.1:{server.port}",))
    with running(
        tmp_path_factory.mktemp("goes-away"),
        changed(document(url), pools=(pool,)),
        INFERENCE__GRPC_PORT=free_port(),
    ) as found:
        until_answered(found.address)
        yield found


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    made = Client(gateway)
    yield made
    made.channel.close()


def goaway(last: int, code: int = 0) -> bytes:
    """The server goes; `last` is the last stream that it has begun with."""
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code))


REFUSED = frame(RST_STREAM, 0, 0x7FFF_FFFE, struct.pack(">I", 7))


def test_a_call_that_was_refused_once_is_answered(
    client: Client, server: RawRpcServer, gateway: Gateway
) -> None:
    """REFUSED_STREAM says that nothing was begun (RFC 9113 section 8.7): it is sent again, once."""
    server.behave = lambda call: call.send(REFUSED if server.calls == 1 else REPLY)
    assert client.call(infer(), ("x-request-id", "once")).code() is CODE.OK
    assert server.calls == 2
    server.behave = lambda call: call.send(REFUSED)
    assert client.call(infer(), ("x-request-id", "ever")).code() is CODE.UNAVAILABLE
    assert server.calls == 4
    assert last_logged(gateway, "ever")["outcome"] == "bad_gateway"


def test_calls_above_the_last_stream_go_on_another_connection(client: Client, server: RawRpcServer) -> None:
    """GOAWAY names the last stream that was begun: those below it are answered where they are (section 6.8)."""
    held: list[RawCall] = []

    def behave(call: RawCall) -> None:
        if server.connections > 1:
            call.send(REPLY)
            return
        held.append(call)
        if len(held) == 3:
            first = min(held, key=lambda each: each.stream)
            first.send(goaway(first.stream) + REPLY)

    server.behave = behave
    calls = [client.start(infer(), timeout=PATIENT_S) for _ in range(3)]
    assert [call.exception(PATIENT_S) for call in calls] == [None] * 3
    assert (server.connections, server.calls) == (2, 5)


def test_a_server_that_drains_loses_nothing(client: Client, server: RawRpcServer) -> None:
    """GOAWAY with every reply: each call is answered, on a connection of its own."""
    server.behave = lambda call: call.send(goaway(call.stream) + REPLY)
    for _ in range(20):
        assert client.call(infer()).code() is CODE.OK
    assert (server.connections, server.calls) == (20, 20)


def test_a_second_connection_is_made_where_one_is_full(client: Client, server: RawRpcServer) -> None:
    """A server that takes two calls at a time on each gets five at once on three; later ones find those that stand."""
    server.greet = lambda call: call.send(
        frame(SETTINGS, 0, 0, struct.pack(">HI", MAX_CONCURRENT_STREAMS, 2))
    )
    held: list[RawCall] = []
    lock = threading.Lock()

    def behave(call: RawCall) -> None:
        with lock:
            held.append(call)
            if len(held) == 5:
                for each in held:
                    each.send(REPLY)

    server.behave = behave
    calls = [client.start(infer(), timeout=PATIENT_S) for _ in range(5)]
    assert [call.exception(PATIENT_S) for call in calls] == [None] * 5
    assert server.connections == 3
    server.behave = lambda call: call.send(REPLY)
    for _ in range(5):
        assert client.call(infer()).code() is CODE.OK
    assert server.connections == 3


def test_a_server_that_takes_no_call_is_not_asked_without_end(client: Client, server: RawRpcServer) -> None:
    """A connection that allows none is as none: the call is refused, and soon."""
    server.greet = lambda call: call.send(
        frame(SETTINGS, 0, 0, struct.pack(">HI", MAX_CONCURRENT_STREAMS, 0))
    )
    assert client.call(infer()).code() is CODE.UNAVAILABLE
    assert 1 <= server.connections <= 3
    assert server.calls == 0


def test_a_connection_that_was_closed_is_made_anew(client: Client, server: RawRpcServer) -> None:
    """Once that is known; no call is lost to one that was idle."""
    assert client.call(infer()).code() is CODE.OK

    def closes(call: RawCall) -> None:
        call.send(REPLY + goaway(call.stream))
        call.sock.close()

    server.behave = closes
    assert client.call(infer()).code() is CODE.OK
    server.behave = lambda call: call.send(REPLY)
    for _ in range(5):
        assert client.call(infer()).code() is CODE.OK
    wait_for(lambda: server.connections == 2, what="one connection more")
