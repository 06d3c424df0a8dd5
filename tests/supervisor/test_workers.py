"""Four workers behind one port: what callers notice when one dies, hangs, or all are replaced."""

import math
import os
import signal
import time
from pathlib import Path

import pytest

from tests.dataplane.raw import RawClient, request
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import document, running, wait_for
from tests.patience import in_time
from tests.supervisor.callers import Callers
from tests.supervisor.conftest import WORKERS, Host

pytestmark = pytest.mark.slow


def test_connections_are_shared_out(host: Host) -> None:
    """Of 64 kept connections no worker has more than twice its share, whether they came one by one or all at once.

    Nobody waits for a worker that gets no time on its processor: the others take what lies there. So on a busy machine
    not each of several attempts can be even.
    """

    def most(at_once: bool) -> int:
        clients = []
        try:
            for _ in range(64):
                clients.append(RawClient(host.address))
                if not at_once:
                    clients[-1].send(request())
                    assert clients[-1].reply().status == 200
            wait_for(lambda: sum(host.connections()) == 64, what="all to be accepted")
            return max(host.connections())
        finally:
            for client in clients:
                client.sock.close()
            wait_for(lambda: sum(host.connections()) == 0, what="all to be gone")

    for at_once in (False, True):
        found: list[int] = []
        while not found or found[-1] > 2 * 64 / WORKERS:
            assert len(found) < 10, found
            found.append(most(at_once))


def test_a_killed_worker_takes_only_its_own_calls_with_it(host: Host) -> None:
    """Kill -9 of one worker under load: no more calls fail than it held connections, each the last of its connection,
    and none after a caller has connected again. The worker is started again; the counts go only up."""
    with Callers(host.address, 16) as callers:
        callers.go_on(200)
        before = host.gateway.workers()
        held = host.connections()
        victim = max(range(WORKERS), key=lambda number: held[number])
        requests = host.total("maas_requests_total")
        os.kill(before[victim], signal.SIGKILL)
        killed_at = time.monotonic()
        wait_for(lambda: host.gateway.workers().get(victim, before[victim]) != before[victim], 20)
        for _ in range(20):
            now = host.total("maas_requests_total")
            assert now >= requests
            requests = now
        callers.go_on(400)
        host.until_all_ready()
    after = host.gateway.workers()
    assert {number for number in before if after[number] != before[number]} == {victim}
    assert 1 <= callers.connected - 16 <= held[victim] + 1
    assert len(callers.failures) <= held[victim] + 1
    for failure in callers.failures:
        # Nobody was left to wait for an answer: a caller gives up after 15 s.
        assert failure.at - killed_at < 10, callers.failures
        assert "Error" in failure.how, callers.failures
    assert host.metrics()[f'maas_worker_restarts_total{{worker="{victim}"}}'] >= 1


def test_a_rolling_restart_fails_no_call(host: Host) -> None:
    """SIGHUP under load: every worker is another process afterwards, no call has failed, and the counts are exact."""
    counted = host.total("maas_requests_total")
    before = host.gateway.workers()
    with Callers(host.address, 8) as callers:
        callers.go_on(100)
        host.gateway.signal(signal.SIGHUP)
        wait_for(lambda: not set(before.values()) & set(host.gateway.workers().values()), 40, "new workers")
        host.until_all_ready()
        callers.go_on(100)
    assert callers.failures == []
    assert set(host.gateway.workers()) == set(before)
    assert host.total("maas_requests_total") == counted + callers.answered
    assert host.total("maas_request_duration_seconds_count") == host.total("maas_requests_total")


def test_a_rolling_restart_takes_in_changed_settings(own_host: Host) -> None:
    """SIGHUP under load: new workers go by what the file says by then, and no call fails. What cannot be used changes nothing
    and what cannot be changed under way stays; both are logged."""
    gateway = own_host.gateway
    path = gateway.folder / "maas.toml"
    large = request(body=b'{"inputs":[]}'.ljust(3000))

    def status() -> int:
        with RawClient(own_host.address) as client:
            client.send(large)
            return client.reply().status

    assert status() == 200
    before = gateway.workers()
    path.write_text("[inference]\nmax_body_bytes = -1\n")
    gateway.signal(signal.SIGHUP)
    wait_for(lambda: "the settings are not taken: inference.max_body_bytes: " in gateway.log, 20)
    assert gateway.workers() == before
    path.write_text('[inference]\nmax_body_bytes = 2000\n[policies]\nfolder = "elsewhere"\n')
    with Callers(own_host.address, 4) as callers:
        callers.go_on(50)
        gateway.signal(signal.SIGHUP)
        wait_for(lambda: "all workers have been replaced" in gateway.log, 60, "new workers")
        callers.go_on(50)
    assert callers.failures == []
    assert not set(before.values()) & set(gateway.workers().values())
    assert status() == 413
    assert "policies is not changed under way" in gateway.log
    os.kill(gateway.workers()[0], signal.SIGKILL)
    own_host.until_all_ready()
    assert [status() for _ in range(8)] == [413] * 8, "one that is started again goes by the new ones too"


def test_a_hung_worker_delays_no_scrape_and_no_caller_for_long(host: Host) -> None:
    """SIGSTOP of one worker: metrics come within a second or so, say which worker was silent, and lose no count."""
    for _ in range(WORKERS * 4):
        with RawClient(host.address) as client:
            client.send(request())
            assert client.reply().status == 200
    counted = host.total("maas_requests_total")
    pid = host.gateway.workers()[2]
    os.kill(pid, signal.SIGSTOP)
    try:
        found: dict[str, float] = {}

        def scrape() -> float:
            began = time.monotonic()
            found.update(host.metrics())
            took = time.monotonic() - began
            # On a busy machine another one may be late as well.
            return took if answered() == [1, 1, 0, 1] else math.inf

        def answered() -> list[float]:
            return [found[f'maas_worker_answered{{worker="{number}"}}'] for number in range(WORKERS)]

        in_time(scrape, 3)
        assert host.total("maas_requests_total") == counted
        for _ in range(20):
            with RawClient(host.address, timeout_s=30) as client:
                client.send(request())
                assert client.reply().status == 200
        wait_for(lambda: "1 silent" in host.health()[1], 10, "the silence to be noticed")
        assert host.health()[0] == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    host.until_all_ready()
    assert host.gateway.workers()[2] == pid
    assert host.total("maas_requests_total") == counted + 20


@pytest.mark.parametrize("to", ["supervisor", "everybody"])
def test_a_drain_fails_no_call(own_host: Host, to: str) -> None:
    """SIGTERM under load, to the supervisor or, as service managers do, to all its processes: callers that heed
    `Connection: close` see no error until nobody listens; exit 0, no worker left, and the access log has one whole line
    for each call."""
    pids = own_host.gateway.workers().values()
    with Callers(own_host.address, 8) as callers:
        callers.go_on(100)
        if to == "everybody":
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
        own_host.gateway.signal(signal.SIGTERM)
        wait_for(lambda: own_host.health()[0] == 503, 5, "not ready")
        callers.go_on(20)
        assert own_host.gateway.wait(20) == 0
        wait_for(lambda: callers.gone_home, 20, "the callers to go home")
    assert callers.failures == []
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    lines = own_host.gateway.access_log()
    assert len({line["request_id"] for line in lines}) == len(lines) == callers.answered


def test_a_worker_that_is_told_to_end_leaves_the_port_to_the_others(own_host: Host) -> None:
    """SIGTERM to one worker under load: no call fails, new callers are taken all the while, and another takes its place."""
    before = own_host.gateway.workers()
    with Callers(own_host.address, 8) as callers:
        callers.go_on(50)
        os.kill(before[1], signal.SIGTERM)
        while own_host.gateway.workers().get(1, before[1]) == before[1]:
            with RawClient(own_host.address) as client:
                client.send(request())
                assert client.reply().status == 200
        own_host.until_all_ready()
        callers.go_on(50)
    assert callers.failures == []
    assert {number for number, pid in own_host.gateway.workers().items() if pid != before[number]} == {1}


def test_workers_serve_on_without_a_supervisor_until_the_next_one_has_the_port(own_host: Host) -> None:
    """Kill -9 of the supervisor under load, then a new one on the same port: no call fails, and all workers are new."""
    before = own_host.gateway.workers()
    with Callers(own_host.address, 8) as callers:
        callers.go_on(50)
        own_host.gateway.signal(signal.SIGKILL)
        own_host.gateway.wait()
        callers.go_on(200)
        with RawClient(own_host.address) as client:
            client.send(request())
            assert client.reply().status == 200
        own_host.gateway.settings["INFERENCE__PORT"] = own_host.address[1]
        own_host.gateway.start()
        wait_for(lambda: not alive(before), 30, "the orphans to end")
        own_host.until_all_ready()
        callers.go_on(200)
    assert callers.failures == []
    assert not set(before.values()) & set(own_host.gateway.workers().values())
    assert list((own_host.gateway.folder / "orphans").iterdir()) == []


def test_one_process_takes_the_port_from_orphans_too(own_host: Host) -> None:
    """A gateway whose setting of workers was made 1 starts while orphans hold its port."""
    before = own_host.gateway.workers()
    own_host.gateway.signal(signal.SIGKILL)
    own_host.gateway.wait()
    wait_for(lambda: len(list(own_host.gateway.folder.glob("orphans/*"))) == WORKERS, 10, "the orphans")
    own_host.gateway.settings |= {"INFERENCE__PORT": own_host.address[1], "WORKERS": 1}
    own_host.gateway.start()
    wait_for(lambda: own_host.health()[0] == 200, 10, "ready")
    wait_for(lambda: not alive(before), 15, "the orphans to end")
    with RawClient(own_host.address) as client:
        client.send(request())
        assert client.reply().status == 200


def test_orphans_end_when_no_supervisor_comes(upstream: Upstream, tmp_path: Path) -> None:
    """After `orphan_limit_s` they finish what is under way and end, so that nothing is left where a gateway was killed."""

    def behave(talk: Talk) -> None:
        talk.take_body()
        time.sleep(1)
        talk.answer()

    with running(tmp_path, document(upstream.url), WORKERS=2, INFERENCE__ORPHAN_LIMIT_S=0) as gateway:
        upstream.behave = behave
        before = gateway.workers()
        with RawClient(gateway.address) as client:
            client.send(request())
            wait_for(lambda: upstream.talks, 5, "the call to be under way")
            gateway.signal(signal.SIGKILL)
            assert client.reply().status == 200
        wait_for(lambda: not alive(before), 15, "the workers to end")


def alive(workers: dict[int, int]) -> list[int]:
    """Which of the processes are there."""
    return [pid for pid in workers.values() if os.path.exists(f"/proc/{pid}")]
