"""The access log: one JSON line a request, also of those that were refused as they were read."""

import asyncio
import logging
import os
import select
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from gateway.observe.metrics import ACCESS_LOG_DROPPED

log = logging.getLogger(__name__)

_MODE = 0o640
"""Its owner's, and its group's to read, for whatever ships logs; less where the process's mask says so."""

_WHOLE_FILE_WRITE = 1 << 30
"""A write to a regular file in append mode is not mixed with another's (write(2)); to a pipe, up to PIPE_BUF (pipe(7))."""


class AccessRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One answered request. Times in Unix seconds, durations in seconds, sizes in bytes; never a credential or payload.

    `traceparent` is the caller's, as it came and if it was valid. `trace_id` is that of the caller's trace or of the one
    that began here; `span_id` that of the gateway's own span, where one is kept. `path` stands only where a request was
    refused before it was understood. `duration_s` is made up of the gateway's own part, the wait for a turn, and the upstream's.
    """

    at: float
    request_id: str
    traceparent: str
    trace_id: str
    span_id: str
    principal: str
    alias: str
    model: str
    version: int
    arm: str
    protocol: str
    operation: str
    outcome: str
    status: int
    duration_s: float
    overhead_s: float
    queued_s: float
    upstream_s: float
    request_bytes: int
    reply_bytes: int
    path: str = ""


class Masking(Protocol):
    """Takes whoever may stand there out of what callers make up."""

    def request_id(self, request_id: str) -> str:
        """The id as it may be logged."""

    def text(self, text: str) -> str:
        """The text as it may be logged."""


class AccessLog:
    """Keeps records in memory and writes them in batches from a thread, so that a slow disk delays no reply.

    `destination` is a file path, `-` for standard output or empty for none. `masking` works in that thread too.
    """

    BATCH = 256
    MOST_WAITING = 65_536
    FLUSH_INTERVAL_S = 0.5

    def __init__(self, destination: str, masking: Masking | None = None) -> None:
        self._destination = destination
        self._masking = masking
        self._waiting: list[AccessRecord] = []
        self._encode = msgspec.json.Encoder().encode_lines
        self._fd: int | None = None
        self._most_bytes = 0
        self._torn = False
        self._failing = False
        self._reopen = False
        self._writing = threading.Lock()
        self.wanted = bool(destination)

    def append(self, record: AccessRecord) -> None:
        """Queue one record; a full queue drops and counts it."""
        if len(self._waiting) < self.MOST_WAITING:
            self._waiting.append(record)
        else:
            ACCESS_LOG_DROPPED.labels("queue_full").inc()

    async def run(self) -> None:
        """Flush until cancelled, then once more."""
        batch: list[AccessRecord] = []
        try:
            while True:
                await asyncio.sleep(self.FLUSH_INTERVAL_S)
                batch, self._waiting = self._waiting, []
                if batch:
                    await asyncio.to_thread(self._write, batch)
        finally:
            # Its thread may be at it, or may not have begun and never will.
            self._write(batch)
            self._write(self._waiting)

    def reopen(self) -> None:
        """Have the next batch open the file anew (after log rotation)."""
        self._reopen = True

    def _write(self, batch: list[AccessRecord]) -> None:
        """Write a batch, and empty it. A failing destination loses lines and counts them; it never raises."""
        written = 0
        with self._writing:
            try:
                fd, most_bytes = self._open()
                for start in range(0, len(batch), self.BATCH):
                    records = [self._masked(record) for record in batch[start : start + self.BATCH]]
                    for lines in whole_lines(self._encode(records), most_bytes):
                        self._write_whole(fd, lines)
                    written += len(records)
                self._failing = False
            except OSError as error:
                ACCESS_LOG_DROPPED.labels("write_failed").inc(len(batch) - written)
                if not self._failing:
                    log.error("the access log cannot be written to %s: %s", self._destination, error)
                self._failing = True
            batch.clear()

    def _masked(self, record: AccessRecord) -> AccessRecord:
        """The record without anybody in what its caller made up. An alias that has no model is none."""
        masking = self._masking
        if masking is None:
            return record
        request_id = masking.request_id(record.request_id)
        if request_id == record.request_id and record.model:
            return record
        alias = record.alias if record.model else masking.text(record.alias)
        return msgspec.structs.replace(
            record, request_id=request_id, alias=alias, path=masking.text(record.path)
        )

    def _write_whole(self, fd: int, lines: bytes) -> None:
        """Write in one go: several workers write here, and what goes in one go lies in one piece."""
        if self._torn:
            lines = b"\n" + lines
        done = os.write(fd, lines)
        while done < len(lines):
            self._torn = True  # a disk that fills up
            done += os.write(fd, lines[done:])
        self._torn = False

    def _open(self) -> tuple[int, int]:
        """The file descriptor, and how many bytes go into it in one piece."""
        if self._reopen and self._fd is not None and self._destination != "-":
            os.close(self._fd)
            self._fd = None
        self._reopen = False
        if self._fd is None:
            if self._destination == "-":
                self._fd = sys.stdout.fileno()
            else:
                Path(self._destination).parent.mkdir(mode=0o750, parents=True, exist_ok=True)
                self._fd = os.open(self._destination, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _MODE)
            regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
            self._most_bytes = _WHOLE_FILE_WRITE if regular else select.PIPE_BUF
        return self._fd, self._most_bytes


def whole_lines(data: bytes, most_bytes: int) -> Iterator[bytes]:
    """Cut `data` behind line breaks into pieces of at most so many bytes; a longer line stays whole."""
    start = 0
    while start < len(data):
        end = len(data)
        if end - start > most_bytes:
            end = data.rfind(b"\n", start, start + most_bytes) + 1 or data.find(b"\n", start) + 1 or end
        yield data[start:end]
        start = end
