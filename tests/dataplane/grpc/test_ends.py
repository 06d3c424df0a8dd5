"""How calls end that do not end well, and how a gateway that serves gRPC ends."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from loadtests.processes import free_port
from tests.dataplane.grpc.conftest import (
    SERVICE,
    Asked,
    Client,
    RpcServer,
    expiring,
    infer,
    last_logged,
    reply_of,
    rpc_document,
)
from tests.dataplane.grpc.frames import PREFACE, SETTINGS, RawCall, frame, headers, message, sent
from tests.dataplane.raw import until_answered
from tests.gateway_process import APP, Gateway, running, wait_for
from tests.patience import PATIENT_S

CODE = grpc.StatusCode


@pytest.fixture
def pair() -> Iterator[tuple[RpcServer, RpcServer]]:
    """Two servers to stop."""
    servers = RpcServer(), RpcServer()
    yield servers
    for server in servers:
        server.close()


def hang(asked: Asked) -> bytes:
    """Say nothing until the call ends."""
    asked.ended.wait(PATIENT_S)
    return b""


def test_a_server_that_dies_under_a_call_is_a_bad_gateway(tmp_path: Path) -> None:
    """UNAVAILABLE to the caller, counted as the server's fault; the next server on that port is found."""
    server = RpcServer()
    with running(tmp_path, rpc_document(server), INFERENCE__GRPC_PORT=free_port()) as gateway:
        until_answered(gateway.address)
        client = Client(gateway)
        server.behave = hang
        call = client.start(infer(), ("x-request-id", "died"))
        wait_for(lambda: server.asked, what="the server to be asked")
        server.stop_rpc()
        assert call.exception(PATIENT_S).code() is CODE.UNAVAILABLE
        assert last_logged(gateway, "died")["outcome"] == "bad_gateway"
        refused = client.call(infer())
        assert refused.code() is CODE.UNAVAILABLE
        assert "not loaded on any ready server" in refused.details()
    server.close()


def test_a_server_without_its_grpc_port_is_passed_over(
    pair: tuple[RpcServer, RpcServer], tmp_path: Path
) -> None:
    """Calls go to the other one, and over HTTP to both."""
    with running(tmp_path, rpc_document(*pair), INFERENCE__GRPC_PORT=free_port()) as gateway:
        until_answered(gateway.address)
        client = Client(gateway)

        def both_asked() -> bool:
            reply_of(client.call(infer()))
            return all(server.asked for server in pair)

        wait_for(both_asked, what="both to be ready and asked")
        pair[0].stop_rpc()
        for _ in range(10):
            reply_of(client.call(infer()))


def test_a_version_that_is_unloaded_meanwhile_is_asked_for_elsewhere(
    pair: tuple[RpcServer, RpcServer], tmp_path: Path
) -> None:
    """The server that has lost it has computed nothing."""

    def lost(asked: Asked) -> bytes:
        asked.context.abort(CODE.NOT_FOUND, "Request for unknown model: 'm' version 1 is not found")
        raise AssertionError

    pair[0].behave = lost
    with running(tmp_path, rpc_document(*pair), INFERENCE__GRPC_PORT=free_port()) as gateway:
        until_answered(gateway.address)
        client = Client(gateway)

        def asked_first() -> bool:
            reply_of(client.call(infer()))
            return bool(pair[0].asked)

        wait_for(asked_first, what="the one that has lost it to be asked")


def test_a_key_that_expires_under_a_call_ends_it(tmp_path: Path) -> None:
    """Within a second or two, and the server sees the call end."""
    server = RpcServer()
    with expiring(tmp_path, server) as (gateway, until):
        server.behave = hang
        call = Client(gateway).start(infer(), key="soon", timeout=PATIENT_S)
        assert call.exception(PATIENT_S).code() is CODE.UNAUTHENTICATED
        assert "meanwhile" in call.details()
        assert time.time() >= until
        assert server.asked[0].ended.wait(PATIENT_S)
    server.close()


def test_a_drain_finishes_what_is_under_way(tmp_path: Path) -> None:
    """Health says NOT_SERVING, the call that runs ends well, a new one is refused, and the gateway ends with 0."""
    server = RpcServer()
    with running(
        tmp_path, rpc_document(server), INFERENCE__GRPC_PORT=free_port(), INFERENCE__DRAIN_NOTICE_S=1
    ) as gateway:
        until_answered(gateway.address)
        client = Client(gateway)
        release = threading.Event()

        def slow(asked: Asked) -> bytes:
            release.wait(PATIENT_S)
            return b""

        server.behave = slow
        watching = client.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
        assert next(watching) == b"\x08\x01"
        call = client.start(infer())
        wait_for(lambda: server.asked, what="the server to be asked")
        gateway.signal(signal.SIGTERM)
        assert list(watching) == [b"\x08\x02"]
        release.set()
        assert call.result(PATIENT_S) == b""
        assert gateway.wait(20) == 0
        assert client.call(infer(), timeout=2).code() in (CODE.UNAVAILABLE, CODE.DEADLINE_EXCEEDED)
    server.close()


def test_a_port_that_is_taken_is_said_by_its_setting(tmp_path: Path) -> None:
    """Nothing starts."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for workers in (1, 2):
            gateway = Gateway(tmp_path, None, INFERENCE__GRPC_PORT=port, WORKERS=workers)
            with pytest.raises(AssertionError, match=f"inference.grpc_port {port}"):
                gateway.start()
            gateway.stop()


def test_all_workers_of_a_host_serve_the_port(tmp_path: Path) -> None:
    """Connections are spread over them."""
    server = RpcServer()
    with running(tmp_path, rpc_document(server), INFERENCE__GRPC_PORT=free_port(), WORKERS=2) as gateway:
        until_answered(gateway.address)
        wait_for(lambda: len(gateway.workers()) == 2, 20, "two workers")

        def served_by_both() -> bool:
            for _ in range(8):
                client = Client(gateway)
                reply_of(client.call(infer()))
                client.channel.close()
            # Each worker has a connection of its own.
            return len({each.context.peer() for each in server.asked}) > 1

        wait_for(served_by_both, 30, "both workers to call the server")
    server.close()


def test_a_timeout_that_is_absurd_is_clamped(shared_rpc_gateway: Gateway, server: RpcServer) -> None:
    """The gateway's own limits hold then; one that is garbage is refused. Either way it goes on serving."""
    port = int(str(shared_rpc_gateway.settings["INFERENCE__GRPC_PORT"]))
    for timeout in (b"banana", b"-1S", b"99999999999H", b"99999999H", b""):
        server.renew()
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENT_S) as sock:
            call = RawCall(sock, stream=1)
            call.send(
                PREFACE
                + frame(SETTINGS, 0, 0)
                + headers(
                    (b":method", b"POST"),
                    (b":scheme", b"http"),
                    (b":path", (SERVICE + "ModelInfer").encode()),
                    (b":authority", b"x"),
                    (b"te", b"trailers"),
                    (b"content-type", b"application/grpc"),
                    (b"grpc-timeout", timeout),
                    (b"x-api-key", APP.encode()),
                )
                + sent(message(infer()), end=True)
            )
            sock.settimeout(PATIENT_S)
            data = b""
            while b"grpc-status" not in data and (piece := sock.recv(65536)):
                data += piece
        for asked in server.asked:
            assert 0 < asked.remaining_s < 301
    client = Client(shared_rpc_gateway)
    reply_of(client.call(infer()))
    client.channel.close()


def test_metadata_beyond_its_limit_is_refused(client: Client, server: RpcServer) -> None:
    """A megabyte of it, or some that is just too much, by whoever has heard of the limit; before that, a client may lose its connection."""
    reply_of(client.call(infer()))
    server.asked.clear()
    for size in (1_000_000, 70_000) * 20:
        assert client.call(infer(), ("x-large", "a" * size)).code() is CODE.RESOURCE_EXHAUSTED
    assert not server.asked


def test_messages_of_strangers_are_not_read(shared_rpc_gateway: Gateway, server: RpcServer) -> None:
    """Who has no valid credential cannot make the gateway hold what it sends."""
    large = infer(raw_input_contents=[b"\0" * (20 * 1024 * 1024)])
    with shared_rpc_gateway.memory_growth() as growth:
        clients = [Client(shared_rpc_gateway) for _ in range(20)]
        calls = [client.start(large, key="nobody", timeout=PATIENT_S) for client in clients]
        for call in calls:
            assert call.exception(PATIENT_S).code() is CODE.UNAUTHENTICATED
        # They send twice that.
        assert growth() < 200 * 1024 * 1024
    for client in clients:
        client.channel.close()
    assert not server.asked


@pytest.mark.parametrize(
    ("alias", "malformed", "code"),
    [("a", b"", CODE.OK), ("nowhere", b"", CODE.NOT_FOUND), ("a", b"\0", CODE.INVALID_ARGUMENT)],
)
def test_messages_are_gone_with_their_call(
    alias: str,
    malformed: bytes,
    code: grpc.StatusCode,
    client: Client,
    server: RpcServer,
    shared_rpc_gateway: Gateway,
) -> None:
    """A hundred large messages, answered or refused one after the other, take the memory of a few: none waits for the collector."""
    large = infer(alias, raw_input_contents=[bytes(4 * 1024 * 1024)]) + malformed
    assert client.call(large).code() is code
    with shared_rpc_gateway.memory_growth() as growth:
        for _ in range(100):
            assert client.call(large).code() is code
            server.asked.clear()
        assert growth() < 120 * 1024 * 1024


@pytest.mark.parametrize("served", [True, False])
def test_a_worker_at_rest_stays_small(served: bool, server: RpcServer, tmp_path: Path) -> None:
    """Below 80 MiB, with gRPC and without, for which grpcio is not loaded."""
    with running(
        tmp_path, rpc_document(server), INFERENCE__GRPC_PORT=free_port() if served else 0
    ) as gateway:
        until_answered(gateway.address)
        assert gateway.rss_bytes() < 80 * 1024 * 1024
        assert "cygrpc" not in Path(f"/proc/{gateway.pid}/maps").read_text()
