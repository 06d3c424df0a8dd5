"""A gRPC server that hangs, breaks off or talks garbage: an error of the gateway's within the deadline, and nothing but that call is lost."""

import contextlib
import struct
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from tritonclient.grpc import service_pb2

from gateway.snapshot.document import PoolEntry
from gateway.wire import written
from loadtests.processes import free_port
from tests.dataplane.grpc.conftest import SERVICE, Client, infer, last_logged, streamed
from tests.dataplane.grpc.frames import (
    END_HEADERS,
    GOAWAY,
    HEAD,
    HEADERS,
    ITS_OWN,
    RST_STREAM,
    SETTINGS,
    RawCall,
    RawRpcServer,
    frame,
    headers,
    message,
    sent,
    trailers,
)
from tests.dataplane.raw import until_answered
from tests.gateway_process import APP, Gateway, changed, document, running
from tests.patience import PATIENT_S, in_time

pytestmark = pytest.mark.slow

CODE = grpc.StatusCode
MOST_BYTES = 100_000
REPLY = service_pb2.ModelInferResponse(model_name="m", model_version="1").SerializeToString()
HALF = HEAD + sent(message(REPLY, 1000))

Behave = Callable[[RawCall], object]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RawRpcServer]:
    server = RawRpcServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def shared_gateway(
    shared_server: RawRpcServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """In front of that server alone."""
    url = shared_server.probed.url
    pool = PoolEntry("main", "triton", (url,), (f"grpc://127.0.0.1:{shared_server.port}",))
    with running(
        tmp_path_factory.mktemp("rpc-faults"),
        changed(document(url), pools=(pool,)),
        INFERENCE__GRPC_PORT=free_port(),
        INFERENCE__DEADLINE_S=PATIENT_S,
        INFERENCE__MAX_DEADLINE_S=PATIENT_S,
        UPSTREAM__MAX_MESSAGE_BYTES=MOST_BYTES,
        UPSTREAM__CONNECT_TIMEOUT_S=0.5,
    ) as gateway:
        until_answered(gateway.address)
        yield gateway


@pytest.fixture
def server(shared_server: RawRpcServer) -> RawRpcServer:
    """The server, as good as new."""
    shared_server.renew()
    return shared_server


@pytest.fixture
def client(shared_gateway: Gateway, server: RawRpcServer) -> Iterator[Client]:
    """A client; after each test the worker is the one that it was, and good calls on that connection are answered."""
    made = Client(shared_gateway)
    pid = shared_gateway.pid
    yield made
    server.renew()
    # The connection of the call before may be just about to go.
    assert CODE.OK in (made.call(infer()).code() for _ in range(5))
    assert (shared_gateway.pid, shared_gateway.exit_status) == (pid, None)
    made.channel.close()


def sends(*data: bytes) -> Behave:
    """Answers with these bytes, and keeps the connection."""
    return lambda call: call.send(b"".join(data))


def then_closes(*data: bytes) -> Behave:
    """Answers with these bytes, and closes."""

    def behave(call: RawCall) -> None:
        call.send(b"".join(data))
        call.sock.close()

    return behave


def then_resets(*data: bytes) -> Behave:
    """Answers with these bytes, which arrive, and resets the TCP connection."""

    def behave(call: RawCall) -> None:
        call.send(b"".join(data))
        time.sleep(0.05)
        call.reset()

    return behave


def reset_stream(code: int) -> bytes:
    """RST_STREAM with an error code of RFC 9113 section 7."""
    return frame(RST_STREAM, 0, ITS_OWN, struct.pack(">I", code))


def only(*fields: tuple[bytes, bytes]) -> bytes:
    """A call that is answered by its end alone."""
    return headers((b":status", b"200"), (b"content-type", b"application/grpc"), *fields, end=True)


BROKEN: dict[str, Behave] = {
    "closes": lambda call: call.sock.close(),
    "resets": lambda call: call.reset(),
    "garbage": then_closes(b"\x00\xff" * 1000),
    "text": then_closes(b"garbage\r\n" * 20),
    "HTTP/1.1": then_closes(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "another protocol": then_closes(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a frame that is too large": then_closes(b"\xff\xff\xff\0\0\0\0\0\1" + b"x" * 100),
    "fields that are garbage": then_closes(frame(HEADERS, END_HEADERS, ITS_OWN, b"\xff" * 50)),
    "cut in the head": then_closes(HEAD[:12]),
    "cut in a message by a close": then_closes(HALF),
    "cut in a message by a reset": then_resets(HALF),
    "cut in a message by its end": sends(HEAD + sent(message(REPLY, 1000), end=True)),
    "cut in a message by a reset of the stream": sends(HALF + reset_stream(2)),
    "cancelled by the server": sends(HALF + reset_stream(8)),
    "refused by the server": sends(reset_stream(7)),
    "goes away": then_closes(frame(GOAWAY, 0, 0, struct.pack(">II", 1, 2))),
    "no status": sends(only()),
    "a status that is no number": sends(only((b"grpc-status", b"banana"))),
    "a page": sends(
        headers((b":status", b"503"), (b"content-type", b"text/html")) + sent(b"<h1>no</h1>", end=True)
    ),
    "compressed in no known way": sends(HEAD + sent(b"\1\0\0\0\4abcd") + trailers(b"0")),
    "larger than may be": sends(HEAD + sent(message(b"1" * 30_000, MOST_BYTES + 1))),
    "as large as can be said": sends(HEAD + sent(message(b"1" * 30_000, 2**32 - 1))),
}
UNARY = {
    "half a message that ends well": sends(HALF + trailers(b"0")),
    "no message": sends(HEAD + trailers(b"0")),
    "two messages": sends(HEAD + sent(message(REPLY)) + sent(message(REPLY)) + trailers(b"0")),
}


@pytest.mark.parametrize("what", [*BROKEN, *UNARY])
def test_what_is_no_reply_is_a_bad_gateway(
    client: Client, server: RawRpcServer, shared_gateway: Gateway, what: str
) -> None:
    """UNAVAILABLE with a problem document, not at the deadline, without a word of what the server said."""
    server.behave = (BROKEN | UNARY)[what]

    def attempt() -> float:
        began = time.monotonic()
        name = f"{what.replace(' ', '-').replace('/', '-')}-{server.calls}"
        call = client.call(infer(), ("x-request-id", name))
        took_s = time.monotonic() - began
        assert call.code() is CODE.UNAVAILABLE, (call.code(), call.details())
        words = "too large" if "as" in what.split() or "larger" in what else "no whole reply"
        assert words in call.details()
        assert b'"status":502' in dict(call.trailing_metadata())["maas-problem-bin"]
        assert last_logged(shared_gateway, name)["outcome"] == "bad_gateway"
        return took_s

    in_time(attempt, 1.0)


@pytest.mark.parametrize("what", BROKEN)
def test_a_stream_that_breaks_off_upstream_tells_its_caller(
    client: Client, server: RawRpcServer, what: str
) -> None:
    """Whatever came before it has passed; then an error as a message, and the caller's stream goes on; or, as it asked for
    that, its end as UNAVAILABLE.
    """
    first = HEAD + sent(message(streamed(REPLY)))
    broken = BROKEN[what]
    for real_status in ("false", "true"):
        passed = threading.Event()

        def one_then_broken(call: RawCall, passed: threading.Event = passed) -> None:
            call.send(first)
            passed.wait(PATIENT_S)
            broken(_WithoutHead(call))

        server.behave = one_then_broken
        talk = client.channel.stream_stream(SERVICE + "ModelStreamInfer")(
            iter((infer(id="mine"),)),
            metadata=(("authorization", f"Bearer {APP}"), ("triton_grpc_error", real_status)),
            timeout=PATIENT_S,
        )
        heard = [service_pb2.ModelStreamInferResponse.FromString(next(talk))]
        passed.set()
        with contextlib.suppress(grpc.RpcError):
            heard.extend(map(service_pb2.ModelStreamInferResponse.FromString, talk))
        assert talk.code() is (CODE.UNAVAILABLE if real_status == "true" else CODE.OK)
        assert heard[0].infer_response.model_version == "1"
        if real_status == "false":
            assert len(heard) == 2
            assert heard[1].infer_response.id == "mine"
            assert "The model's server sent" in heard[1].error_message


class _WithoutHead(RawCall):
    """A call whose head has been answered already."""

    def __init__(self, call: RawCall) -> None:
        super().__init__(call.sock, call.stream)

    def send(self, data: bytes) -> None:
        super().send(data.removeprefix(HEAD))


WORDS = (
    (b"3", CODE.INVALID_ARGUMENT, "model_refused"),
    (b"5", CODE.NOT_FOUND, "model_refused"),
    (b"8", CODE.RESOURCE_EXHAUSTED, "model_refused"),
    (b"13", CODE.INTERNAL, "model_failed"),
    (b"14", CODE.UNAVAILABLE, "model_failed"),
)


@pytest.mark.parametrize(("number", "code", "outcome"), WORDS)
def test_an_error_without_anything_before_it_is_the_servers_own(
    client: Client,
    server: RawRpcServer,
    shared_gateway: Gateway,
    number: bytes,
    code: grpc.StatusCode,
    outcome: str,
) -> None:
    """Trailers alone: its code and its words pass, in a call and in a stream."""
    server.behave = sends(only((b"grpc-status", number), (b"grpc-message", b"so says the model %C3%BC")))
    call = client.call(infer(), ("x-request-id", f"own-{code.name}"))
    assert (call.code(), call.details()) == (code, "so says the model ü")
    assert last_logged(shared_gateway, f"own-{code.name}")["outcome"] == outcome
    talk = client.channel.stream_stream(SERVICE + "ModelStreamInfer")(
        iter((infer(id="mine"),)),
        metadata=(("authorization", f"Bearer {APP}"), ("triton_grpc_error", "true")),
        timeout=PATIENT_S,
    )
    with pytest.raises(grpc.RpcError) as error:
        list(talk)
    assert (error.value.code(), error.value.details()) == (code, "so says the model ü")


def test_messages_of_a_stream_that_are_none_pass_as_they_are(client: Client, server: RawRpcServer) -> None:
    """Nobody decodes them but the caller; what looks like an error and is none breaks nothing."""
    odd = [b"\x0a\xff", written(1, b"\xff\xfe"), b"\x0a", b"\xff"]
    for first in odd:
        server.behave = sends(HEAD, *(sent(message(each)) for each in (first, *odd)), trailers(b"0"))
        talk = client.channel.stream_stream(SERVICE + "ModelStreamInfer")(
            iter((infer(),)), metadata=(("authorization", f"Bearer {APP}"),), timeout=PATIENT_S
        )
        assert list(talk) == [first, *odd]


HASTY = infer(id="mine", parameters={"timeout": service_pb2.InferParameter(int64_param=1_000_000)})
"""A request with a deadline of one second."""


def drip(call: RawCall) -> None:
    """A byte now and then, for longer than anybody waits."""
    call.send(HEAD + sent(message(b"", 1000)))
    for _ in range(15):
        call.send(sent(b"x"))
        time.sleep(0.1)


SILENT: dict[str, Behave] = {
    "says nothing": lambda call: None,
    "answers the head alone": sends(HEAD),
    "sends half a message": sends(HALF),
    "drips": drip,
}


@pytest.mark.parametrize("what", SILENT)
def test_a_server_that_does_not_come_to_an_end_is_given_up_at_the_deadline(
    client: Client, server: RawRpcServer, shared_gateway: Gateway, what: str
) -> None:
    """DEADLINE_EXCEEDED within 50 ms of it, and the server is told."""
    server.behave = SILENT[what]

    def attempt() -> float:
        name = f"{what.replace(' ', '-')}-{server.calls}"
        began = time.monotonic()
        call = client.call(HASTY, ("x-request-id", name), timeout=PATIENT_S)
        took_s = time.monotonic() - began
        assert call.code() is CODE.DEADLINE_EXCEEDED, (call.code(), call.details())
        assert last_logged(shared_gateway, name)["outcome"] == "deadline"
        return abs(took_s - 1.0)

    in_time(attempt, 0.05)


def test_a_stream_that_falls_silent_upstream_is_given_up_too(client: Client, server: RawRpcServer) -> None:
    """With the words of a deadline, whatever passed before it."""
    server.behave = sends(HEAD + sent(message(streamed(REPLY))) * 3)
    open_stream = client.channel.stream_stream(SERVICE + "ModelStreamInfer")
    metadata = (("authorization", f"Bearer {APP}"),)
    for talk in [open_stream(iter((HASTY,)), metadata=metadata, timeout=PATIENT_S) for _ in range(6)]:
        *passed, last = map(service_pb2.ModelStreamInferResponse.FromString, talk)
        assert "within the request's deadline" in last.error_message
        assert len(passed) == 3


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 100])
def test_a_server_that_speaks_no_http2_takes_no_call(
    client: Client, server: RawRpcServer, shared_gateway: Gateway, greeting: bytes
) -> None:
    """Silent or talkative, it is as one whose port is closed: UNAVAILABLE within the time to connect, no call is sent."""
    # The connection that stands is of a server that spoke well: it goes with this call.
    server.behave = lambda call: call.sock.close()
    client.call(infer())
    server.renew()
    server.greet = lambda call: call.send(greeting) if greeting else call.until_closed()

    def attempt() -> float:
        began = time.monotonic()
        call = client.call(infer())
        assert call.code() is CODE.UNAVAILABLE, (call.code(), call.details())
        assert "not loaded on any ready server" in call.details()
        return time.monotonic() - began

    in_time(attempt, 2.0)
    assert not server.calls


def test_settings_behind_the_first_call_are_no_fault(client: Client, server: RawRpcServer) -> None:
    """A server may change its mind, and acknowledge late."""
    server.behave = sends(
        frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535)), HEAD, sent(message(REPLY)), trailers(b"0")
    )
    call = client.call(infer())
    assert (call.code(), call.result()) == (CODE.OK, REPLY)
