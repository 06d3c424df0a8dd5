"""One gateway with adapters in front of one scripted model, shared."""

from collections.abc import Iterator

import openai
import pytest

from tests.dataplane.openai.scene import adapted, client
from tests.dataplane.raw import until_answered
from tests.dataplane.upstream import Upstream
from tests.gateway_process import Gateway, running


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[Upstream]:
    """The model's server."""
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def shared_gateway(shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway, ready."""
    with running(tmp_path_factory.mktemp("openai"), adapted(shared_upstream.url)) as gateway:
        until_answered(gateway.address)
        yield gateway


@pytest.fixture
def ai(gateway: Gateway) -> openai.OpenAI:
    """OpenAI's own client, with the key of an application that may call all but `hidden`."""
    return client(gateway)
