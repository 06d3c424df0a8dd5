"""Fixtures that several folders share: servers of one's own, and a database of each kind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gateway.db.session import upgrade
from tests.db.servers import Missing, Postgres, Redis
from tests.http2.in_memory import no_timers

# How long an example takes says more about the machine than about what is tested. CI tries the same examples each time:
# who changes something else is not stopped by a counter-example that was found only now. Everybody else tries new ones.
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("patient")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Leave pytest's status where `.ci/run` finds it: make tells only that there was a failure."""
    if session.config.cache is not None:
        session.config.cache.set("maas/status", int(exitstatus))


KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
"""The databases that every test of the control plane runs on; the quick run leaves the one with a server out."""


def _postgres() -> Iterator[Postgres]:
    try:
        server = Postgres()
    except Missing as error:
        pytest.skip(str(error))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for the whole run; who kills one takes `own_postgres`."""
    yield from _postgres()


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """The name of a database that has the tables already."""
    url = postgres.fresh_database()
    upgrade(url)
    return url.rpartition("/")[2]


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server to kill."""
    yield from _postgres()


def _redis() -> Iterator[Redis]:
    try:
        server = Redis()
    except Missing as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis that tests use one after the other; one that stops it starts it again."""
    yield from _redis()


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A Redis server to kill."""
    yield from _redis()


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'maas.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.fresh_database()


@pytest.fixture(scope="module")
def without_timers() -> Iterator[None]:
    """For HTTP/2 connections that are in memory alone: they need no event loop that runs."""
    with no_timers():
        yield
