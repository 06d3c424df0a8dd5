"""Where samples lie: a folder, or an object store, through fsspec. Files appear whole or not at all.

alias=digits/version=2/date=2026-11-24/part-….parquet
"""

import errno
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from gateway.kept_file import write_whole

SinkFault = Literal["disk_full", "read_only", "gone", "slow", "failed"]
"""Why samples could not be written."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.EIO}
_PART = re.compile(
    r"alias=(?P<alias>[^/]+)/version=(?P<version>[0-9]+)/date=(?P<date>\d{4}-\d\d-\d\d)/part-[^/]+\.parquet"
)
_ABANDONED_S = 3600.0


class Partition(msgspec.Struct, frozen=True):
    """What a file is of: the rows of one alias and version that arrived on one day (UTC)."""

    alias: str
    version: int
    date: date

    @property
    def path(self) -> str:
        """Its folder within the store."""
        return f"alias={self.alias}/version={self.version}/date={self.date.isoformat()}"


class SampleFile(msgspec.Struct, frozen=True):
    """A file of samples; `path` is within the store."""

    path: str
    partition: Partition
    size_bytes: int


def partition_of(alias: str, version: int, at: float) -> Partition:
    """Where a row belongs that arrived at `at` (Unix seconds)."""
    return Partition(alias, version, datetime.fromtimestamp(at, UTC).date())


def fault_of(error: BaseException) -> SinkFault:
    """What an error of a store means for those who run it."""
    number = getattr(error, "errno", None)
    if number in _FULL:
        return "disk_full"
    if number in _READ_ONLY or isinstance(error, PermissionError):
        return "read_only"
    if number in _GONE or isinstance(error, FileNotFoundError | NotADirectoryError):
        return "gone"
    if number == errno.ETIMEDOUT or isinstance(error, TimeoutError):
        return "slow"
    return "failed"


def scheme_of(url: str) -> str:
    """The kind of store that a URL names; `file` for a path."""
    return urlsplit(url).scheme if "://" in url else "file"


def driver_fault(url: str) -> str | None:
    """What keeps the store of a URL from being opened, whoever's it is: nothing opens its kind here. No driver is loaded."""
    scheme = scheme_of(url)
    if scheme == "file":
        return None
    from fsspec.registry import available_protocols, known_implementations, registry

    kinds = sorted(available_protocols())
    usable = [
        kind
        for kind in kinds
        if kind in registry or find_spec(known_implementations[kind]["class"].partition(".")[0]) is not None
    ]
    if scheme in usable:
        return None
    if scheme in kinds:
        how = known_implementations[scheme].get("err", "")
        return f"no driver for {scheme}:// is installed beside maas. {how}".rstrip(". ")
    others = [kind for kind in kinds if kind not in usable]
    return (
        f"there is no store {scheme}://; write a folder, or a URL that begins with one of {', '.join(usable)}, "
        f"or with its driver installed one of {', '.join(others)}"
    )


class Store:
    """Opens the store of a URL. Raises `ImportError` for one whose driver is not installed, `ValueError` for no URL."""

    def __init__(self, url: str) -> None:
        import fsspec

        self._files: Any
        self._files, root = fsspec.url_to_fs(url)
        self._root = root.rstrip("/")
        self._local = scheme_of(url) in ("file", "local")

    def put(self, path: str, data: bytes) -> None:
        """Write a file whole, in place of what it may replace. Raises whatever the store raises."""
        full = f"{self._root}/{path}"
        if self._local:
            mode = self._make_folders(os.path.dirname(path))
            # Readers pass over files with a dot in front.
            write_whole(Path(full), data, mode & 0o644)
        else:
            # One object, put in one piece: it is there once all of it is.
            self._files.pipe_file(full, data)

    def _make_folders(self, path: str) -> int:
        """Folders down to `path` within the store. Who may read the store's own folder, its owner's alone where it is new, may
        read what is in it: that mode.
        """
        folder = Path(self._root)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode) & 0o777
        for name in filter(None, path.split("/")):
            folder /= name
            folder.mkdir(mode=mode, exist_ok=True)
        return mode

    def get(self, path: str) -> bytes:
        """A file's content."""
        return bytes(self._files.cat_file(f"{self._root}/{path}"))

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone already is no fault."""
        try:
            self._files.rm_file(f"{self._root}/{path}")
        except FileNotFoundError:
            return
        if self._local:
            self._remove_empty(os.path.dirname(path))

    def files(self, alias: str | None = None) -> Iterator[SampleFile]:
        """All files of samples, or those of one alias, by path."""
        root = self._root if alias is None else f"{self._root}/alias={alias}"
        self._files.invalidate_cache()
        found: dict[str, Any] = self._files.find(root, detail=True)
        for full, told in sorted(found.items()):
            match = _PART.fullmatch(full[len(self._root) + 1 :])
            if match is not None:
                partition = Partition(
                    match["alias"], int(match["version"]), date.fromisoformat(match["date"])
                )
                yield SampleFile(match[0], partition, int(told.get("size") or 0))

    def sweep(self) -> None:
        """Remove what a process left half-written when it was killed."""
        if not self._local:
            return
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = os.path.join(folder, name)
                if name.startswith(".part-") and time.time() - os.path.getmtime(path) > _ABANDONED_S:
                    os.unlink(path)

    def _remove_empty(self, folder: str) -> None:
        """Remove the folders of a partition that has no file any more, from the inside out."""
        while folder:
            try:
                os.rmdir(f"{self._root}/{folder}")
            except OSError:
                return
            folder = os.path.dirname(folder)


def new_part(partition: Partition, worker: str) -> str:
    """The path of a new file; no other process makes the same."""
    at = datetime.now(UTC).strftime("%H%M%S")
    return f"{partition.path}/part-{at}-{worker}-{uuid.uuid4().hex[:12]}.parquet"
