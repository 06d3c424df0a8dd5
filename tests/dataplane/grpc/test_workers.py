"""Several workers behind one gRPC port: as over HTTP, they accept from one queue, and whoever is well takes what waits there."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.processes import free_port
from tests.dataplane.grpc.conftest import Client, RpcServer, infer, reply_of, rpc_document
from tests.dataplane.raw import until_answered
from tests.gateway_process import Gateway, running, wait_for
from tests.http2.peer import Peer

pytestmark = pytest.mark.slow

WORKERS = 2


@pytest.fixture
def host(server: RpcServer, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of two workers, both of them ready."""
    with running(
        tmp_path,
        rpc_document(server),
        INFERENCE__GRPC_PORT=free_port(),
        INFERENCE__DRAIN_NOTICE_S=1,
        WORKERS=WORKERS,
    ) as gateway:
        until_answered(gateway.address)
        wait_for(lambda: all_accept(gateway), 30, "all workers to accept")
        yield gateway


def address(gateway: Gateway) -> tuple[str, int]:
    return "127.0.0.1", int(str(gateway.settings["INFERENCE__GRPC_PORT"]))


def held(gateway: Gateway) -> list[float]:
    """How many connections each worker holds."""
    return [gateway.metric(f'maas_worker_connections{{worker="{number}"}}') for number in range(WORKERS)]


def all_accept(gateway: Gateway) -> bool:
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(Peer(address(gateway))).goes_on()
        return all(held(gateway))


def test_connections_are_shared_out(host: Gateway) -> None:
    """Of those that are kept no worker has many more than the other."""
    wait_for(lambda: not any(held(host)), what="nobody to be connected")
    with contextlib.ExitStack() as stack:
        for _ in range(24):
            stack.enter_context(Peer(address(host))).goes_on()
        assert sum(held(host)) == 24
        assert min(held(host)) >= 8


def test_a_rolling_restart_fails_no_call(host: Gateway) -> None:
    """A caller's library goes to the new workers by itself: each of those that go says so first, and answers what it has."""
    before = set(host.workers().values())
    clients = [Client(host) for _ in range(4)]
    host.signal(signal.SIGHUP)

    def replaced() -> bool:
        for client in clients:
            reply_of(client.call(infer()))
        return len(host.workers()) == WORKERS and not before & set(host.workers().values())

    wait_for(replaced, 60, "all workers to be replaced")
    for client in clients:
        reply_of(client.call(infer()))
        client.channel.close()


def test_workers_serve_on_without_a_supervisor_until_the_next_one_has_the_port(host: Gateway) -> None:
    """The port is never closed, and no call fails."""
    before = set(host.workers().values())
    clients = [Client(host) for _ in range(4)]

    def called() -> bool:
        for client in clients:
            reply_of(client.call(infer()))
        with Peer(address(host)) as peer:
            peer.goes_on()
        return True

    assert called()
    host.signal(signal.SIGKILL)
    host.wait()
    assert called()
    host.settings["INFERENCE__PORT"] = host.address[1]
    host.start()

    def replaced() -> bool:
        return called() and len(host.workers()) == WORKERS and not before & set(host.workers().values())

    wait_for(replaced, 60, "new workers")
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before), 60, "the orphans to end")
    assert called()
    for client in clients:
        client.channel.close()
