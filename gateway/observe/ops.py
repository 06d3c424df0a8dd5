"""Health and metrics of a process that has no control plane of its own, for probes and Prometheus."""

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

_TEXT = "text/plain; charset=utf-8"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Probes are not worth a line each."""


def serve_ops(
    host: str,
    port: int,
    health: Callable[[], tuple[bool, str]],
    metrics: Callable[[str], tuple[bytes, str]],
) -> Callable[[], None]:
    """Serve `/metrics`, `/health/live` and `/health/ready` from a thread. Returns what stops it. Raises `OSError`.

    `health` tells whether requests can be served, and what people may want to know of it; `metrics` renders them for an
    `Accept` value.
    """

    def answer(
        environ: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], object]
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            body, kind = metrics(environ.get("HTTP_ACCEPT", ""))
            start("200 OK", [("Content-Type", kind)])
            return [body]
        ready, text = health() if path == "/health/ready" else (True, "")
        known = path in ("/health/live", "/health/ready")
        status = "404 Not Found" if not known else "200 OK" if ready else "503 Service Unavailable"
        start(status, [("Content-Type", _TEXT)])
        first = "ok" if known and ready else status
        return [f"{first}\n{text}\n".encode() if text else f"{first}\n".encode()]

    server = make_server(host, port, answer, server_class=_Server, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="ops", daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop
