"""A collector made of the standard library and OpenTelemetry's own messages: it takes spans over OTLP/HTTP, or misbehaves."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.gateway_process import wait_for
from tests.patience import PATIENT_S

Behave = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One export request that has arrived; its body is in `body`."""

    body = b""

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        with contextlib.suppress(OSError):
            self.collector.behave(self)

    @property
    def collector(self) -> "Collector":
        """Whom it was sent to."""
        found: Collector = self.server.collector  # type: ignore[attr-defined]
        return found

    def answer(self, status: int = 200, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """A whole reply."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def take(self) -> None:
        """Keep the spans and say so."""
        self.collector.keep(self)
        self.answer(200, b"", {"Content-Type": "application/x-protobuf"})

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


class Collector:
    """Listens on a free port. `behave` answers each request."""

    def __init__(self) -> None:
        self.renew()

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            collector = self

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A gateway that is gone is no error."""

        self._server = Server(("127.0.0.1", 0), Request)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def renew(self) -> None:
        """Forget all, and take everything from now on."""
        self.behave: Behave = Request.take
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.resources: list[Resource] = []
        self.spans: list[Span] = []

    def keep(self, request: Request) -> None:
        """Keep what a request holds; what is no OTLP request of version 1 fails here."""
        message = ExportTraceServiceRequest.FromString(request.body)
        assert message.IsInitialized()
        self.requests.append((request.path, dict(request.headers)))
        for resource in message.resource_spans:
            self.resources.append(resource.resource)
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def of(self, trace_id: str, least: int = 1, limit_s: float = PATIENT_S) -> list[Span]:
        """The spans of one trace, once there are so many."""

        def found() -> list[Span]:
            return [span for span in list(self.spans) if span.trace_id.hex() == trace_id]

        wait_for(lambda: len(found()) >= least, limit_s, f"{least} spans of {trace_id}")
        return found()

    def close(self) -> None:
        """Be gone."""
        self._server.shutdown()
        self._server.server_close()


def attributes(holder: Any) -> dict[str, Any]:
    """The attributes of a span, an event or a resource."""
    return {field.key: getattr(field.value, field.value.WhichOneof("value")) for field in holder.attributes}


def refuse(status: int, **headers: str) -> Behave:
    """A collector that answers with this status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: request.answer(status, b"no", named)


def rejecting(count: int) -> Behave:
    """A collector that takes all spans but so many (partial success)."""

    def behave(request: Request) -> None:
        reply = ExportTraceServiceResponse()
        reply.partial_success.rejected_spans = count
        request.answer(200, reply.SerializeToString())

    return behave


def hang(request: Request) -> None:
    """Take the request and say nothing."""
    with contextlib.suppress(OSError):
        request.connection.settimeout(60)
        request.connection.recv(1)


def garbage(request: Request) -> None:
    """No HTTP at all."""
    request.wfile.write(b"\x00\xff\x13garbage\r\n\r\n" * 50)
    request.connection.shutdown(socket.SHUT_RDWR)


def garbage_body(request: Request) -> None:
    """A good status, and a body that is no message."""
    request.answer(200, b"\xff" * 1000)


def endless(request: Request) -> None:
    """A body without an end."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        request.wfile.write(b"a" * 65536)


def dripping(request: Request) -> None:
    """A reply whose head takes forever."""
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
        request.wfile.write(bytes([byte]))
        time.sleep(0.2)


def endless_head(request: Request) -> None:
    """A head without an end."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        request.wfile.write(b"X-Y: " + b"a" * 65536 + b"\r\n")
