"""A worker that ends says so to the control plane, whatever becomes of its last reports."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway.app.data import open_worker
from gateway.dataplane import worker as module
from gateway.settings import Inference, Settings
from gateway.settings.shape import Control

_LIMIT_S = 0.2


@contextmanager
def _control_plane(asked: list[str], *, answers_reports: bool) -> Iterator[str]:
    """The URL of one that notes the methods of requests; a slow one answers no report."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append("report")
            self.rfile.read(int(self.headers["Content-Length"]))
            if not answers_reports:
                over.wait()
            self._done()

        def do_DELETE(self) -> None:
            asked.append("farewell")
            self._done()

        def _done(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()


async def _worker_ends(folder: Path, control_url: str) -> None:
    settings = Settings(
        data_dir=folder, role="data", control=Control(url=control_url), inference=Inference(grpc_port=0)
    )
    worker = open_worker(settings, b"of a test, and long enough for a secret", 0)
    worker.feed.connected = True
    await worker.stop(0.0)


@pytest.mark.parametrize("answers_reports", [True, False], ids=["in time", "too late"])
def test_the_farewell_is_said(answers_reports: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the control plane did not answer the reports before it."""
    if not answers_reports:
        monkeypatch.setattr(module, "_LAST_REPORTS_S", _LIMIT_S)
    asked: list[str] = []
    with _control_plane(asked, answers_reports=answers_reports) as url:
        asyncio.run(_worker_ends(tmp_path, url))
    assert asked[0] == "report"
    assert asked[-1] == "farewell"
