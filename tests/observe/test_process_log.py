"""The process's own log: its two forms, and no credential in either, whatever goes wrong."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.observe.process_log import set_up_logging
from gateway.observe.redact import Redactor
from tests.dataplane.raw import ask, request
from tests.gateway_process import ROOT, Gateway, document, running, wait_for

SECRET = "Zq8rT5xW2nVb7KdLm4Yh"
KEY = "maas_AAAAAAAA_" + "k3Y" * 16 + "x"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """What a test sets up is undone after it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks


def failing(text: str) -> None:
    """An error that was logged with its traceback."""
    try:
        try:
            raise ValueError(f"inner {text}")
        except ValueError as error:
            raise RuntimeError(f"outer {text}") from error
    except RuntimeError:
        logging.getLogger("a.b").exception(
            "it failed: %s", text, extra={"request_id": "r-1", "trace_id": "t-1"}
        )


def test_json_lines_are_objects(capsys: pytest.CaptureFixture[str]) -> None:
    """Time in UTC (RFC 3339), level, logger, message; ids and the exception where there are any."""
    set_up_logging("info", "json", Redactor())
    logging.getLogger("gateway.x").info("one\ntwo %s", "é\x00")
    failing("here")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert TIME.fullmatch(first.pop("time"))
    assert first == {"level": "info", "logger": "gateway.x", "message": "one\ntwo é\x00", "pid": os.getpid()}
    assert (second["request_id"], second["trace_id"], second["message"]) == ("r-1", "t-1", "it failed: here")
    assert "ValueError: inner here" in second["exception"]
    assert second["exception"].endswith("RuntimeError: outer here")


def test_text_is_a_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    """No message makes a second line; a traceback's lines cannot be taken for events."""
    set_up_logging("info", "text", Redactor())
    forged = "x\n2026-01-01T00:00:00.000Z INFO gateway.app: all is well\r\x1b[2J"
    logging.getLogger("gateway.x").warning("%s", forged)
    failing(forged)
    told = capsys.readouterr().err
    lines = told.splitlines()
    assert TIME.match(lines[0])
    assert " WARNING gateway.x: x\\n2026" in lines[0]
    events = [line for line in lines if TIME.match(line)]
    assert len(events) == 2
    assert all(line.startswith("    ") for line in lines if line not in events)
    assert "\x1b" not in told
    assert "\r" not in told


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_credential_is_logged(capsys: pytest.CaptureFixture[str], form: Any) -> None:
    """Not in a message, its arguments, a traceback, a chained one, a warning or an exception that nobody caught."""
    set_up_logging("debug", form, Redactor((SECRET,)))
    log = logging.getLogger("somewhere")
    failing(f"{SECRET} {KEY}")
    log.debug("headers %r", {"Authorization": f"Bearer {KEY}"})
    log.info("url %s", f"postgresql://maas:other-{SECRET}@h/d")
    log.info("stack", stack_info=True)
    warnings.warn(f"deprecated {SECRET}", stacklevel=1)
    log.info("wrong arguments %d", SECRET)
    sys.excepthook(ValueError, ValueError(SECRET), None)
    thread = threading.Thread(target=failing_thread)
    thread.start()
    thread.join()
    told = capsys.readouterr().err
    assert SECRET not in told
    assert "k3Yk3Y" not in told
    for what in (
        "it failed",
        "headers",
        "url",
        "stack",
        "deprecated",
        "cannot be written",
        "nobody caught this in",
    ):
        assert what in told, what


def failing_thread() -> None:
    """Ends with an exception that nobody catches."""
    raise ValueError(f"a thread with {SECRET}")


def test_a_long_event_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody fills the disk with one event, and what is cut off leaves no half of a credential."""
    set_up_logging("info", "text", Redactor())
    logging.getLogger("x").info("%s%s", "a" * (16 * 1024 - 40), KEY)
    logging.getLogger("x").info("%s", "b" * 5_000_000)
    told = capsys.readouterr().err
    assert len(told) < 40_000
    assert "k3Y" not in told


@pytest.mark.slow
def test_nothing_that_goes_wrong_shows_a_secret(tmp_path: Path) -> None:
    """A whole gateway at level debug: a database that refuses its password, bad keys at both ports, odd paths."""
    database, installation = "dBpA55-" + SECRET, "the installation's " + SECRET
    told = tmp_path / "gateway-all.json"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAAS_")} | {
        "PYTHONPATH": str(ROOT),
        "MAAS_DATA_DIR": str(tmp_path),
        "MAAS_SECRET": installation,
        "MAAS_DATABASE__URL": f"postgresql://maas:{database}@127.0.0.1:9/maas",
        "MAAS_INFERENCE__PORT": "0",
        "MAAS_INFERENCE__GRPC_PORT": "0",
        "MAAS_INFERENCE__DRAIN_NOTICE_S": "0.1",
        "MAAS_CONTROL__PORT": "0",
        "MAAS_POLICIES__FOLDER": str(ROOT / "policies"),
        "MAAS_LOGS__LEVEL": "debug",
        "MAAS_LOGS__FORMAT": "json",
    }
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli.main", "serve"],
            cwd=tmp_path,
            env=environ,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: told.exists() or process.poll() is not None, 30, "the gateway to start")
        found = json.loads(told.read_text())
        host, port = found["inference_url"].removeprefix("http://").split(":")
        for credential in (
            f"Authorization: Bearer {KEY}",
            f"X-API-Key: {KEY}",
            f"Authorization: Basic {SECRET}",
        ):
            ask((host, int(port)), request(credential=f"{credential}\r\n".encode()))
            name, _, value = credential.partition(": ")
            httpx.get(f"{found['control_url']}/api/v1/aliases", headers={name: value}, timeout=60)
        ask((host, int(port)), request(f"/v2/{KEY}?token={SECRET}"))
        httpx.get(f"{found['control_url']}/api/v1/{KEY}", timeout=60)
        wait_for(lambda: b"does not answer" in (tmp_path / "log").read_bytes(), 30, "the database's failure")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    everything = (tmp_path / "log").read_text() + (tmp_path / "logs" / "access.jsonl").read_text()
    assert SECRET not in everything
    assert "k3Yk3Y" not in everything
    for line in (tmp_path / "log").read_text().splitlines():
        assert {"time", "level", "logger", "message", "pid"} <= json.loads(line).keys()


@pytest.mark.slow
def test_why_it_does_not_start_shows_no_secret(tmp_path: Path) -> None:
    """A database URL that cannot be used is named without its password."""
    url = f"mysql://maas:{SECRET}@127.0.0.1/maas"
    gateway = Gateway(tmp_path, None, ROLE="control", DATABASE__URL=url, CONTROL__PORT="0")
    with pytest.raises(AssertionError, match="no database of kind"):
        gateway.start()
    assert SECRET not in gateway.log


@pytest.mark.slow
def test_the_log_is_text_unless_it_is_asked_for_json(tmp_path: Path) -> None:
    """People read it first."""
    with running(tmp_path, document()) as gateway:
        gateway.signal(signal.SIGTERM)
        assert gateway.wait(20) == 0
    assert re.search(rf"^{TIME.pattern} INFO gateway.app: inference is served at", gateway.log, re.MULTILINE)
