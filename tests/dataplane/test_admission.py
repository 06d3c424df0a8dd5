"""A gateway in front of a server that is full: who waits, who is refused, and what they are told."""

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from gateway.dataplane.concurrency.shedding import REDUCED_CAPACITY
from gateway.snapshot.document import LimitEntry, PolicyEntry, QuotaEntry
from tests.dataplane.raw import INFER, RawClient, Reply, ask, expect_problem, request, until_answered
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import APP, PINNER, Gateway, changed, document, running, wait_for
from tests.patience import in_time

pytestmark = pytest.mark.slow

SLOTS = 5
"""Four are open to all but critical-plus, three of them to one principal."""

FLOOD, OTHER = APP, PINNER
WAIT_S = 6.0
QUEUE = 4


class Counter:
    """An upstream that serves so many calls at a time, each for so long, and holds all of them while it is told to."""

    def __init__(self, upstream: Upstream) -> None:
        self.go = threading.Event()
        self.most = self.now = 0
        self._lock = threading.Lock()
        upstream.behave = self.serve

    def serve(self, talk: Talk) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        talk.take_body()
        self.go.wait(60)
        with self._lock:
            self.now -= 1
        talk.answer()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Upstream]]:
    """A gateway with a limit of five, short queues and short waits; `app:pinner` may call as critical-plus."""
    upstream = Upstream()
    found = document(upstream.url)
    policy = found.policy
    grants = (*policy.grants, ("role:pinner", "*", "*", "critical-plus", "allow"))
    limit = LimitEntry("n", "requests", 4, 3600)
    hourly = QuotaEntry("hourly", (limit,), application="app:caller", alias="split")
    found = changed(found, policy=PolicyEntry(grants, policy.roles), quotas=(hourly,))
    settings = {
        "ADMISSION__INITIAL_LIMIT": SLOTS,
        "ADMISSION__MIN_LIMIT": SLOTS,
        "ADMISSION__MAX_LIMIT": SLOTS,
        "ADMISSION__QUEUE_LENGTH": QUEUE,
        "ADMISSION__QUEUE_WAIT_S": WAIT_S,
    }
    with running(tmp_path_factory.mktemp("small"), found, **settings) as gateway:
        until_answered(gateway.address)
        yield gateway, upstream
    upstream.close()


@pytest.fixture
def full(small: tuple[Gateway, Upstream]) -> Iterator[tuple[Gateway, Counter]]:
    """The gateway with its upstream holding whatever comes."""
    gateway, upstream = small
    counter = Counter(upstream)
    yield gateway, counter
    counter.go.set()
    wait_for(lambda: metric(gateway, "maas_concurrency_in_flight") == 0, 10, "everything to end")
    upstream.renew()
    assert not upstream.errors


def metric(gateway: Gateway, name: str, labels: str = 'model="m",version="1"') -> float:
    """One metric of the gateway's, 0 where it does not stand there yet."""
    page = httpx.get(f"http://127.0.0.1:{gateway.ops_port}/metrics", trust_env=False, timeout=60).text
    found = re.search(rf"^{name}\{{{re.escape(labels)}\}} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def as_key(key: str, headers: bytes = b"", path: str = INFER) -> bytes:
    return request(path, headers=headers, credential=f"X-API-Key: {key}\r\n".encode())


def send(gateway: Gateway, key: str, count: int, headers: bytes = b"") -> list[RawClient]:
    """So many calls at once, whose replies are not read yet."""
    clients = [RawClient(gateway.address, 20) for _ in range(count)]
    for client in clients:
        client.send(as_key(key, headers))
    return clients


def hold(gateway: Gateway, key: str, count: int, headers: bytes = b"") -> list[RawClient]:
    """Calls that have their slots."""
    before = metric(gateway, "maas_concurrency_in_flight")
    clients = send(gateway, key, count, headers)
    wait_for(lambda: metric(gateway, "maas_concurrency_in_flight") == before + count, 5, "the slots")
    return clients


def replies(clients: list[RawClient]) -> list[Reply]:
    found = [client.reply() for client in clients]
    for client in clients:
        client.sock.close()
    return found


def test_a_full_version_makes_calls_wait_and_then_refuses_them(full: tuple[Gateway, Counter]) -> None:
    """503 after the longest wait, at once where as many wait as may: with Retry-After, the registered type, and no call
    upstream.
    """
    gateway, counter = full
    holders = hold(gateway, FLOOD, 3)
    began = time.monotonic()
    waiting = send(gateway, FLOOD, QUEUE)
    wait_for(lambda: metric(gateway, "maas_queue_length") == QUEUE, 5, "a full queue")
    at_once = ask(gateway.address, as_key(FLOOD), 20)
    shed = [at_once, *replies(waiting)]
    assert time.monotonic() - began >= WAIT_S * 0.9
    for reply in shed:
        detail = expect_problem(reply, 503)
        assert "Version 1 of model m" in detail
        assert json.loads(reply.body)["type"] == REDUCED_CAPACITY
        assert reply.header("Maas-Served-By") is None
    assert "as many of your calls as may wait" in json.loads(at_once.body)["detail"]
    assert counter.most == 3
    assert metric(gateway, "maas_shed_total", 'criticality="critical",reason="queue_full"') >= 1
    assert metric(gateway, "maas_shed_total", 'criticality="critical",reason="queue_timeout"') >= QUEUE
    counter.go.set()
    assert {reply.status for reply in replies(holders)} == {200}


def test_who_waited_is_served_and_the_log_says_how_long(full: tuple[Gateway, Counter]) -> None:
    """The wait is neither the gateway's own part nor the upstream's."""
    gateway, counter = full
    holders = hold(gateway, FLOOD, 3)
    waiting = send(gateway, FLOOD, 1, b"X-Request-Id: waited-1\r\n")
    wait_for(lambda: metric(gateway, "maas_queue_length") == 1, 5, "the wait")
    before = metric(gateway, "maas_queue_wait_seconds_count")
    time.sleep(0.1)
    counter.go.set()
    assert {reply.status for reply in replies(holders + waiting)} == {200}
    wait_for(
        lambda: [line for line in gateway.access_log() if line["request_id"] == "waited-1"], 5, "the log"
    )
    (line,) = [line for line in gateway.access_log() if line["request_id"] == "waited-1"]
    assert line["queued_s"] >= 0.1
    assert line["duration_s"] == pytest.approx(line["queued_s"] + line["overhead_s"] + line["upstream_s"])
    assert metric(gateway, "maas_queue_wait_seconds_count") == before + 1


def test_one_principal_never_has_all(full: tuple[Gateway, Counter]) -> None:
    """With one's calls everywhere, in flight and waiting, another's first call is served at once."""
    gateway, counter = full
    holders = hold(gateway, FLOOD, 3)
    send(gateway, FLOOD, QUEUE)
    other = hold(gateway, OTHER, 1)
    counter.go.set()
    assert {reply.status for reply in replies(other + holders)} == {200}


def test_a_fifth_is_kept_for_critical_plus(full: tuple[Gateway, Counter]) -> None:
    """With everything else taken, a call of critical-plus by who may is served at once; by who may not, refused with 403."""
    gateway, counter = full
    holders = hold(gateway, FLOOD, 3) + hold(gateway, OTHER, 1)
    first = hold(gateway, OTHER, 1, b"Maas-Criticality: critical-plus\r\n")
    refused = ask(gateway.address, as_key(FLOOD, b"Maas-Criticality: critical-plus\r\n"))
    assert "app:caller may not call alias a as critical-plus" in expect_problem(refused, 403)
    counter.go.set()
    assert {reply.status for reply in replies(first + holders)} == {200}


def test_a_criticality_that_is_none_is_refused(full: tuple[Gateway, Counter]) -> None:
    """400 with the four names, whether anything is full or not."""
    gateway, counter = full
    counter.go.set()
    detail = expect_problem(ask(gateway.address, as_key(FLOOD, b"Maas-Criticality: urgent\r\n")), 400)
    assert all(name in detail for name in ("critical-plus", "critical", "sheddable-plus", "sheddable"))


def test_the_field_never_reaches_the_model_server(small: tuple[Gateway, Upstream]) -> None:
    """It is between caller and gateway."""
    gateway, upstream = small
    upstream.renew()
    assert ask(gateway.address, as_key(FLOOD, b"Maas-Criticality: sheddable\r\n")).status == 200
    assert not [name for name, _ in upstream.talks[-1].fields if name.lower().startswith(b"maas-")]


def test_a_sheddable_call_gives_its_place_to_a_critical_one(full: tuple[Gateway, Counter]) -> None:
    """The one whose queue is full of sheddable calls still gets its critical one in."""
    gateway, counter = full
    holders = hold(gateway, FLOOD, 3)
    batch = send(gateway, FLOOD, QUEUE, b"Maas-Criticality: sheddable\r\n")
    wait_for(lambda: metric(gateway, "maas_queue_length") == QUEUE, 5, "a full queue")
    checkout = send(gateway, FLOOD, 1)
    evicted = 'criticality="sheddable",reason="evicted"'
    wait_for(lambda: metric(gateway, "maas_shed_total", evicted) >= 1, 5, "the eviction")
    counter.go.set()
    assert replies(checkout)[0].status == 200
    assert sorted(reply.status for reply in replies(batch)) == [200] * (QUEUE - 1) + [503]
    replies(holders)


def test_questions_about_a_model_are_answered_when_it_is_full(full: tuple[Gateway, Counter]) -> None:
    """Readiness and metadata take no slot: a probe does not fail because the model is busy."""
    gateway, counter = full
    holders = hold(gateway, FLOOD, 3) + hold(gateway, OTHER, 1)
    probe = RawClient(gateway.address, 20)
    probe.send(request("/v2/models/a/ready", method="GET"))
    wait_for(lambda: counter.now == 5, 5, "the probe upstream")
    counter.go.set()
    assert {reply.status for reply in replies([probe, *holders])} == {200}


def test_a_caller_who_goes_while_it_waits_makes_room(full: tuple[Gateway, Counter]) -> None:
    """Its place in the queue is free at once, and no slot is lost."""
    gateway, counter = full
    holders = hold(gateway, FLOOD, 3)
    for client in send(gateway, FLOOD, QUEUE):
        client.sock.close()
    wait_for(lambda: metric(gateway, "maas_queue_length") == 0, 5, "the queue to empty")
    counter.go.set()
    assert {reply.status for reply in replies(holders)} == {200}
    wait_for(lambda: metric(gateway, "maas_concurrency_in_flight") == 0, 5, "the slots")


def test_a_call_that_is_shed_does_not_count_against_its_quota(small: tuple[Gateway, Upstream]) -> None:
    """429 is the caller's own doing, 503 the gateway's: what was refused with 503 can be asked again."""
    gateway, upstream = small
    counter = Counter(upstream)
    split = "/v2/models/split/versions/1/infer"
    holders = hold(gateway, FLOOD, 3)
    shed = [RawClient(gateway.address, 20) for _ in range(3)]
    for client in shed:
        client.send(as_key(FLOOD, path=split))
    assert {reply.status for reply in replies(shed)} == {503}
    counter.go.set()
    replies(holders)
    wait_for(lambda: metric(gateway, "maas_concurrency_in_flight") == 0, 5, "the slots")
    assert [ask(gateway.address, as_key(FLOOD, path=split)).status for _ in range(3)] == [200] * 3
    upstream.renew()


def test_switched_off_everything_goes_through(tmp_path: Path) -> None:
    """`admission.enabled = false`: no limit, no queue."""
    upstream = Upstream()
    settings = {
        "ADMISSION__ENABLED": "false",
        "ADMISSION__INITIAL_LIMIT": 1,
        "ADMISSION__MIN_LIMIT": 1,
        "ADMISSION__MAX_LIMIT": 1,
    }
    with running(tmp_path, document(upstream.url), **settings) as gateway:
        until_answered(gateway.address)
        counter = Counter(upstream)
        clients = send(gateway, FLOOD, 10)
        wait_for(lambda: counter.most == 10, 5, "ten calls upstream")
        counter.go.set()
        assert {reply.status for reply in replies(clients)} == {200}
    upstream.close()


def test_a_flood_of_one_principal_hardly_slows_another(tmp_path: Path) -> None:
    """A hundred connections of one, one of another, and a server that serves four calls at a time, 50 ms each: the other
    one waits for a turn, never for the flood. (The promise to the letter stands in test_fairness; a busy machine's clock
    cannot show it.)
    """
    upstream = Upstream()
    slots = threading.Semaphore(4)

    def serve(talk: Talk) -> None:
        talk.take_body()
        with slots:
            time.sleep(0.05)
        talk.answer()

    settings = {
        "ADMISSION__INITIAL_LIMIT": 7,
        "ADMISSION__MIN_LIMIT": 7,
        "ADMISSION__MAX_LIMIT": 7,
    }
    with running(tmp_path, document(upstream.url), **settings) as gateway:
        until_answered(gateway.address)
        upstream.behave = serve
        stop = threading.Event()

        def flood(_: int) -> None:
            with RawClient(gateway.address) as client:
                while not stop.is_set():
                    client.send(as_key(FLOOD))
                    if client.reply().status != 200:
                        stop.wait(0.5)

        def median_s() -> float:
            """Of the time that a call of the other one takes."""
            took = []
            with RawClient(gateway.address) as client:
                for _ in range(15):
                    began = time.monotonic()
                    client.send(as_key(OTHER))
                    assert client.reply().status == 200
                    took.append(time.monotonic() - began)
            return sorted(took)[len(took) // 2]

        alone_s = median_s()
        with ThreadPoolExecutor(100) as threads:
            running_flood = threads.map(flood, range(100))
            try:
                wait_for(lambda: metric(gateway, "maas_queue_length") > 40, 10, "the flood")
                # Alone 50 ms; behind the flood's queue it would be 100 calls at four a time: more than a second.
                in_time(median_s, 8 * alone_s)
            finally:
                stop.set()
            list(running_flood)
    upstream.close()


def test_several_workers_hold_to_one_limit(tmp_path: Path) -> None:
    """Four workers, sixty callers of one principal and a limit of twenty: thirteen are open to it on the host, and not in each
    worker. So most of its callers wait, where with a limit for each worker eight would.
    """
    upstream = Upstream()

    def serve(talk: Talk) -> None:
        talk.take_body()
        time.sleep(0.1)
        talk.answer()

    settings = {
        "WORKERS": 4,
        "ADMISSION__INITIAL_LIMIT": 20,
        "ADMISSION__MIN_LIMIT": 20,
        "ADMISSION__MAX_LIMIT": 20,
        "ADMISSION__QUEUE_WAIT_S": 20,
    }
    with running(tmp_path, document(upstream.url), **settings) as gateway:
        until_answered(gateway.address)
        upstream.behave = serve
        stop = threading.Event()

        def flood(_: int) -> None:
            with RawClient(gateway.address, 30) as client:
                while not stop.is_set():
                    client.send(as_key(FLOOD))
                    assert client.reply().status == 200

        with ThreadPoolExecutor(60) as threads:
            running_flood = threads.map(flood, range(60))
            try:
                wait_for(lambda: metric(gateway, "maas_queue_length") >= 35, 30, "most to wait")
                assert metric(gateway, "maas_concurrency_limit") == 20
            finally:
                stop.set()
            list(running_flood)
    upstream.close()


def test_a_body_that_breaks_while_its_call_waits_ends_the_call(full: tuple[Gateway, Counter]) -> None:
    """It is refused when its turn comes, not sent on to wait for the rest until its deadline."""
    gateway, counter = full
    holders = hold(gateway, FLOOD, 3)
    with RawClient(gateway.address, 20) as client:
        fields = b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
        client.send(as_key(FLOOD, fields).partition(b"Content-Length")[0] + b"\r\n" + b"1\r\n \r\n")
        wait_for(lambda: metric(gateway, "maas_queue_length") == 1, 5, "the wait")
        client.send(b"no chunk\r\n")
        counter.go.set()
        expect_problem(client.reply(), 400)
        assert client.ended()
    assert {reply.status for reply in replies(holders)} == {200}
