"""Quotas as callers over HTTP meet them: one gateway, one upstream."""

import contextlib
import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.snapshot.document import LimitEntry, QuotaEntry
from tests.dataplane.quota.asks import items
from tests.dataplane.raw import RawClient, Reply, ask, expect_problem, request, until_answered
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import Gateway, changed, document, running, wait_for
from tests.patience import PATIENT_S

pytestmark = pytest.mark.slow

SPLIT, SPREAD = "/v2/models/split/infer", "/v2/models/spread/infer"
POLICIES = (
    QuotaEntry(
        "calls",
        (LimitEntry("burst", "requests", 3, 3600), LimitEntry("daily", "requests", 1000, 86_400)),
        application="*",
        alias="split",
    ),
    QuotaEntry("runs", (LimitEntry("parallel", "concurrent-requests", 1),), alias="spread"),
    QuotaEntry("size", (LimitEntry("bytes", "content-bytes", 100_000, 3600, estimate=50_000),), alias="a"),
)


@pytest.fixture(scope="module")
def limited(shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with quotas."""
    shared_upstream.renew()
    found = changed(document(shared_upstream.url), quotas=POLICIES)
    with running(tmp_path_factory.mktemp("limited"), found) as gateway:
        until_answered(gateway.address)
        yield gateway


def field(reply: Reply, name: str) -> dict[str, dict[str, Any]]:
    """A field of quotas."""
    value = reply.header(name)
    return {} if value is None else items(value)


def more_talks(upstream: Upstream, than: int) -> bool:
    """Whether another call has arrived."""
    return len(upstream.talks) > than


def test_every_reply_tells_and_the_last_one_refuses(limited: Gateway, shared_upstream: Upstream) -> None:
    """What is left goes down with each call; then 429, with when to come back; reading metadata costs nothing."""
    shared_upstream.renew()
    left = []
    for _ in range(3):
        reply = ask(limited.address, request(SPLIT))
        assert reply.status == 200
        assert field(reply, "RateLimit-Policy") == {
            "calls/burst": {"q": 3, "w": 3600},
            "calls/daily": {"q": 1000, "w": 86_400},
        }
        left.append([item["r"] for item in field(reply, "RateLimit").values()])
    assert left == [[2, 999], [1, 998], [0, 997]]
    refused = ask(limited.address, request(SPLIT))
    assert "calls/burst" in expect_problem(refused, 429)
    problem = json.loads(refused.body)
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert problem["violated-policies"] == ["calls/burst"]
    told = field(refused, "RateLimit")
    assert told["calls/burst"]["r"] == 0
    assert int(refused.header("Retry-After") or 0) >= max(item["t"] for item in told.values()) > 1000
    read = ask(limited.address, request("/v2/models/split", method="GET"))
    assert (read.status, read.header("RateLimit")) == (200, None)
    wait_for(
        lambda: any(line["outcome"] == "quota_exceeded" for line in limited.access_log()), 5, "the log's line"
    )


def test_a_slot_is_free_again_once_the_reply_is_complete(limited: Gateway, shared_upstream: Upstream) -> None:
    """One at a time: a second one is refused while the first runs, and let in after it, or after its caller went."""
    shared_upstream.renew()
    shared_upstream.behave = Talk.take_then_hang
    for _ in range(2):
        talks = len(shared_upstream.talks)
        with RawClient(limited.address) as first:
            first.send(request(SPREAD))
            wait_for(partial(more_talks, shared_upstream, talks), 5, "the call to arrive")
            refused = ask(limited.address, request(SPREAD))
            expect_problem(refused, 429)
            assert field(refused, "RateLimit") == {"runs/parallel": {"r": 0}}
            assert field(refused, "RateLimit-Policy") == {
                "runs/parallel": {"q": 1, "qu": "concurrent-requests"}
            }
    shared_upstream.renew()
    wait_for(lambda: ask(limited.address, request(SPREAD)).status == 200, 5, "the slot to be free")
    for _ in range(5):
        assert ask(limited.address, request(SPREAD)).status == 200


def test_a_chunked_body_counts_for_what_it_was(limited: Gateway, shared_upstream: Upstream) -> None:
    """The estimate is reserved while it comes; then the bytes that came are what was used."""
    shared_upstream.renew()
    before = field(ask(limited.address, request(body=b"{}")), "RateLimit")["size/bytes"]["r"]
    head = request(headers=b"Transfer-Encoding: chunked\r\n", length=False, body=b"")
    chunk = b"%x\r\n%b\r\n" % (30_000, b" " * 30_000)
    reply = ask(limited.address, head + chunk + b"0\r\n\r\n")
    assert reply.status == 200
    assert math.isclose(before - field(reply, "RateLimit")["size/bytes"]["r"], 30_000, abs_tol=500)
    after = field(ask(limited.address, request(body=b"{}")), "RateLimit")["size/bytes"]["r"]
    assert math.isclose(before - after, 30_000, abs_tol=500)


def test_a_request_that_no_server_takes_gives_its_quota_back(tmp_path: Path) -> None:
    """However often a caller comes back after 503: when the servers are there again, it still has what it had."""
    upstream = Upstream()
    limits = (
        LimitEntry("daily", "requests", 5, 86_400),
        LimitEntry("bytes", "content-bytes", 5_000, 86_400),
        LimitEntry("parallel", "concurrent-requests", 2),
    )
    with running(
        tmp_path, changed(document(upstream.url), quotas=(QuotaEntry("calls", limits, alias="a"),))
    ) as gateway:
        until_answered(gateway.address, path=SPREAD)
        upstream.close()
        wait_for(
            lambda: ask(gateway.address, request(SPREAD)).status == 503, PATIENT_S, "the server to be missed"
        )
        for _ in range(10):
            reply = ask(gateway.address, request())
            expect_problem(reply, 503)
            left = {name: item["r"] for name, item in field(reply, "RateLimit").items()}
            assert left == {
                "calls/daily": 4,
                "calls/bytes": 5_000 - len(request().partition(b"\r\n\r\n")[2]),
                "calls/parallel": 1,
            }


def test_a_request_that_is_shed_gives_its_quota_back(tmp_path: Path) -> None:
    """Whether it was turned away at once or after it had waited: what was not served does not count."""
    upstream = Upstream()
    limit = QuotaEntry("calls", (LimitEntry("daily", "requests", 1000, 86_400),), alias="a")
    slots = dict.fromkeys(("ADMISSION__INITIAL_LIMIT", "ADMISSION__MIN_LIMIT", "ADMISSION__MAX_LIMIT"), 4)
    queue = {"ADMISSION__QUEUE_LENGTH": 3, "ADMISSION__QUEUE_WAIT_S": 0.3}
    found = changed(document(upstream.url), quotas=(limit,))
    with running(tmp_path, found, **slots, **queue) as gateway, contextlib.ExitStack() as open_:
        until_answered(gateway.address, path=SPREAD)
        upstream.behave = lambda talk: talk.take_then_hang(PATIENT_S)
        clients = [open_.enter_context(RawClient(gateway.address)) for _ in range(12)]
        for client in clients:
            client.send(request())
        shed = 0
        wait_for(lambda: 0 < len(upstream.talks) < 12, 5, "calls to arrive")
        # Who is not shed within the time that one may wait is being served.
        for client in clients:
            client.sock.settimeout(3)
            with contextlib.suppress(TimeoutError):
                reply = client.reply()
                expect_problem(reply, 503)
                shed += 1
        assert shed > 3
        served = 12 - shed
        upstream.renew()
        for client in clients:
            client.sock.close()
        until_answered(gateway.address)
        after = ask(gateway.address, request())
        assert 1000 - field(after, "RateLimit")["calls/daily"]["r"] == served + 2
    upstream.close()
