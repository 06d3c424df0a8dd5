"""One worker of a host looks after the store: retention, and deletions that the control plane has told of."""

import fcntl
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from gateway.reports import SampleDeletion
from gateway.sampling.queue import Subjects
from gateway.sampling.store import Store
from gateway.sampling.upkeep import Forgetting, remove_expired

log = logging.getLogger(__name__)

_EVERY_S = 3600.0
_AGAIN_S = 60.0


class _Note(msgspec.Struct, frozen=True):
    """What the lock's file keeps from one keeper to the next: up to which deletion all is done in which store."""

    url: str
    done: int


class StoreKeeper:
    """Passes over the store at `url`: every hour, and when there are new deletions; then once more when all that other
    workers had taken before they knew is written. `settle_s` is how long that may take.

    `seen` is the last deletion that is known here, `done` the last one that is carried out; None: another worker of this
    host is the keeper.
    """

    def __init__(
        self,
        open_store: Callable[[], Store | None],
        url: str,
        lock: Path,
        retention_days: int,
        settle_s: float,
    ) -> None:
        self.seen = 0
        self.done: int | None = None
        self.subjects: Subjects = {}
        self._open_store = open_store
        self._url = url
        self._lock_path = lock
        self._retention_days = retention_days
        self._settle_s = settle_s
        self._lock: BinaryIO | None = None
        self._forgetting = Forgetting()
        self._settling: list[tuple[float, int]] = []
        self._told = threading.Event()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples-upkeep", daemon=True)

    def start(self) -> None:
        """Begin, if that was not done yet."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self, limit_s: float) -> None:
        """Let go of the store after the file in hand; wait for so long at most."""
        self._leave.set()
        self._told.set()
        if self._thread.is_alive():
            self._thread.join(limit_s)

    def tell(self, deletions: list[SampleDeletion]) -> None:
        """Deletions, of which some may be new here."""
        for each in deletions:
            if each.id > self.seen:
                self.subjects = self.subjects | {
                    each.subject: max(each.at, self.subjects.get(each.subject, 0.0))
                }
                self.seen = each.id
        self._told.set()

    def _run(self) -> None:
        wait_s = 0.0
        while not self._leave.is_set():
            self._told.wait(wait_s)
            self._told.clear()
            wait_s = _AGAIN_S
            if self._leave.is_set() or not self._is_keeper():
                continue
            try:
                wait_s = self._pass(time.monotonic())
            except Exception as error:  # noqa: BLE001 - stores raise errors of their own drivers
                log.error("samples cannot be looked after (%s: %s); tried again", type(error).__name__, error)

    def _pass(self, now: float) -> float:
        """One pass; after so many seconds the next is due."""
        seen, subjects = self.seen, self.subjects
        store = self._open_store()
        if store is not None:
            store.sweep()
            expired = remove_expired(store, self._retention_days)
            if expired:
                log.info("removed %d sample files older than %d days", expired, self._retention_days)
            if seen > (self.done or 0):
                forgotten = self._forgetting.run(store, subjects, seen, self._leave.is_set)
                if forgotten.rows:
                    log.info("deleted %d samples of %d files by subject", forgotten.rows, forgotten.files)
        if not self._leave.is_set():
            self._settle(now, seen)
        return min(self._settling[0][0] - now, _EVERY_S) if self._settling else _EVERY_S

    def _settle(self, now: float, seen: int) -> None:
        """A deletion is done by a pass that began when everything taken before it was told must have been written."""
        done = before = self.done or 0
        while self._settling and now >= self._settling[0][0]:
            done = self._settling.pop(0)[1]
        if seen > max([done, *(number for _, number in self._settling)]):
            self._settling.append((now + self._settle_s, seen))
        if done > before:
            self._note(done)
        self.done = done

    def _is_keeper(self) -> bool:
        """Whether this worker is the one of its host: the kernel gives the lock to the next when it ends, however it does."""
        if self._lock is not None:
            return True
        try:
            file = open(self._lock_path, "a+b")  # noqa: SIM115 - held for as long as the process lives
        except OSError as error:
            log.error("samples are not looked after: %s", error)
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._lock = file
        self.done = self._noted(file)
        return True

    def _note(self, done: int) -> None:
        assert self._lock is not None
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(msgspec.json.encode(_Note(self._url, done)))
        self._lock.flush()

    def _noted(self, file: BinaryIO) -> int:
        """What the keeper before this one had done in this store; nothing where its note cannot be read."""
        file.seek(0)
        try:
            note = msgspec.json.decode(file.read(), type=_Note)
        except msgspec.DecodeError:
            return 0
        return note.done if note.url == self._url else 0
