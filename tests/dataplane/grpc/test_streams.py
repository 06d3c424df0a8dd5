"""Streams over gRPC: each message is a call of its own, and what happens to one does not happen to the others."""

import queue
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from loadtests.processes import free_port
from tests.dataplane.grpc.conftest import (
    SERVICE,
    Asked,
    Client,
    RpcServer,
    answer,
    expiring,
    infer,
    last_logged,
    rpc_document,
    streamed,
)
from tests.dataplane.raw import until_answered
from tests.gateway_process import APP, Gateway, running, wait_for
from tests.patience import PATIENT_S

CODE = grpc.StatusCode


class Talk:
    """An open stream of a caller's."""

    def __init__(self, client: Client, *metadata: tuple[str, str], key: str = APP, **options: Any) -> None:
        self._messages: queue.Queue[bytes | None] = queue.Queue()
        call = client.channel.stream_stream(SERVICE + "ModelStreamInfer")
        options.setdefault("timeout", 60)
        given = (("authorization", f"Bearer {key}"), *metadata)
        self.call = call(iter(self._messages.get, None), metadata=given, **options)

    def say(self, *messages: bytes) -> None:
        """Send messages."""
        for message in messages:
            self._messages.put(message)

    def hear(self) -> Any:
        """The next reply."""
        return service_pb2.ModelStreamInferResponse.FromString(next(self.call))

    def end(self) -> list[bytes]:
        """Say that there is no more; what still comes."""
        self._messages.put(None)
        return list(self.call)


def numbered(count: int) -> Iterator[bytes]:
    for number in range(count):
        made = service_pb2.ModelInferResponse(model_name="m", id=str(number))
        yield streamed(made.SerializeToString())


def sequenced(sequence: int, number: int) -> bytes:
    """A request of a sequence."""
    return infer(id=str(number), parameters={"sequence_id": service_pb2.InferParameter(int64_param=sequence)})


def test_each_message_is_a_call_of_its_own(
    client: Client, server: RpcServer, shared_rpc_gateway: Gateway
) -> None:
    """With a target of its own, a line in the access log, and replies in the order of the requests."""
    talk = Talk(client)
    talk.say(infer("a", id="0"), infer("split", "2", id="1"), infer("a", id="2"))
    replies = [talk.hear().infer_response for _ in range(3)]
    assert [(reply.id, reply.model_version) for reply in replies] == [("0", "1"), ("1", "2"), ("2", "1")]
    assert talk.end() == []
    fields = dict(talk.call.initial_metadata())
    assert fields["maas-served-by"] == "m/1"
    line = last_logged(shared_rpc_gateway, fields["x-request-id"])
    assert (line["protocol"], line["operation"], line["outcome"]) == ("grpc", "stream_infer", "ok")


def test_messages_are_gone_with_their_call(
    client: Client, server: RpcServer, shared_rpc_gateway: Gateway
) -> None:
    """A hundred large messages one after the other take the memory of a few: none waits for the garbage collector."""
    large = infer(raw_input_contents=[bytes(4 * 1024 * 1024)])
    talk = Talk(client)
    with shared_rpc_gateway.memory_growth() as growth:
        for _ in range(100):
            talk.say(large)
            assert not talk.hear().error_message
            server.asked.clear()
        assert growth() < 120 * 1024 * 1024
    assert not talk.end()


def test_what_is_wrong_with_one_message_is_told_and_the_stream_goes_on(
    client: Client, server: RpcServer
) -> None:
    """Garbage, an alias that is none, and a version that is not loaded, each as an error with the request's id."""
    talk = Talk(client)
    talk.say(b"\xff", infer("none", id="x"), infer("unloaded", id="y"), infer("a", id="z"))
    assert "no message of the protocol" in talk.hear().error_message
    for request_id, words in (("x", "no alias 'none'"), ("y", "not loaded on any")):
        reply = talk.hear()
        assert words in reply.error_message
        assert reply.infer_response.id == request_id
    assert talk.hear().infer_response.id == "z"
    assert len(server.asked) == 1


def test_an_error_is_a_status_where_the_caller_asked_for_that(client: Client) -> None:
    """With the metadata `triton_grpc_error: true`."""
    talk = Talk(client, ("triton_grpc_error", "true"))
    talk.say(infer("none"))
    with pytest.raises(grpc.RpcError):
        talk.hear()
    assert talk.call.code() is CODE.NOT_FOUND
    assert "maas-problem-bin" in dict(talk.call.trailing_metadata())


def test_a_slow_request_holds_back_those_behind_it_only_until_it_is_known_to_be_decoupled(
    client: Client, server: RpcServer
) -> None:
    """Single replies keep the order of their requests; several come as they come."""
    release = threading.Event()

    def slow_first(asked: Asked) -> Iterator[bytes]:
        if asked.request.id == "slow":
            release.wait(PATIENT_S)
        yield streamed(answer(asked))

    server.stream = slow_first
    talk = Talk(client)
    talk.say(infer(id="slow"), infer(id="quick"))
    wait_for(lambda: len(server.asked) == 2, what="both to be asked at once")
    release.set()
    assert [talk.hear().infer_response.id for _ in range(2)] == ["slow", "quick"]
    server.stream = lambda asked: numbered(2)
    talk.say(infer("split", "2"))
    assert [talk.hear().infer_response.id for _ in range(2)] == ["0", "1"]
    release.clear()
    server.stream = slow_first
    talk.say(infer("split", "2", id="slow"))
    wait_for(lambda: len(server.asked) == 4, what="the slow one to be asked")
    talk.say(infer("split", "2", id="quick"))
    assert talk.hear().infer_response.id == "quick"
    release.set()
    assert talk.hear().infer_response.id == "slow"


def test_requests_of_one_sequence_go_one_after_another(client: Client, server: RpcServer) -> None:
    """The model sees them in order, also when it is slow."""
    seen: list[str] = []

    def one_at_a_time(asked: Asked) -> Iterator[bytes]:
        seen.append(asked.request.id)
        time.sleep(0.05)
        yield streamed(answer(asked))

    server.stream = one_at_a_time
    talk = Talk(client)
    talk.say(*(sequenced(7, number) for number in range(10)))
    for number in range(10):
        assert talk.hear().infer_response.id == str(number)
    assert seen == [str(number) for number in range(10)]


def test_a_caller_that_reads_nothing_holds_the_server_back(client: Client, server: RpcServer) -> None:
    """Replies are not piled up in the gateway: the server cannot send them."""
    sent = 0

    def endless(asked: Asked) -> Iterator[bytes]:
        nonlocal sent
        while sent < 2000 and not asked.ended.is_set():
            sent += 1
            yield streamed(b"\x32\x80\x80\x40" + b"\0" * (1 << 20))

    server.stream = endless
    talk = Talk(client)
    talk.say(infer())
    talk.hear()
    last = -1
    while last != sent:
        last = sent
        time.sleep(1)
    assert sent < 64
    talk.call.cancel()
    assert server.asked[0].ended.wait(PATIENT_S)


def test_a_caller_that_reads_too_late_is_told_of_its_deadline(client: Client, server: RpcServer) -> None:
    """Not that the gateway has cancelled something: replies that waited for their caller still come, then the deadline."""

    def endless(asked: Asked) -> Iterator[bytes]:
        while not asked.ended.is_set():
            yield streamed(b"\x32\x80\x80\x40" + b"\0" * (1 << 20))

    server.stream = endless
    talk = Talk(client)
    talk.say(infer(parameters={"timeout": service_pb2.InferParameter(int64_param=500_000)}))
    wait_for(lambda: server.asked and server.asked[0].ended.is_set(), what="the deadline")
    *_, last = talk.end()
    told = service_pb2.ModelStreamInferResponse.FromString(last)
    assert "within the request's deadline" in told.error_message


def test_a_caller_that_goes_cancels_what_is_under_way(client: Client, server: RpcServer) -> None:
    """The server sees it."""

    def hang(asked: Asked) -> Iterator[bytes]:
        asked.ended.wait(PATIENT_S)
        yield b""

    server.stream = hang
    talk = Talk(client)
    talk.say(infer(), infer())
    wait_for(lambda: len(server.asked) == 2, what="the server to be asked")
    talk.call.cancel()
    assert all(asked.ended.wait(PATIENT_S) for asked in server.asked)


def test_a_message_has_a_deadline_of_its_own(client: Client, server: RpcServer) -> None:
    """The protocol's parameter; without one as long as any call may take, but never beyond the stream's own."""
    talk = Talk(client, timeout=10**6)
    short = {"timeout": service_pb2.InferParameter(int64_param=9_000_000)}
    talk.say(infer(id="long"), infer(id="short", parameters=short))
    for _ in range(2):
        talk.hear()
    # Which of them reaches the server first is not said.
    remaining_s = {asked.request.id: asked.remaining_s for asked in server.asked}
    assert 200 < remaining_s["long"] < 301
    assert remaining_s["short"] < 9.1
    server.stream = lambda asked: iter((b"",) if asked.ended.wait(PATIENT_S) else ())
    talk.say(infer(parameters={"timeout": service_pb2.InferParameter(int64_param=300_000)}))
    assert "within the request's deadline" in talk.hear().error_message
    talk.call.cancel()


def test_a_key_that_expires_ends_its_streams(tmp_path: Path) -> None:
    """Idle ones, too."""
    server = RpcServer()
    with expiring(tmp_path, server) as (gateway, until):
        talk = Talk(Client(gateway), key="soon")
        talk.say(infer())
        talk.hear()
        with pytest.raises(grpc.RpcError):
            talk.hear()
        assert talk.call.code() is CODE.UNAUTHENTICATED
        assert time.time() >= until
    server.close()


def test_a_drain_ends_streams_once_what_they_asked_is_answered(tmp_path: Path) -> None:
    """With UNAVAILABLE, for the caller to open a new one elsewhere."""
    server = RpcServer()
    with running(tmp_path, rpc_document(server), INFERENCE__GRPC_PORT=free_port()) as gateway:
        until_answered(gateway.address)
        client = Client(gateway)

        def slow(asked: Asked) -> Iterator[bytes]:
            time.sleep(2)
            yield streamed(answer(asked))

        server.stream = slow
        idle, busy = Talk(client), Talk(client)
        busy.say(infer(id="mine"))
        wait_for(lambda: server.asked, what="the server to be asked")
        gateway.signal(signal.SIGTERM)
        assert busy.hear().infer_response.id == "mine"
        for talk in (idle, busy):
            with pytest.raises(grpc.RpcError):
                talk.hear()
            assert talk.call.code() is CODE.UNAVAILABLE
        assert gateway.wait(20) == 0
    server.close()


def test_streams_keep_no_message(client: Client, server: RpcServer, shared_rpc_gateway: Gateway) -> None:
    """Neither idle ones, of which there may be thousands, nor those that their callers have cut short."""
    large = infer(raw_input_contents=[bytes(4 * 1024 * 1024)])

    def hang(asked: Asked) -> Iterator[bytes]:
        asked.ended.wait(PATIENT_S)
        yield b""

    with shared_rpc_gateway.memory_growth() as growth:
        idle = [Talk(client) for _ in range(40)]
        for talk in idle:
            talk.say(large)
            talk.hear()
        server.stream = hang
        for _ in range(40):
            talk = Talk(client)
            talk.say(large)
            wait_for(lambda: not server.asked[-1].ended.is_set(), what="the server to be asked")
            talk.call.cancel()
            wait_for(server.asked[-1].ended.is_set, what="the server to see it")
        assert growth() < 100 * 1024 * 1024
    for talk in idle:
        talk.call.cancel()
