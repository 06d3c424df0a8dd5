"""Callers who are slow, idle or too many, on a gateway with short limits; the waits of all tests run side by side."""

import contextlib
import math
import socket
import time
from collections.abc import Iterator

import pytest

from tests.dataplane.raw import RawClient, ask, expect_problem, request, until_answered
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import Gateway, document, running, wait_for
from tests.patience import PATIENT_S, in_time

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Upstream]]:
    """A gateway that waits 2 s for a head and keeps idle connections for 6 s, ten at most."""
    upstream = Upstream()
    folder = tmp_path_factory.mktemp("hasty")
    with running(
        folder,
        document(upstream.url),
        INFERENCE__HEAD_TIMEOUT_S=2,
        INFERENCE__IDLE_TIMEOUT_S=6,
        INFERENCE__MAX_CONNECTIONS=10,
    ) as gateway:
        until_answered(gateway.address)
        yield gateway, upstream
    upstream.close()


def test_slow_heads_and_idle_connections_are_ended(hasty: tuple[Gateway, Upstream]) -> None:
    """A head that drips is 408, an idle connection ends unanswered, a head behind a pause has its full time."""
    gateway, _ = hasty
    head = request()

    def drip() -> float:
        """How long it takes until a head that comes a byte at a time is answered."""
        with RawClient(gateway.address) as slow:
            began = time.monotonic()
            slow.send(head[:1])
            answered = 0.0
            slow.sock.settimeout(0.1)
            for step in range(1, len(head) - 1):
                with contextlib.suppress(TimeoutError):
                    assert slow.sock.recv(1, socket.MSG_PEEK)
                    answered = time.monotonic() - began
                    break
                slow.send(head[step : step + 1])
            slow.sock.settimeout(PATIENT_S)
            expect_problem(slow.reply(), 408)
            assert slow.ended()
            assert answered > 1.9
            return answered

    def return_late() -> float:
        """A silence longer than a head may take, then a head in two pieces more than a second apart: how long both took."""
        with RawClient(gateway.address) as returning:
            returning.send(request())
            assert returning.reply().status == 200
            time.sleep(3)
            began = time.monotonic()
            returning.send(head[:40])
            time.sleep(1.2)
            returning.send(head[40:])
            took = time.monotonic() - began
            with contextlib.suppress(EOFError, ConnectionResetError):
                status = returning.reply().status
                assert status == 200 or took > 1.8
                return took
            return math.inf

    with RawClient(gateway.address) as idle, RawClient(gateway.address) as used:
        used.send(request())
        assert used.reply().status == 200
        # Within its 2 s.
        in_time(return_late, 1.8)
        assert idle.ended()
        assert used.ended()
    in_time(drip, 3.1)
    wait_for(lambda: 408 in [line["status"] for line in gateway.access_log()], what="the access log")


def test_connections_over_the_limit_are_closed(hasty: tuple[Gateway, Upstream]) -> None:
    """Those that stand go on; when they go, new ones are taken."""
    gateway, _ = hasty
    clients: list[RawClient] = []

    def ten() -> bool:
        """Ten are open; those of the test before may be closed only now."""
        clients[:] = [RawClient(gateway.address) for _ in range(10)]
        for client in clients:
            client.send(request())
        try:
            return all(client.reply().status == 200 for client in clients)
        except (EOFError, ConnectionResetError):
            for client in clients:
                client.sock.close()
            return False

    wait_for(ten, what="ten connections")
    with RawClient(gateway.address) as extra:
        assert extra.ended()
    clients[0].send(request())
    assert clients[0].reply().status == 200
    for client in clients:
        client.sock.close()
    until_answered(gateway.address)


def test_a_body_below_the_minimum_rate_is_ended(hasty: tuple[Gateway, Upstream]) -> None:
    """408 once a window (here the 2 s of the head) has passed; the call upstream is cancelled."""
    gateway, upstream = hasty
    cut: list[float] = []

    def behave(talk: Talk) -> None:
        try:
            talk.answer()
        except OSError:
            cut.append(time.monotonic())
            raise

    upstream.behave = behave
    with RawClient(gateway.address) as client, RawClient(gateway.address) as early:
        client.send(request(body=b"", length=False, headers=b"Content-Length: 900000\r\n"), b"a" * 200_000)
        # A refused request whose body drips ends as well, before the body is whole or for its slowness.
        early.send(
            request("/v2/models/nosuch/infer", body=b"", length=False, headers=b"Content-Length: 9\r\n")
        )
        refused = early.reply()
        expect_problem(refused, 408 if refused.status == 408 else 404)
        assert early.ended()
        began = time.monotonic()
        client.sock.settimeout(0.1)
        while time.monotonic() - began < 30:
            client.send(b"a")
            try:
                if client.sock.recv(1, 2):
                    break
            except TimeoutError:
                continue
        # The whole body would take more than a day, and its call has 30 s.
        expect_problem(client.reply(), 408)
        assert time.monotonic() - began < 20
    wait_for(lambda: cut, what="the call upstream to be cut off")
    upstream.behave = Talk.answer
    assert ask(gateway.address, request()).status == 200
