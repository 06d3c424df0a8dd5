"""Transactions and migrations, on both databases."""

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from gateway.db.models import AliasRow, PoolRow, StateRow, Table, TargetRow
from gateway.db.session import Database, upgrade
from gateway.errors import GatewayError, Kind
from tests.db.servers import Postgres, Redis

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def pool(name: str) -> PoolRow:
    return PoolRow(
        name=name,
        engine="embedded",
        endpoints=[],
        declared=False,
        revision=1,
        updated_at=NOW,
        updated_by="user:x",
    )


def test_the_migrations_make_exactly_the_tables_of_the_models(database_url: str) -> None:
    """A column that a model has and no migration makes would be found only in production."""
    upgrade(database_url)
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
    engine.dispose()


def test_several_processes_may_upgrade_at_once(database_url: str) -> None:
    """Replicas start together; one of them makes the tables and the others find them."""
    failures: list[BaseException] = []

    def start() -> None:
        try:
            upgrade(database_url)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_failed_verb_leaves_nothing_behind(database_url: str) -> None:
    """What a verb wrote before it was refused is rolled back with it."""
    database = Database(database_url)
    database.upgrade()

    def verb(session: Session) -> None:
        session.add(pool("half"))
        session.flush()
        raise GatewayError(Kind.CONFLICT, "no")

    with pytest.raises(GatewayError):
        database.write(verb)
    with database.reading() as session:
        assert session.get(PoolRow, "half") is None
    database.close()


def test_a_read_sees_one_moment(database_url: str) -> None:
    """A snapshot is built from one consistent state, whatever is committed meanwhile."""
    database = Database(database_url)
    database.upgrade()
    with database.reading() as session:
        assert session.get_one(StateRow, 1).version == 0
        database.write(lambda writer: writer.add(pool("later")))
        assert session.get(PoolRow, "later") is None
    with database.reading() as session:
        assert session.get(PoolRow, "later") is not None
    database.close()


def test_moments_come_back_in_utc(database_url: str) -> None:
    """To the microsecond, whatever zone they were written in."""
    database = Database(database_url)
    database.upgrade()
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))

    def verb(session: Session) -> None:
        row = pool("p")
        row.updated_at = elsewhere
        session.add(row)

    database.write(verb)
    with database.reading() as session:
        found = session.get_one(PoolRow, "p").updated_at
    assert found == NOW
    assert found.tzinfo is UTC
    database.close()


def test_foreign_keys_hold(database_url: str) -> None:
    """A target of a version that is not registered cannot be written, not even by hand."""
    database = Database(database_url)
    database.upgrade()

    def verb(session: Session) -> None:
        row = AliasRow(
            name="a",
            team="t",
            sticky=True,
            salt="",
            slices=[],
            revision=1,
            updated_at=NOW,
            updated_by="user:x",
        )
        row.targets = [TargetRow(position=0, model="none", version=1, weight_bp=10_000)]
        session.add(row)

    with pytest.raises(GatewayError) as refused:
        database.write(verb)
    assert refused.value.kind is Kind.CONFLICT
    database.close()


def test_a_writer_waits_for_its_turn_and_sees_what_the_other_did(database_url: str) -> None:
    """Writers that lock the state row first count without a gap, however many race."""
    database = Database(database_url)
    database.upgrade()

    def verb(session: Session) -> None:
        row = session.get_one(StateRow, 1, with_for_update=True)
        row.version += 1

    threads = [threading.Thread(target=lambda: [database.write(verb) for _ in range(5)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        assert session.get_one(StateRow, 1).version == 40
    database.close()


def test_a_read_cannot_write_on_postgresql(postgres: Postgres) -> None:
    """A service that writes in a read is found by the first test on PostgreSQL, not by a lost change."""
    database = Database(postgres.fresh_database())
    database.upgrade()
    with pytest.raises(GatewayError), database.reading() as session:
        session.execute(text("DELETE FROM state"))
    with database.reading() as session:
        assert session.get_one(StateRow, 1).version == 0
    database.close()


def test_a_database_that_is_away_is_unavailable_and_says_when_to_try_again() -> None:
    """A refused connection becomes the one error that transports know as 503."""
    database = Database("postgresql://maas@127.0.0.1:1/none")
    with pytest.raises(GatewayError) as refused, database.reading() as session:
        session.get_one(StateRow, 1)
    assert refused.value.kind is Kind.UNAVAILABLE
    assert refused.value.retry_after_s is not None


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    """A damaged file refuses changes instead of taking the process down."""
    path = tmp_path / "maas.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(GatewayError) as refused:
        upgrade(f"sqlite:///{path}")
    assert refused.value.kind is Kind.UNAVAILABLE


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", "nonsense", "postgresql+asyncpg://x/y"]
)
def test_other_databases_are_refused_without_showing_the_password(url: str) -> None:
    """Two kinds are tested, so two kinds are taken."""
    with pytest.raises(ValueError, match="write sqlite:///PATH or postgresql"):
        Database(url)


def test_the_refusal_of_a_url_hides_its_password() -> None:
    """A settings mistake must not print a secret."""
    with pytest.raises(ValueError) as refused:
        Database("mysql://user:hunter2@host/db")
    assert "hunter2" not in str(refused.value)


def test_redis_of_ones_own_starts_and_dies(own_redis: Redis) -> None:
    """The fixture that later tests of shared quotas stand on."""
    assert own_redis.answers()
    own_redis.kill()
    assert not own_redis.answers()
