"""A Redis that the tests of shared quotas use one after the other."""

from collections.abc import Iterator

import pytest

from tests.db.servers import Missing, Redis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """The server; who stops or kills one takes `own_redis`."""
    try:
        server = Redis()
    except Missing as error:
        pytest.skip(str(error))
    yield server
    server.stop()
