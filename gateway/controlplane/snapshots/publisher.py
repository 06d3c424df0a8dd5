"""Publishes snapshots: builds, compiles, and wakes the workers that wait.

A state that does not compile is not published; the last published one stays. Another replica's change is found by
looking at the version row; one's own is published before its caller gets the answer.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from gateway.controlplane.snapshots.builder import build_document, current_version
from gateway.db.session import Database
from gateway.errors import GatewayError
from gateway.observe.metrics import SNAPSHOT_COMPILE_SECONDS, SNAPSHOT_REFUSED
from gateway.policy.compiled import CompiledPolicy
from gateway.policy.rules import rules_from_rows
from gateway.snapshot.compile import Decide, Snapshot, compile_snapshot
from gateway.snapshot.document import PolicyEntry, SnapshotDocument, SnapshotInvalid, encode

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.3
"""A third of the second in which a change must be live everywhere."""

REFUSED_AGAIN_S = 2.0
"""A refused state is tried again this often: its repair may come without a new version."""


class Published(msgspec.Struct, frozen=True):
    """One published snapshot: as data, as bytes for the workers, and compiled for the control plane itself."""

    document: SnapshotDocument
    encoded: bytes
    snapshot: Snapshot

    @property
    def version(self) -> int:
        """The snapshot's version."""
        return self.document.version


class Refusal(msgspec.Struct, frozen=True):
    """A state that was not published, and why. `at` is Unix seconds."""

    version: int
    at: float
    problems: tuple[str, ...]


class Publisher:
    """Holds the last published snapshot. `refresh` is for any thread; `wait_for_other` and `follow` for the loop.

    `answers` tells how the last look at the database ended, `looked_at` (monotonic seconds) when one succeeded.
    """

    def __init__(self, database: Database, compile_policy: Callable[[PolicyEntry], Decide]) -> None:
        self._database = database
        self._compile_policy = compile_policy
        self._turn = threading.Lock()
        self._policy: tuple[PolicyEntry, Decide] | None = None
        self._explainer: tuple[PolicyEntry, CompiledPolicy] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._retry_at = 0.0
        self.published: Published | None = None
        self.refusal: Refusal | None = None
        self.looked_at = 0.0
        self.answers = False
        self.stopping = False

    def refresh(self) -> None:
        """Publish what the database holds now, unless it is published already. Raises UNAVAILABLE without it."""
        with self._turn:
            with self._database.reading() as session:
                version = current_version(session)
                self.looked_at, self.answers = time.monotonic(), True
                if version < 1 or (self.published is not None and self.published.version == version):
                    return
                if (
                    self.refusal is not None
                    and self.refusal.version == version
                    and time.monotonic() < self._retry_at
                ):
                    return
                try:
                    document = build_document(session)
                except SnapshotInvalid as error:
                    self._refuse(version, error)
                    return
            try:
                with SNAPSHOT_COMPILE_SECONDS.labels("control").time():
                    snapshot = compile_snapshot(document, self._decider)
            except SnapshotInvalid as error:
                self._refuse(version, error)
                return
            self.published = Published(document, encode(document), snapshot)
            self.refusal = None
        log.info("published snapshot %d", version)
        self._wake()

    async def wait_for_other(
        self, version: int, wait_s: float, installation: str | None = None
    ) -> Published | None:
        """The published snapshot as soon as it is another than `version`; None when `wait_s` have passed.

        With `installation`, also as soon as it is of another one: two databases give out the same versions.
        """
        deadline = time.monotonic() + wait_s
        while True:
            changed = self._changed
            published = self.published
            if published is not None and (
                published.version != version or installation not in (None, published.document.installation)
            ):
                return published
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self.stopping:
                return None
            try:
                await asyncio.wait_for(changed.wait(), left_s)
            except TimeoutError:
                return None

    async def follow(self) -> None:
        """Look for changes of other replicas until cancelled."""
        self._loop = asyncio.get_running_loop()
        # A thread of its own: when the database hangs, requests that wait for it must not keep this one waiting.
        with ThreadPoolExecutor(1, "snapshot") as thread:
            while True:
                try:
                    await self._loop.run_in_executor(thread, self.refresh)
                except GatewayError as error:
                    self.answers = False
                    log.debug("no look at the version: %s", error)
                except Exception:
                    log.exception("the snapshot could not be refreshed")
                await asyncio.sleep(LOOK_EVERY_S)

    def stop(self) -> None:
        """Answer all waiting workers, so that a server that is going away need not wait for them."""
        self.stopping = True
        self._wake()

    def explainer(self) -> CompiledPolicy:
        """The published policy in the form that explains itself. Must not be called before a snapshot is published."""
        assert self.published is not None
        entry = self.published.document.policy
        if self._explainer is None or self._explainer[0] is not entry:
            self._explainer = (entry, CompiledPolicy(rules_from_rows(entry.grants, entry.roles)))
        return self._explainer[1]

    def _decider(self, entry: PolicyEntry) -> Decide:
        """The same rows give the same decisions, so a change elsewhere does not compile ten thousand rules again."""
        if self._policy is None or self._policy[0] != entry:
            self._policy = (entry, self._compile_policy(entry))
        return self._policy[1]

    def _refuse(self, version: int, error: SnapshotInvalid) -> None:
        if self.refusal is None or self.refusal.version != version:
            SNAPSHOT_REFUSED.labels("control").inc()
            log.error("state %d is not published: %s", version, error)
        self.refusal = Refusal(version, time.time(), tuple(error.problems))
        self._retry_at = time.monotonic() + REFUSED_AGAIN_S

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
