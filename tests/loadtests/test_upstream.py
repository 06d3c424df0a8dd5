"""The fixed-reply upstream for large bodies reads them to the end, and refuses what would blur the figures."""

import contextlib
import http.client
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.payloads import infer_path
from loadtests.probe import answers, ask
from loadtests.processes import free_port, running, wait_until
from loadtests.replies import READ_HEADER, infer_reply
from tests.patience import PATIENT_S

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def draining(folder: Path) -> Iterator[int]:
    """The upstream on a free port."""
    port = free_port()
    log = folder / "drain.log"
    core = min(os.sched_getaffinity(0))
    with running([sys.executable, "-m", "loadtests.drain", str(port)], core=core, log=log) as process:
        wait_until(lambda: answers(port, "/v2/health/ready"), "drain", process=process, log=log)
        yield port


def test_bodies_are_read_to_the_end_and_answered_by_version(tmp_path: Path) -> None:
    """On one kept connection: every size gets its count back, from nothing to 16 MB, and the version asked for."""
    with draining(tmp_path) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENT_S)
        for version, size in ((1, 0), (2, 1), (1, 100), (2, 1 << 20), (1, 16 << 20), (1, 7)):
            answer = ask(connection, infer_path(version), bytes(size), {})
            assert answer.status == 200
            assert answer.headers[READ_HEADER.lower()] == str(size)
            assert answer.body == infer_reply(version)
        connection.close()


def test_a_head_that_arrives_in_pieces_is_read(tmp_path: Path) -> None:
    """A request cut anywhere in its head is still one request."""
    with (
        draining(tmp_path) as port,
        socket.create_connection(("127.0.0.1", port), timeout=PATIENT_S) as plain,
    ):
        for piece in (
            b"POST ",
            infer_path(1).encode(),
            b" HTTP/1.1\r\nHost: a\r\nConte",
            b"nt-Length: 2\r\n\r",
            b"\nab",
        ):
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.sendall(piece)
        assert plain.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"501"),
        (b"POST /v2/models/other/infer HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"404"),
        (b"POST %s HTTP/1.1\r\nContent-Length: 1\r\n\r\nabc", b"400"),
    ],
)
def test_what_would_blur_the_figures_is_refused(tmp_path: Path, head: bytes, status: bytes) -> None:
    """A re-chunked body, a wrong path and bytes after the body fail loudly, and so fail the benchmark."""
    with (
        draining(tmp_path) as port,
        socket.create_connection(("127.0.0.1", port), timeout=PATIENT_S) as plain,
    ):
        plain.sendall(head.replace(b"%s", infer_path(1).encode()))
        assert plain.recv(65536).startswith(b"HTTP/1.1 " + status)
