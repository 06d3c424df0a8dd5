"""One gateway in front of one scripted upstream, shared; each test starts with an upstream that answers 200."""

from collections.abc import Iterator

import pytest

from tests.dataplane.raw import expect_well, until_answered
from tests.dataplane.upstream import Upstream
from tests.gateway_process import Gateway, document, running


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[Upstream]:
    """The upstream of the shared gateway."""
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def shared_gateway(shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway, ready."""
    folder = tmp_path_factory.mktemp("gateway")
    with running(
        folder, document(shared_upstream.url), INFERENCE__MAX_BODY_BYTES=20 * 1024 * 1024
    ) as gateway:
        until_answered(gateway.address)
        yield gateway


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Upstream:
    """The upstream, as good as new."""
    shared_upstream.renew()
    return shared_upstream


@pytest.fixture
def gateway(shared_gateway: Gateway, upstream: Upstream) -> Iterator[Gateway]:
    """The gateway; whatever the test does to it, the next good request on a new connection succeeds."""
    yield shared_gateway
    upstream.renew()
    expect_well(shared_gateway)
    assert not upstream.errors
