"""A Redis that the tests of shared sequences use one after the other."""

from collections.abc import Iterator

import pytest

from tests.db.servers import Missing, Redis


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Redis]:
    """The server; a test that stops it starts it again."""
    try:
        server = Redis()
    except Missing as error:
        pytest.skip(str(error))
    yield server
    server.stop()
