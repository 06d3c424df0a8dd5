"""A gateway that serves gRPC in front of a scripted server; each test starts with a server that answers by its name and version."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from gateway.snapshot.document import PoolEntry, SnapshotDocument, encode
from gateway.wire import written
from loadtests.processes import free_port
from tests.dataplane.raw import ask, request, until_answered
from tests.dataplane.upstream import Upstream
from tests.faults.control import FakeControl
from tests.gateway_process import APP, Gateway, changed, document, key_entry, running, wait_for

SERVICE = "/inference.GRPCInferenceService/"
MOST_BYTES = 24 * 1024 * 1024


class Asked:
    """One call that has reached the server."""

    def __init__(self, method: str, message: bytes, context: grpc.ServicerContext) -> None:
        self.method = method
        self.message = message
        self.metadata = dict(context.invocation_metadata())
        self.remaining_s: float = context.time_remaining()
        self.context = context
        self.ended = threading.Event()
        context.add_callback(self.ended.set)

    @property
    def request(self) -> Any:
        """The message, as an inference request."""
        return service_pb2.ModelInferRequest.FromString(self.message)


def answer(asked: Asked) -> bytes:
    """The name and version that were asked for."""
    request = asked.request
    made = service_pb2.ModelInferResponse(
        model_name=request.model_name, model_version=request.model_version, id=request.id
    )
    return bytes(made.SerializeToString())


def streamed(reply: bytes) -> bytes:
    """A reply as a message of a stream."""
    return written(2, reply)


class RpcServer(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Speaks gRPC as a test tells it (`behave`), and readiness over HTTP as every scripted server does."""

    def __init__(self) -> None:
        self.probed = Upstream()
        self.renew()
        self._server = grpc.server(
            ThreadPoolExecutor(32),
            options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
        )
        self._server.add_generic_rpc_handlers((self,))
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def renew(self) -> None:
        """Forget what was asked."""
        self.behave: Callable[[Asked], bytes] = answer
        self.stream: Callable[[Asked], Iterator[bytes]] = lambda asked: iter((streamed(answer(asked)),))
        self.asked: list[Asked] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = handler_call_details.method

        def handle(message: bytes, context: grpc.ServicerContext) -> bytes:
            asked = Asked(method, message, context)
            self.asked.append(asked)
            return self.behave(asked)

        def handle_stream(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            asked = Asked(method, next(messages), context)
            self.asked.append(asked)
            yield from self.stream(asked)

        if method == SERVICE + "ModelStreamInfer":
            return grpc.stream_stream_rpc_method_handler(handle_stream)
        return grpc.unary_unary_rpc_method_handler(handle)

    def close(self) -> None:
        """To the gateway, a server that was killed."""
        self._server.stop(0).wait()
        self.probed.close()

    def stop_rpc(self) -> None:
        """Nobody listens on the gRPC port any more."""
        self._server.stop(0).wait()


def rpc_document(*servers: RpcServer, **fields: Any) -> SnapshotDocument:
    """The tests' snapshot with these servers in its pool."""
    urls = tuple(server.probed.url for server in servers)
    rpc = tuple(f"grpc://127.0.0.1:{server.port}" for server in servers)
    return changed(document(*urls), pools=(PoolEntry("main", "triton", urls, rpc),), **fields)


class Client:
    """Calls of the gateway with bytes, as any gRPC library makes them."""

    def __init__(self, gateway: Gateway) -> None:
        self.target = f"127.0.0.1:{gateway.settings['INFERENCE__GRPC_PORT']}"
        self.channel = grpc.insecure_channel(
            self.target,
            options=[("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)],
        )

    def start(
        self,
        message: bytes,
        *metadata: tuple[str, str | bytes],
        method: str = SERVICE + "ModelInfer",
        key: str | None = APP,
        **options: Any,
    ) -> grpc.Future:
        """Begin a call; its result is the reply's bytes."""
        given = metadata if key is None else (("authorization", f"Bearer {key}"), *metadata)
        options.setdefault("timeout", 20)
        return self.channel.unary_unary(method).future(message, metadata=given, **options)

    def call(self, message: bytes, *metadata: tuple[str, str | bytes], **options: Any) -> grpc.Future:
        """A call that has ended, well or not."""
        call = self.start(message, *metadata, **options)
        call.exception(30)
        return call


def infer(alias: str = "a", version: str = "", **fields: Any) -> bytes:
    """An inference request."""
    made = service_pb2.ModelInferRequest(model_name=alias, model_version=version, **fields)
    return bytes(made.SerializeToString())


def reply_of(call: grpc.Future) -> Any:
    """The reply of a call that went well."""
    assert call.code() is grpc.StatusCode.OK, (call.code(), call.details())
    return service_pb2.ModelInferResponse.FromString(call.result())


@pytest.fixture(scope="session")
def shared_rpc_server() -> Iterator[RpcServer]:
    server = RpcServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def shared_rpc_gateway(
    shared_rpc_server: RpcServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("rpc")
    with running(
        folder,
        rpc_document(shared_rpc_server),
        INFERENCE__GRPC_PORT=free_port(),
        INFERENCE__MAX_BODY_BYTES=MOST_BYTES,
    ) as gateway:
        until_answered(gateway.address)
        yield gateway


@pytest.fixture
def server(shared_rpc_server: RpcServer) -> RpcServer:
    """The scripted server, as good as new."""
    shared_rpc_server.renew()
    return shared_rpc_server


@pytest.fixture
def client(shared_rpc_gateway: Gateway, server: RpcServer) -> Iterator[Client]:
    """A client of the gateway; whatever the test does to it, the next good call succeeds."""
    made = Client(shared_rpc_gateway)
    yield made
    made.channel.close()
    server.renew()
    after = Client(shared_rpc_gateway)
    reply_of(after.call(infer()))
    after.channel.close()


@contextlib.contextmanager
def expiring(folder: Path, server: RpcServer) -> Iterator[tuple[Gateway, float]]:
    """A gateway, and the moment (Unix seconds) some seconds from now at which its key `soon` expires."""
    control, found = FakeControl(), rpc_document(server)
    settings = {"INFERENCE__GRPC_PORT": free_port(), "CONTROL__URL": control.url}
    with contextlib.closing(control), running(folder, found, **settings) as gateway:
        until_answered(gateway.address)
        with_soon = request(credential=b"X-API-Key: soon\r\n")
        expires = 0.0

        def known() -> bool:
            return ask(gateway.address, with_soon).status == 200 or time.time() > expires

        # On a busy machine some seconds may be over before the key is known.
        for version in range(2, 20):
            expires = time.time() + 4 * version
            key = key_entry("soon", "app:caller", expires)
            control.publish(encode(changed(found, version=version, keys=(*found.keys, key))), version)
            wait_for(known, what="the key to be known")
            if time.time() < expires - 4:
                break
        yield gateway, expires


def last_logged(gateway: Gateway, request_id: str) -> dict[str, Any]:
    """The access log's line of a request."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = [line for line in gateway.access_log() if line["request_id"] == request_id]
        return bool(found)

    wait_for(look, 5.0, f"{request_id} in the access log")
    return found[-1]
