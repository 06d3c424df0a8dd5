"""What workers could not report before they ended: kept in the data folder until a later worker of the host reports it."""

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from gateway.kept_file import PRIVATE, seal, unseal, write_whole
from gateway.reports import Report

log = logging.getLogger(__name__)

MOST_BYTES = 128 * 2**20
"""Of a folder. A row of usage takes some 200 bytes, so that this is what three workers have that are full."""

_SUFFIX = ".report"

Send = Callable[[str, Report], Awaitable[bool]]
"""Send the report of a worker by its name. True: it was taken."""


class Kept(msgspec.Struct, frozen=True):
    """One report that is still to be sent, and the name of the worker that made it."""

    worker: str
    report: Report


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(Kept).decode


class Unreported:
    """A folder of reports, each in a file of its own. There is none as long as nothing was kept.

    A report goes out under the name, the start and the number of who made it: what the control plane has had of it already,
    with the answer lost, it does not count again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, worker: str, reports: Iterable[Report]) -> None:
        """Keep a worker's last reports. What does not fit, or cannot be written, is lost, and the log says how much."""
        for report in reports:
            try:
                self._keep(Kept(worker, report))
            except OSError as error:
                rows = report.usage.rows if report.usage is not None else []
                log.error(
                    "%d calls are in no usage: they could be neither reported nor kept: %s",
                    sum(row.requests + row.limited + row.gone for row in rows),
                    error,
                )

    async def hand_in(self, send: Send) -> None:
        """Send what is kept, a worker's reports in their order, until one is not taken. One worker of the host does at a time."""
        if not await asyncio.to_thread(self._files):
            return
        with self._turn() as ours:
            for path in await asyncio.to_thread(self._files) if ours else []:
                kept = await asyncio.to_thread(_read, path)
                if kept is not None and not await send(kept.worker, kept.report):
                    return
                path.unlink(missing_ok=True)

    def _keep(self, kept: Kept) -> None:
        data = seal(_ENCODE(kept))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sum(path.stat().st_size for path in self._files()) + len(data) > MOST_BYTES:
            raise OSError(f"{self._folder} is full")
        number = kept.report.usage.number if kept.report.usage is not None else 0
        # Another process may have had the same name: process ids come again, in a container with each start.
        began_ms = int(kept.report.started_at * 1000)
        write_whole(self._folder / f"{kept.worker}.{began_ms}.{number:09d}{_SUFFIX}", data, PRIVATE)

    def _files(self) -> list[Path]:
        try:
            return sorted(
                path
                for path in self._folder.iterdir()
                if path.suffix == _SUFFIX and not path.name.startswith(".")
            )
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _turn(self) -> Iterator[bool]:
        """Whether it is this worker that sends: of two at once, one might send a report after a later one."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:
                pass  # a file system without locks
            yield True
        finally:
            os.close(folder)


def _read(path: Path) -> Kept | None:
    """What a file holds; None where it is gone or damaged, which the log says."""
    try:
        body = unseal(path.read_bytes())
        if body is not None:
            return _DECODE(body)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError:
        pass
    log.error("%s is damaged: what it held is in no usage", path)
    return None
