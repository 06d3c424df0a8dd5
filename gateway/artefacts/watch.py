"""Versions on disk against the digests that they are registered with: dates and sizes first, contents where those moved."""

import os
from collections.abc import Mapping
from pathlib import Path

from gateway.artefacts.files import ArtefactRefused, plain_files, version_files

Version = tuple[str, int]
Stamp = tuple[tuple[str, int, int, int, int], ...]


def stamp(folder: Path) -> Stamp:
    """What a version's files look like from outside: it differs whenever one was written, replaced or touched.

    Raises `ArtefactRefused`, and OSError for a file that goes meanwhile.
    """
    found = []
    for path in plain_files(folder):
        seen = os.lstat(path)
        name = path.relative_to(folder).as_posix()
        # The change time is the kernel's own: nobody sets it back.
        found.append((name, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino))
    return tuple(found)


class FilesWatch:
    """The versions of one model repository that have other files than they are registered with. For one thread at a time."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._known: dict[Version, tuple[Stamp, str]] = {}

    def changed(self, registered: Mapping[Version, str]) -> dict[Version, str]:
        """Of the versions that are there, those that are not as registered, and why in a few words.

        A version without a folder is none of these: whoever serves it says that it is missing.
        """
        self._known = {version: known for version, known in self._known.items() if version in registered}
        found = {}
        for (model, number), digest in registered.items():
            folder = self._repository / model / str(number)
            try:
                if folder.exists() and self._digest((model, number), folder) != digest:
                    found[model, number] = "its files have another digest than is registered"
            except (ArtefactRefused, OSError) as error:
                self._known.pop((model, number), None)
                found[model, number] = f"its files cannot be read: {error}"
        return found

    def _digest(self, version: Version, folder: Path) -> str:
        now = stamp(folder)
        then, digest = self._known.get(version, ((), ""))
        if now != then:
            digest = version_files(folder).digest
            # Written to meanwhile, it looks different again at the next look.
            self._known[version] = (now, digest)
        return digest
