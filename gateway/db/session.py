"""Connections and transactions: one consistent read, or one writer's turn, whichever the database is.

A database that cannot be reached, or stays locked, becomes an UNAVAILABLE `GatewayError` here and nowhere else.
"""

import logging
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from gateway.errors import GatewayError, Kind, Source

log = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_TIMEOUT_S = 3
LOCK_TIMEOUT_S = 4
STATEMENT_TIMEOUT_S = 15
UPGRADE_TIMEOUT_S = 60
"""How long a replica waits while another one migrates."""

_TRIES = 5
_PAUSE_S = 0.05
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 7_262_673
"""An advisory lock of PostgreSQL; the number has no meaning but to be ours."""

_TRY_AGAIN = frozenset({"40001", "40P01", "55P03"})
"""PostgreSQL: serialization failure, deadlock, lock not available."""


class Database:
    """The database behind one URL, `sqlite:///PATH` or `postgresql://…`. Raises `ValueError` for any other."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(_parsed(url))
        sqlite = self._engine.dialect.name == "sqlite"
        self._reader = self._engine.execution_options(
            **({} if sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
        )
        self._writer = self._engine.execution_options(maas_writer=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one moment of the database and changes nothing."""
        with _translated(), Session(self._reader, autoflush=False) as session, session.begin():
            yield session

    def write(self, verb: Callable[[Session], T]) -> T:
        """Run `verb` in one transaction and commit it.

        `verb` runs again when the database asks for that (locked, deadlock), so it must act only on its session.
        A lost connection is never retried: the commit may have arrived.
        """
        with _translated():
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            for tries_left in range(_TRIES - 1, -1, -1):
                try:
                    with Session(self._writer) as session, session.begin():
                        return verb(session)
                except DBAPIError as error:
                    if not tries_left or time.monotonic() > deadline or not _try_again(error):
                        raise
                time.sleep(random.uniform(0.5, 1.0) * _PAUSE_S)  # noqa: S311 - jitter
        raise AssertionError("the last try returns or raises")

    def upgrade(self) -> None:
        """Bring the tables to this release's form. Several processes may try at once; one does it."""
        logging.getLogger("alembic").setLevel(logging.WARNING)
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        newest = ScriptDirectory.from_config(config).get_current_head()
        with self.reading() as session:
            # With nothing to do, a database that somebody holds locked keeps no start waiting.
            if MigrationContext.configure(session.connection()).get_current_revision() == newest:
                return
        with _translated(), self._writer.connect() as connection:
            sqlite = connection.dialect.name == "sqlite"
            if sqlite:
                # A migration that rebuilds a table drops the old one, and with foreign keys on, what refers to it.
                _pragma(connection, "foreign_keys = OFF")
                _pragma(connection, f"busy_timeout = {UPGRADE_TIMEOUT_S * 1000}")
            try:
                with connection.begin():
                    if not sqlite:
                        connection.execute(text(f"SET LOCAL lock_timeout = '{UPGRADE_TIMEOUT_S}s'"))
                        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
            finally:
                if sqlite:
                    _pragma(connection, "foreign_keys = ON")
                    _pragma(connection, f"busy_timeout = {LOCK_TIMEOUT_S * 1000}")

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._engine.dispose()


def upgrade(url: str) -> None:
    """Bring the database behind `url` to this release's form."""
    database = Database(url)
    try:
        database.upgrade()
    finally:
        database.close()


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError("the database URL cannot be read; write sqlite:///PATH or postgresql://…") from error
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite") and parsed.database not in (None, "", ":memory:"):
        return parsed
    raise ValueError(
        f"no database of kind {parsed.render_as_string()} is supported; write sqlite:///PATH or postgresql://…"
    )


def _engine(url: URL) -> Engine:
    if url.drivername.startswith("postgresql"):
        options = (
            f"-c lock_timeout={LOCK_TIMEOUT_S}s -c statement_timeout={STATEMENT_TIMEOUT_S}s"
            f" -c idle_in_transaction_session_timeout={STATEMENT_TIMEOUT_S}s -c timezone=UTC"
        )
        arguments: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "maas",
            "options": options,
            # A host that vanished without a word is noticed by these, not after the kernel's two hours.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        }
        return create_engine(
            url,
            pool_size=8,
            max_overflow=8,
            pool_timeout=CONNECT_TIMEOUT_S,
            pool_pre_ping=True,
            connect_args=arguments,
            hide_parameters=True,
        )
    _make_private(Path(str(url.database)))
    engine = create_engine(
        url,
        pool_size=8,
        max_overflow=8,
        pool_timeout=CONNECT_TIMEOUT_S,
        connect_args={"timeout": LOCK_TIMEOUT_S},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(path: Path) -> None:
    """An empty file that only its owner reads, where there is none; SQLite gives its side files the same rights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, and only at the first change: too late for a consistent turn.
    connection.isolation_level = None
    _journal_ahead(connection)
    for setting in ("foreign_keys = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {setting}").close()


def _journal_ahead(connection: Any) -> None:
    """Write-ahead logging. Of several processes that turn it on at once, SQLite tells all but one without waiting that
    the database is locked.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.5, 1.0) * _PAUSE_S)  # noqa: S311 - jitter


def _pragma(connection: Connection, setting: str) -> None:
    """Set past SQLAlchemy, which would begin a transaction first; a pragma inside one does nothing."""
    raw = connection.connection.driver_connection
    assert raw is not None
    raw.execute(f"PRAGMA {setting}").close()


def _begin_sqlite(connection: Connection) -> None:
    writer = connection.get_execution_options().get("maas_writer", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")


def _try_again(error: DBAPIError) -> bool:
    return not error.connection_invalidated and (
        getattr(error.orig, "sqlstate", None) in _TRY_AGAIN or "database is locked" in str(error.orig)
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        log.warning("the database refused a change: %s", error.orig)
        raise GatewayError(
            Kind.CONFLICT,
            "The change contradicts what the database holds; read the current state and try again.",
        ) from error
    except (DataError, ProgrammingError):
        raise
    except (DatabaseError, InterfaceError, PoolTimeout) as error:
        log.warning("the database does not answer: %s", getattr(error, "orig", error))
        raise GatewayError(
            Kind.UNAVAILABLE,
            "The database does not answer, so nothing can be changed now; inference goes on. Try again shortly.",
            source=Source.GATEWAY,
            retry_after_s=2,
        ) from error
