"""A worker that ends says so to the control plane, and what it could not report is reported by a later one."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from gateway.app.data import open_worker
from gateway.dataplane import worker as module
from gateway.dataplane.worker import Worker
from gateway.reports import Report, UsageReport
from gateway.settings import Inference, Settings
from gateway.settings.shape import Control
from tests.patience import PATIENT_S

_LIMIT_S = 0.2


@contextmanager
def _control_plane(
    asked: list[str], *, answers_reports: bool, reports: dict[str, list[Report]] | None = None
) -> Iterator[str]:
    """The URL of one that notes the methods of requests, and `reports` by their path; a slow one answers no report."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append("report")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if reports is not None:
                reports.setdefault(self.path, []).append(msgspec.json.decode(body, type=Report))
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


def _worker(folder: Path, control_url: str, number: int = 0) -> Worker:
    settings = Settings(
        data_dir=folder, role="data", control=Control(url=control_url), inference=Inference(grpc_port=0)
    )
    return open_worker(settings, b"of a test, and long enough for a secret", number)


async def _worker_ends(folder: Path, control_url: str, *, connected: bool = True, calls: int = 0) -> None:
    worker = _worker(folder, control_url)
    worker.feed.connected = connected
    if calls:
        used = UsageReport("app:a", "x", "m", 1, 1000.0, calls)
        worker.plane.recorder.usage._cells["app:a", "x", "m", 1, 0] = used
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


@pytest.mark.parametrize("connected", [True, False], ids=["that does not answer", "that is away"])
def test_calls_that_could_not_be_reported_are_reported_by_a_later_worker(
    connected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, under the name of the worker that served them, which is then said to have ended."""
    monkeypatch.setattr(module, "_LAST_REPORTS_S", _LIMIT_S)
    with _control_plane([], answers_reports=False) as url:
        asyncio.run(_worker_ends(tmp_path, url, connected=connected, calls=3))
    asked: list[str] = []
    reports: dict[str, list[Report]] = {}

    async def serve(url: str) -> None:
        worker = _worker(tmp_path, url, number=1)
        worker.feed.connected = True
        async with asyncio.timeout(PATIENT_S):
            reporting = asyncio.create_task(worker._report())
            while len(reports) < 2:
                await asyncio.sleep(0.01)
        reporting.cancel()
        await worker.stop(0.0)

    with _control_plane(asked, answers_reports=True, reports=reports) as url:
        asyncio.run(serve(url))
    usage = [[each.usage for each in of if each.usage and each.usage.rows] for of in reports.values()]
    (batch,), own = usage
    assert [(row.principal, row.requests) for row in batch.rows] == [("app:a", 3)]
    assert own == []
    assert asked[:3] == ["report", "farewell", "report"]
