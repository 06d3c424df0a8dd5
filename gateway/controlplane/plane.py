"""The control plane without its HTTP face: opens the database, runs verbs in transactions, publishes what changed."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.orm import Session

from gateway.controlplane.access.policy import seed_policy
from gateway.controlplane.access.seed import read_seed
from gateway.controlplane.change import SETTINGS_ACTOR, Change, rehearse_change, write_change
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.registry.pools import declare_pools
from gateway.controlplane.snapshots.publisher import LOOK_EVERY_S, Publisher
from gateway.controlplane.workers.live import LiveWorkers, VersionCallers
from gateway.db.models import StateRow
from gateway.db.session import Database
from gateway.errors import GatewayError, Kind
from gateway.observe.metrics import render
from gateway.policy.rows import decider
from gateway.policy.rules import PolicyRules
from gateway.secret import KEY_PURPOSE, Pseudonyms, derive, worker_token
from gateway.settings import PoolSettings
from gateway.snapshot.compile import Decide
from gateway.snapshot.document import PolicyEntry, PoolEntry
from gateway.snapshot.problems import pool_problems
from gateway.supervisor.scrape import Health

if TYPE_CHECKING:
    from gateway.tokens.refresh import Refresher

log = logging.getLogger(__name__)

T = TypeVar("T")

_STALE_S = 5 * LOOK_EVERY_S + 1.0
"""A look at the database that takes longer hangs: it counts as away."""


class StartRefused(Exception):
    """The control plane cannot start on what it was given; `problems` has one line for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ControlPlane:
    """One control plane. `policies` is the folder whose rules seed an empty database; `pools` are the declared ones.

    `metrics` renders this host's metrics for an `Accept` value; `issuers` keeps the keys of tokens, where any are accepted;
    `model_repository` is the embedded engine's, where it is here; `serving` tells of this host's data-plane workers where they are processes of their own. Raises `StartRefused` for a
    database URL that is none.
    """

    def __init__(
        self,
        database_url: str,
        secret: bytes,
        policies: Path,
        pools: Mapping[str, PoolSettings] | None = None,
        *,
        compile_policy: Callable[[PolicyEntry], Decide] = decider,
        metrics: Callable[[str], tuple[bytes, str]] = render,
        issuers: "Refresher | None" = None,
        model_repository: Path | None = None,
    ) -> None:
        try:
            self.database = Database(database_url)
        except ValueError as error:
            raise StartRefused([f"database.url: {error}"]) from error
        self.digest_key = derive(secret, KEY_PURPOSE)
        self.worker_token = worker_token(secret)
        self.pseudonyms = Pseudonyms(secret)
        self.publisher = Publisher(self.database, compile_policy)
        self.workers = LiveWorkers()
        self.callers = VersionCallers()
        self.metrics = metrics
        self.issuers = issuers
        self.model_repository = model_repository
        self.serving: Callable[[], Health] | None = None
        self._policies = policies
        self._pools = dict(pools or {})
        self._opening = threading.Lock()
        self._opened = False

    def open(self) -> bool:
        """Bring the database up to date, seed it, declare the pools, publish. Again after success: nothing.

        False when the database does not answer: the control plane then starts without it and tries again. Raises
        `StartRefused` when the policies folder or the declared pools cannot be used.
        """
        with self._opening:
            if self._opened:
                return True
            problems = [
                problem
                for name, pool in self._pools.items()
                for problem in pool_problems(
                    PoolEntry(name, pool.engine, pool.endpoints, pool.grpc_endpoints)
                )
            ]
            try:
                self.database.upgrade()
                seeded = self._seeded()
                rules = None if seeded else read_seed(self._policies, problems)
                if problems:
                    raise StartRefused(problems)
                self._change_as_settings(rules)
                self.publisher.refresh()
            except GatewayError as error:
                if error.kind is not Kind.UNAVAILABLE:
                    raise
                log.error("the control plane starts without its database: %s", error.detail)
                return False
            self._opened = True
            return True

    def read(self) -> AbstractContextManager[Session]:
        """A consistent read of the database. Raises UNAVAILABLE without one."""
        return self.database.reading()

    def change(self, caller: Caller, verb: Callable[[Change], T]) -> T:
        """Run `verb` as one change by the caller, commit it and publish what came of it before returning."""
        result, changed = self._write(caller.principal, caller.request_id, verb)
        if changed:
            try:
                self.publisher.refresh()
            except GatewayError as error:
                # The change is made; the background look publishes it once the database answers again.
                log.warning("a change waits to be published: %s", error.detail)
        return result

    def rehearse(self, caller: Caller, verb: Callable[[Change], T]) -> T:
        """Run `verb` as the caller's change would be, and undo it."""
        return rehearse_change(self.database, caller.principal, caller.request_id, verb)

    @property
    def database_answers(self) -> bool:
        """Whether the database answered lately."""
        publisher = self.publisher
        return self._opened and publisher.answers and time.monotonic() - publisher.looked_at < _STALE_S

    @property
    def ready(self) -> bool:
        """Whether changes can be made and workers be fed, and one of this host's workers, where it has some, is ready."""
        if self.serving is not None and not self.serving().ready:
            return False
        return self.database_answers and self.publisher.published is not None and not self.publisher.stopping

    def stop(self) -> None:
        """Say that the server is about to stop: not ready any more, waiting workers answered at once."""
        self.publisher.stop()

    def close(self) -> None:
        """Close the connections to the database."""
        self.database.close()

    def _seeded(self) -> bool:
        with self.database.reading() as session:
            return session.get_one(StateRow, 1).policy_revision > 0

    def _change_as_settings(self, rules: PolicyRules | None) -> None:
        def verb(change: Change) -> None:
            if rules is not None:
                seed_policy(change, rules)
            declare_pools(change, self._pools)

        self._write(SETTINGS_ACTOR, "start", verb)

    def _write(self, actor: str, request_id: str, verb: Callable[[Change], T]) -> tuple[T, bool]:
        return write_change(self.database, actor, request_id, verb)
