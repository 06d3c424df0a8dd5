"""A gateway of four workers in front of a scripted upstream."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.dataplane.upstream import Upstream
from tests.gateway_process import Gateway, document, running, wait_for
from tests.patience import PATIENT_S

WORKERS = 4


class Host:
    """A gateway of several workers, looked at through its ops port."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self._ops = httpx.Client(
            base_url=f"http://127.0.0.1:{gateway.ops_port}", timeout=PATIENT_S, trust_env=False
        )

    @property
    def address(self) -> tuple[str, int]:
        """Where it takes requests."""
        return self.gateway.address

    def health(self) -> tuple[int, str]:
        """Status and text of its readiness."""
        reply = self._ops.get("/health/ready")
        return reply.status_code, reply.text

    def until_all_ready(self, limit_s: float = 30.0) -> None:
        """Wait until every worker is ready, and none of those before them is left."""
        number = self.gateway.settings["WORKERS"]
        text = f"ok\n{number} of {number} workers ready: {number} ready\n"
        wait_for(lambda: self.health() == (200, text), limit_s, f"all ready; the last was {self.health()}")

    def metrics(self) -> dict[str, float]:
        """Every sample by its name with its labels, as Prometheus' text form writes it."""
        reply = self._ops.get("/metrics").raise_for_status()
        found = re.findall(r"^([^#\s][^\n]*) (\S+)$", reply.text, re.MULTILINE)
        assert len(dict(found)) == len(found), "a sample stands twice"
        return {name: float(value) for name, value in found}

    def total(self, name: str) -> float:
        """The sum over all samples of one name."""
        return sum(value for sample, value in self.metrics().items() if sample.partition("{")[0] == name)

    def connections(self) -> list[int]:
        """How many connections each worker holds."""
        found = self.metrics()
        return [int(found[f'maas_worker_connections{{worker="{number}"}}']) for number in range(WORKERS)]

    def close(self) -> None:
        """Let go of the connection to the ops port."""
        self._ops.close()


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[Upstream]:
    """The upstream of all gateways here."""
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Upstream:
    """The upstream, as good as new."""
    shared_upstream.renew()
    return shared_upstream


@pytest.fixture(scope="session")
def shared_host(shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One gateway of four workers for all tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("workers")
    with running(
        folder, document(shared_upstream.url), WORKERS=WORKERS, INFERENCE__DRAIN_NOTICE_S=1
    ) as gateway:
        host = Host(gateway, shared_upstream)
        yield host
        host.close()


@pytest.fixture
def host(shared_host: Host, upstream: Upstream) -> Iterator[Host]:
    """The shared gateway, all workers ready; so they are again after the test."""
    shared_host.until_all_ready()
    yield shared_host
    upstream.renew()
    shared_host.until_all_ready()


@pytest.fixture
def own_host(upstream: Upstream, tmp_path: Path) -> Iterator[Host]:
    """A gateway for a test that ends it."""
    with running(tmp_path, document(upstream.url), WORKERS=WORKERS, INFERENCE__DRAIN_NOTICE_S=5) as gateway:
        host = Host(gateway, upstream)
        host.until_all_ready()
        yield host
        host.close()
