"""The files of a version: found, measured, and put into one digest. Links, special files and odd names are refused."""

import hashlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import msgspec

_PIECE_BYTES = 1 << 20

MOST_FILES = 10_000
"""Of one version; more is a data set that was put into the wrong folder."""


class ArtefactRefused(Exception):
    """A folder or file that cannot be an artefact, and why, in one line."""


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a version: its path within the version's folder, its size and its `sha256:HEX`."""

    path: str
    size_bytes: int
    digest: str


class VersionFiles(msgspec.Struct, frozen=True):
    """What a version consists of: the digest over all of it, and each file, by path."""

    digest: str
    files: tuple[FileEntry, ...]


def version_files(folder: Path) -> VersionFiles:
    """The files of a version's folder, and the version's digest.

    The digest is SHA-256 over the files in the order of their relative paths (as UTF-8): for each file the length of its
    path in 8 bytes, its path, the length of its content in 8 bytes, its content; big-endian. Nothing else counts: not
    dates, owners, modes or empty folders.

    Raises `ArtefactRefused` for anything but plain files and folders: what a link leads to could change unseen.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise ArtefactRefused(f"{folder} is no folder of its own")
    found = sorted((path.relative_to(folder).as_posix().encode(), path) for path in plain_files(folder))
    if not found:
        raise ArtefactRefused(f"{folder} has no files")
    total = hashlib.sha256()
    entries = []
    for name, path in found:
        own = hashlib.sha256()
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            total.update(len(name).to_bytes(8) + name + size.to_bytes(8))
            read = 0
            while piece := file.read(_PIECE_BYTES):
                total.update(piece)
                own.update(piece)
                read += len(piece)
        if read != size:
            raise ArtefactRefused(f"{path} changed while it was read; register it when it is complete")
        entries.append(FileEntry(name.decode(), size, f"sha256:{own.hexdigest()}"))
    return VersionFiles(f"sha256:{total.hexdigest()}", tuple(entries))


def plain_files(folder: Path) -> list[Path]:
    """All files below a folder. Raises `ArtefactRefused` for what is neither a plain file nor a folder, or too many."""
    found = []
    for path in _walk(folder):
        found.append(path)
        if len(found) > MOST_FILES:
            raise ArtefactRefused(f"{folder} has more than {MOST_FILES} files")
    return found


def open_plain(path: Path) -> BufferedReader:
    """A plain file, opened to be read; never through a link, nor a device or pipe. Raises `ArtefactRefused`."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ArtefactRefused(f"{path} cannot be read, or is a link: {error.strerror}") from error
    file = os.fdopen(number, "rb")
    if not stat.S_ISREG(os.fstat(number).st_mode):
        file.close()
        raise ArtefactRefused(f"{path} is no plain file")
    return file


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """The whole of a plain file. Raises `ArtefactRefused` for one that is larger than `most_bytes`."""
    with open_plain(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ArtefactRefused(f"{path} is larger than {most_bytes} bytes, the most that such a file may have")
    return content


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        mode = entry.stat(follow_symlinks=False).st_mode
        try:
            entry.name.encode()
        except UnicodeEncodeError as error:
            raise ArtefactRefused(f"{entry.path!r} has a name that is not UTF-8") from error
        if stat.S_ISDIR(mode):
            yield from _walk(Path(entry.path))
        elif stat.S_ISREG(mode):
            yield Path(entry.path)
        else:
            raise ArtefactRefused(
                f"{entry.path} is a link or no plain file; a version holds plain files only"
            )
