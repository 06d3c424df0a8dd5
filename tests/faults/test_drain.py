"""SIGTERM: not ready first, then everything under way is finished, then exit status 0."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dataplane.raw import RawClient, ask, chunked, expect_problem, request, until_answered
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import Gateway, document, running, wait_for
from tests.supervisor.callers import Callers

pytestmark = pytest.mark.slow

READY = request("/v2/health/ready", method="GET")


@pytest.fixture
def leaving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Gateway, Upstream]]:
    """A gateway that gives notice of two seconds and finishes what takes no longer than a minute, or as a test has it."""
    upstream = Upstream()
    notice_s, limit_s = getattr(request, "param", (2, 60))
    with running(
        tmp_path, document(upstream.url), INFERENCE__DRAIN_NOTICE_S=notice_s, INFERENCE__DRAIN_LIMIT_S=limit_s
    ) as gateway:
        until_answered(gateway.address)
        yield gateway, upstream
    upstream.close()


@pytest.mark.parametrize("leaving", [(5, 60)], indirect=True)
def test_a_drain_loses_nothing(leaving: tuple[Gateway, Upstream]) -> None:
    """During the notice new callers are served while readiness says no; a call under way gets its reply; exit 0."""
    gateway, upstream = leaving
    go = threading.Event()

    def behave(talk: Talk) -> None:
        talk.take_body()
        if b"slow" in talk.body:
            assert go.wait(60)
        talk.answer()

    upstream.behave = behave
    assert ask(gateway.address, READY).status == 200
    with RawClient(gateway.address) as slow, RawClient(gateway.address) as idle:
        slow.send(request(body=b"slow"))
        idle.send(request())
        assert idle.reply().status == 200
        gateway.signal(signal.SIGTERM)
        wait_for(lambda: ask(gateway.address, READY).status == 503, what="the notice")
        expect_problem(ask(gateway.address, READY), 503)
        assert ask(gateway.address, request("/v2/health/live", method="GET")).status == 200
        assert ask(gateway.address, request()).status == 200
        assert idle.ended()
        with pytest.raises(ConnectionRefusedError):
            ask(gateway.address, READY)
        assert gateway.exit_status is None
        go.set()
        reply = slow.reply()
        assert (reply.status, reply.body) == (200, b'{"outputs":[]}')
        assert slow.ended()
    assert gateway.wait() == 0


def test_a_drain_under_load_fails_no_call(leaving: tuple[Gateway, Upstream]) -> None:
    """Callers that heed `Connection: close`, and go on until nobody listens, see no error."""
    gateway, _ = leaving
    with Callers(gateway.address, 8) as callers:
        callers.go_on(100)
        gateway.signal(signal.SIGTERM)
        assert gateway.wait(20) == 0
        wait_for(lambda: callers.gone_home, 20, "the callers to go home")
    assert callers.failures == []


@pytest.mark.parametrize("leaving", [(2, 3)], indirect=True)
def test_a_call_that_outlasts_the_limit_does_not_hold_the_process(leaving: tuple[Gateway, Upstream]) -> None:
    """After the limit it is cut off and the process ends, with status 0."""
    gateway, upstream = leaving
    upstream.behave = lambda talk: talk.take_then_hang(60)
    with RawClient(gateway.address) as client:
        client.send(request())
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0
        # The call has 30 s, and its server a minute.
        assert 4.5 < time.monotonic() - began < 15


def test_a_stream_under_way_is_finished(leaving: tuple[Gateway, Upstream]) -> None:
    """Events that come during the drain arrive, to the last one."""
    gateway, upstream = leaving

    def behave(talk: Talk) -> None:
        talk.take_body()
        talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(20):
            talk.send(chunked(b"%02d" % number, last=b""))
            time.sleep(0.1)
        talk.send(b"0\r\n\r\n")

    upstream.behave = behave
    with RawClient(gateway.address) as client:
        client.send(request("/v2/models/a/generate_stream"))
        gateway.signal(signal.SIGTERM)
        assert client.reply().body == b"".join(b"%02d" % number for number in range(20))
    assert gateway.wait() == 0
