"""A control plane that serves nothing but snapshots, in whatever state a test wants them."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeControl:
    """Long polls like the real one: an answer when there is another version than the worker has seen."""

    def __init__(self) -> None:
        self.snapshot = b""
        self.version = 0
        self.polls = 0
        self._news = threading.Condition()
        control = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                control.polls += 1
                query = dict(part.split("=") for part in self.path.partition("?")[2].split("&"))
                after = int(query["after"])
                with control._news:
                    control._news.wait_for(lambda: control.version != after, timeout=5)
                    news = control.version != after
                    body = control.snapshot if news else b""
                self.send_response(200 if news else 204)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A worker that is gone is no error."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def publish(self, data: bytes, version: int) -> None:
        """Have every worker told."""
        with self._news:
            self.snapshot, self.version = data, version
            self._news.notify_all()

    def close(self) -> None:
        """Be gone."""
        self._server.shutdown()
        self._server.server_close()
