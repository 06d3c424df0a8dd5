"""What the workers that report to this control plane have told lately. Kept in memory: it is told while the database is down."""

import threading
import time
from collections.abc import Iterable

from gateway.reports import SharedVersion, UsageReport

LIVE_S = 5.0
"""A worker reports once a second; one that has missed so many reports is not named to callers."""


class LiveWorkers:
    """The inference addresses that were reported lately. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: dict[str, tuple[str, float]] = {}

    def heard(self, worker: str, inference_url: str | None) -> None:
        """Note a report. None: the worker takes no new requests, or does not know its address."""
        now = time.monotonic()
        with self._lock:
            # Assigned in place, a worker keeps its turn in the order, and the answer does not change every second.
            if inference_url is not None:
                self._heard[worker] = (inference_url, now)
            else:
                self._heard.pop(worker, None)
            self._heard = {name: each for name, each in self._heard.items() if now - each[1] < LIVE_S}

    def inference_url(self) -> str | None:
        """The address of one live worker, the same one as long as it lives; None without any."""
        now = time.monotonic()
        with self._lock:
            return next((url for url, at in self._heard.values() if now - at < LIVE_S), None)


SHARED_FOR_S = 3600.0
"""For so long it is told that a version had more than one caller."""


class VersionCallers:
    """The last two principals that called each version, through whichever worker. For any thread.

    A worker that sees but one of them would take it to be alone there, and let it fill the servers' queues.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[tuple[str, int], list[tuple[str, float]]] = {}

    def heard(self, rows: Iterable[UsageReport]) -> None:
        """Note who called what just now."""
        now = time.monotonic()
        with self._lock:
            for row in rows:
                last = self._last.get((row.model, row.version), [])
                others = [each for each in last if each[0] != row.principal]
                self._last[row.model, row.version] = [(row.principal, now), *others[:1]]

    def shared(self) -> list[SharedVersion]:
        """The versions that two principals have called lately."""
        now = time.monotonic()
        with self._lock:
            self._last = {
                version: last for version, last in self._last.items() if now - last[0][1] < SHARED_FOR_S
            }
            return [
                SharedVersion(model, version, now - last[1][1])
                for (model, version), last in self._last.items()
                if len(last) > 1 and now - last[1][1] < SHARED_FOR_S
            ]
