"""Files that are whole whenever somebody looks: written beside their place, and given their name at the end.

What must not be used once it is damaged carries a seal: a first line with the SHA-256 of the rest.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

PRIVATE = 0o600
"""The mode of a file that its owner alone may read."""

_TURN_S = 0.2
_LOOK_S = 0.005


def seal(body: bytes) -> bytes:
    """The body behind its seal."""
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unseal(data: bytes) -> bytes | None:
    """The body, or None where it is damaged or was cut short."""
    checksum, _, body = data.partition(b"\n")
    return body if hashlib.sha256(body).hexdigest().encode() == checksum else None


def write_whole(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a file into a folder that is there. A crash leaves the old one or the new one, never half of it.

    `mode` is as for `open` (2): the process's mask is taken off. Raises `OSError`.
    """
    with written_beside(path, data, mode) as fresh:
        os.replace(fresh, path)


def write_shared(path: Path, data: bytes, previous: Path | None = None) -> None:
    """Write a private file that several workers of a host keep, and its folder where there is none.

    The first one to write the same data does, the others leave it at that. What stood there goes to `previous`, if that
    is given. A crash leaves the old one or the new one, never half of it. Raises `OSError`.
    """
    if _holds(path, data):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path, data, PRIVATE) as fresh, _turn(path.parent):
        if not _holds(path, data):
            if previous is not None:
                _keep(path, previous, fresh.with_suffix(".old"))
            os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def written_beside(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """The data in a file beside `path`, safe on its disk, to be given a name. What is left of it then is removed.

    Its own name begins with a dot and the name of `path`: who lists the folder passes over it.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False


def _keep(path: Path, previous: Path, name: Path) -> None:
    """Have what stands at `path` stand at `previous` too, by way of `name`; whoever looks meanwhile finds both."""
    if not path.exists():
        return
    try:
        os.link(path, name)
    except OSError:
        name = path  # a file system without links
    os.replace(name, previous)


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One worker's turn with the folder. It is not waited for for long: a worker that hangs must not keep the others from
    a change, and without turns nothing is lost but, perhaps, the previous one."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + _TURN_S
        while time.monotonic() < until:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOOK_S)
            except OSError:
                break  # a file system without locks
        yield
    finally:
        os.close(lock)
