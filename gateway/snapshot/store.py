"""The last good snapshot on disk, so that a gateway can start and serve without its control plane."""

from pathlib import Path

from gateway.kept_file import write_shared
from gateway.snapshot.document import SnapshotDocument, SnapshotInvalid, decode


class SnapshotStore:
    """Keeps the newest snapshot that activated, and the one before it, in one folder, for all workers of a host."""

    def __init__(self, folder: Path) -> None:
        self._newest = folder / "snapshot"
        self._previous = folder / "snapshot.previous"

    def save(self, data: bytes) -> None:
        """Write the encoded snapshot so that a crash leaves the old one or the new one, never half of it."""
        write_shared(self._newest, data, self._previous)

    def candidates(self) -> list[tuple[Path, SnapshotDocument | SnapshotInvalid]]:
        """What stands on disk, newest first: each file's document, or why it cannot be used."""
        found: list[tuple[Path, SnapshotDocument | SnapshotInvalid]] = []
        for path in (self._newest, self._previous):
            try:
                found.append((path, decode(path.read_bytes())))
            except FileNotFoundError:
                continue
            except OSError as error:
                found.append((path, SnapshotInvalid([f"cannot be read: {error.strerror}"])))
            except SnapshotInvalid as error:
                found.append((path, error))
        return found
