"""Flags registered versions whose files have changed on disk while they are served: a metric, a log line, a report."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from gateway.artefacts.watch import FilesWatch, Version
from gateway.observe import metrics
from gateway.reports import ChangedFiles
from gateway.settings import Settings
from gateway.snapshot.compile import Snapshot

log = logging.getLogger(__name__)

_MOST_REPORTED = 1000


class WatchedFiles:
    """Looks at this host's model repositories every `interval_s`, in a thread. `repositories` are by kind of engine."""

    def __init__(self, repositories: Mapping[str, Path], interval_s: float) -> None:
        self._watches = {engine: FilesWatch(folder) for engine, folder in repositories.items()}
        self._interval_s = interval_s
        self._registered: dict[str, dict[Version, str]] = {}
        self._changed: dict[Version, str] = {}

    def activated(self, snapshot: Snapshot) -> None:
        """Go by this snapshot from the next look on."""
        registered: dict[str, dict[Version, str]] = {engine: {} for engine in self._watches}
        for model in snapshot.models.values():
            engine = snapshot.pools[model.pool].engine
            if engine in registered:
                registered[engine] |= model.digest_of()
        self._registered = registered

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await self.look()
            await asyncio.sleep(self._interval_s)

    async def look(self) -> None:
        """Look once, and tell what is new."""
        found: dict[Version, str] = {}
        for engine, watch in self._watches.items():
            found |= await asyncio.to_thread(watch.changed, dict(self._registered.get(engine, {})))
        for (model, version), why in found.items():
            if (model, version) not in self._changed:
                log.error("%s@%d is served, and on disk %s", model, version, why)
            metrics.VERSION_FILES_CHANGED.labels(model, str(version)).set(1)
        for model, version in self._changed.keys() - found.keys():
            log.info("the files of %s@%d are those that are registered again", model, version)
            metrics.VERSION_FILES_CHANGED.remove(model, str(version))
        self._changed = found

    def report(self) -> list[ChangedFiles]:
        """What the control plane is told."""
        return [
            ChangedFiles(model, version, why[:500])
            for (model, version), why in sorted(self._changed.items())[:_MOST_REPORTED]
        ]


def open_watched_files(settings: Settings, number: int) -> WatchedFiles | None:
    """The watch of this host; None where there is nothing to watch, or another worker than the first asks."""
    repositories = {
        engine: folder
        for engine, folder in (
            ("embedded", settings.embedded.model_repository),
            ("triton", settings.upstream.model_repository),
        )
        if folder is not None
    }
    if number or not repositories:
        return None
    return WatchedFiles(repositories, settings.upstream.files_check_s)
