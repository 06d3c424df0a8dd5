"""Reads a model folder in Triton's layout: which versions it has, and the digest of each."""

import hashlib
import os
import re
import stat
from pathlib import Path

import msgspec

from gateway.cli.output import Refused
from gateway.types import MAX_VERSION, NAME

_VERSION = re.compile(r"[1-9][0-9]{0,18}")
_PIECE_BYTES = 1 << 20


class ModelFolder(msgspec.Struct, frozen=True):
    """A model's name and the digest of each version, as `sha256:HEX`."""

    name: str
    digests: dict[int, str]


def read_model_folder(path: Path) -> ModelFolder:
    """Digest every version folder of `path`. Raises `Refused` for a folder that is none of Triton's, and for links."""
    folder = Path(os.path.abspath(path))
    if folder.is_symlink():
        raise Refused(f"{path} is a link; name the folder that it leads to")
    if not folder.is_dir():
        raise Refused(f"{path} is no folder")
    if not NAME.fullmatch(folder.name):
        raise Refused(f"{folder.name!r} cannot be a model's name: letters, digits, '.', '_' and '-' only")
    if not (folder / "config.pbtxt").is_file():
        raise Refused(f"{path} has no config.pbtxt; a model folder is one of a Triton model repository")
    digests: dict[int, str] = {}
    for child in sorted(folder.iterdir()):
        if _VERSION.fullmatch(child.name) and int(child.name) <= MAX_VERSION:
            digests[int(child.name)] = version_digest(child)
    if not digests:
        raise Refused(f"{path} has no version: a folder named 1, 2, 3, … with the model's files")
    return ModelFolder(folder.name, digests)


def version_digest(folder: Path) -> str:
    """SHA-256 over the version's files in the order of their relative paths (as UTF-8): for each file the length of
    its path in 8 bytes, its path, the length of its content in 8 bytes, its content; big-endian. Nothing else counts:
    not dates, owners, modes or empty folders.

    Raises `Refused` for anything but plain files and folders: what a link leads to could change unseen.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise Refused(f"{folder} is no folder of its own")
    total = hashlib.sha256()
    files = sorted((path.relative_to(folder).as_posix().encode(), path) for path in _files(folder))
    if not files:
        raise Refused(f"{folder} has no files")
    for name, path in files:
        size = path.stat().st_size
        total.update(len(name).to_bytes(8) + name + size.to_bytes(8))
        read = 0
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                total.update(piece)
                read += len(piece)
        if read != size:
            raise Refused(f"{path} changed while it was read; register it when it is complete")
    return f"sha256:{total.hexdigest()}"


def _files(folder: Path) -> list[Path]:
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        mode = entry.stat(follow_symlinks=False).st_mode
        try:
            entry.name.encode()
        except UnicodeEncodeError as error:
            raise Refused(f"{entry.path!r} has a name that is not UTF-8") from error
        if stat.S_ISDIR(mode):
            found += _files(Path(entry.path))
        elif stat.S_ISREG(mode):
            found.append(Path(entry.path))
        else:
            raise Refused(f"{entry.path} is a link or no plain file; a version holds plain files only")
    return found
