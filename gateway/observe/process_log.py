"""The process's own log on standard error: one line an event as text, or one JSON object; never a credential."""

import logging
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, TextIO

import msgspec

from gateway.observe.metrics import LOG_EVENTS
from gateway.observe.redact import Redactor

log = logging.getLogger(__name__)

_MOST_READ = 1 << 20
_MOST_MESSAGE = 16 * 1024
_MOST_TRACEBACK = 64 * 1024
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), 127)}
_BREAKS = _CONTROLS | {10: "\\n"}
_NOISY = ("httpx", "httpcore", "alembic", "casbin", "uvicorn.access")


class _Line(msgspec.Struct, omit_defaults=True):
    time: str
    level: str
    logger: str
    message: str
    pid: int
    request_id: str = ""
    trace_id: str = ""
    exception: str = ""


class _Formatter(logging.Formatter):
    """What both forms have in common. A record's `request_id` and `trace_id` come through `extra`."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def line(self, record: logging.LogRecord) -> _Line:
        """The record's parts, without credentials and bounded."""
        trouble = ""
        if record.exc_info and record.exc_info[0] is not None:
            trouble = self.formatException(record.exc_info)
        if record.stack_info:
            trouble += "\n" + self.formatStack(record.stack_info)
        at = datetime.fromtimestamp(record.created, UTC)
        return _Line(
            f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
            record.levelname.lower(),
            record.name,
            self._clean(record.getMessage(), _MOST_MESSAGE),
            record.process or 0,
            getattr(record, "request_id", ""),
            getattr(record, "trace_id", ""),
            self._clean(trouble.strip(), _MOST_TRACEBACK),
        )

    def _clean(self, text: str, most: int) -> str:
        text = self._redact(text[:_MOST_READ])
        return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return msgspec.json.encode(self.line(record)).decode()


class _TextFormatter(_Formatter):
    """No event forges another's line: line breaks in a message are escaped, a traceback's lines are indented."""

    def format(self, record: logging.LogRecord) -> str:
        line = self.line(record)
        text = f"{line.time} {record.levelname} {line.logger}: {line.message.translate(_BREAKS)}"
        for part in line.exception.translate(_CONTROLS).splitlines():
            text += f"\n    {part}"
        return text


class _Handler(logging.StreamHandler[TextIO]):
    """Counts events and writes them to standard error; what cannot be formatted is said without its parts."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one event."""
        LOG_EVENTS.labels(record.levelname.lower()).inc()
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Say where the record was made: the library would print its arguments as they are."""
        try:
            self.stream.write(f"a log record of {record.name}, line {record.lineno}, cannot be written\n")
        except (OSError, ValueError):
            # Standard error is gone: there is nobody to tell.
            return


def set_up_logging(level: str, form: Literal["text", "json"], redact: Redactor) -> None:
    """Send the process's own log, warnings and exceptions that nobody caught to standard error, through `redact`."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(_JsonFormatter(redact) if form == "json" else _TextFormatter(redact))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical("nobody caught this", exc_info=(kind, error, trace))


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None:
        name = "?" if found.thread is None else found.thread.name
        log.critical(
            "nobody caught this in thread %s",
            name,
            exc_info=(found.exc_type, found.exc_value, found.exc_traceback),
        )
