"""A control plane on each kind of database: one for all tests that do not mind each other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import KINDS
from tests.controlplane.harness import Running, running
from tests.db.servers import Postgres


def _url(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'maas.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    template: str = request.getfixturevalue("postgres_template")
    return server.fresh_database(template)


@pytest.fixture(scope="session", params=KINDS)
def plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A control plane with the model `digits`, versions 1 to 3, of team vision."""
    with running(_url(request, tmp_path_factory.mktemp("control"))) as found:
        found.model()
        # A key is a change too: made here, so that no test counts it among its own.
        assert found.lead is not found.admin
        yield found


@pytest.fixture(params=KINDS)
def own_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of one's own."""
    return _url(request, tmp_path)


@pytest.fixture
def own_plane(own_url: str) -> Iterator[Running]:
    """A control plane of one's own, with the model `digits`."""
    with running(own_url) as found:
        found.model()
        # A key is a change too: made here, so that no test counts it among its own.
        assert found.lead is not found.admin
        yield found
