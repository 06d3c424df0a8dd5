"""Gateways in front of a scripted upstream: one with time enough, one with deadlines short enough to wait for."""

from collections.abc import Iterator

import pytest

from tests.dataplane.raw import expect_well, until_answered
from tests.dataplane.upstream import Upstream
from tests.gateway_process import Gateway, document, running


@pytest.fixture(scope="session")
def faults_upstream() -> Iterator[Upstream]:
    """The upstream of the shared gateway."""
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def faults_gateway(faults_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway with time enough."""
    folder = tmp_path_factory.mktemp("gateway")
    with running(
        folder,
        document(faults_upstream.url),
        INFERENCE__DEADLINE_S=30,
        INFERENCE__MAX_DEADLINE_S=60,
        UPSTREAM__MAX_REPLY_HEADER_BYTES=16_384,
    ) as gateway:
        until_answered(gateway.address)
        yield gateway


@pytest.fixture(scope="session")
def shared_strict(faults_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The other gateway: a deadline of 1 s, and of 3 s at most."""
    folder = tmp_path_factory.mktemp("strict")
    with running(
        folder, document(faults_upstream.url), INFERENCE__DEADLINE_S=1, INFERENCE__MAX_DEADLINE_S=3
    ) as gateway:
        yield gateway


@pytest.fixture
def upstream(faults_upstream: Upstream) -> Upstream:
    """The upstream, as good as new."""
    faults_upstream.renew()
    return faults_upstream


@pytest.fixture
def gateway(faults_gateway: Gateway, upstream: Upstream) -> Iterator[Gateway]:
    """The gateway; after each test the next good request on a new connection succeeds."""
    until_answered(faults_gateway.address)
    upstream.renew()
    yield faults_gateway
    upstream.renew()
    expect_well(faults_gateway)


@pytest.fixture
def strict(shared_strict: Gateway, upstream: Upstream) -> Iterator[Gateway]:
    """The gateway with short deadlines; after each test good requests are answered as before."""
    until_answered(shared_strict.address)
    upstream.renew()
    yield shared_strict
    upstream.renew()
    until_answered(shared_strict.address)
