"""Who called what, counted until the control plane has taken it: every inference of a principal, by alias and version."""

from gateway.dataplane.call import Call
from gateway.errors import Kind
from gateway.reports import MOST_USAGE_ROWS, UsageBatch, UsageReport
from gateway.types import Target

MOST_CELLS = 200_000
"""Kept while the control plane is away, some 60 MiB; beyond that new combinations are not counted."""

Key = tuple[str, str, str, int, int]

_DAY_S = 86_400
_LIMITED = Kind.QUOTA_EXCEEDED.value
_TOO_LARGE = Kind.TOO_LARGE.value
_GONE = Kind.GONE.value


class UsageBook:
    """Counts on the event loop; batches are taken and confirmed there too."""

    def __init__(self) -> None:
        self._cells: dict[Key, UsageReport] = {}
        self._batch: UsageBatch | None = None
        self._number = 0

    def count(self, call: Call, target: Target, outcome: str, status: int, at: float) -> None:
        """Count one inference that is over; `status` is the HTTP status that stands for its outcome."""
        trail = call.trail
        assert trail.principal is not None
        key = (trail.principal.id, call.alias, target.model, target.version, int(at // _DAY_S))
        cell = self._cells.get(key)
        if cell is None:
            if len(self._cells) >= MOST_CELLS:
                return
            cell = self._cells[key] = UsageReport(*key[:4], at)
        cell.last_at = at
        if call.version is not None:
            cell.pinned += 1
        # By outcome: a 429 or 410 of the model's own server is a call that was forwarded.
        if outcome == _LIMITED or (outcome == _TOO_LARGE and trail.exchange is None):
            cell.limited += 1
            return
        if outcome == _GONE:
            cell.gone += 1
            return
        cell.requests += 1
        if status >= 500:
            cell.failed += 1
        if call.body is not None:
            cell.request_bytes += call.body.length or 0
        if trail.exchange is not None:
            cell.reply_bytes += trail.exchange.reply_bytes
        if trail.exchange is not None and trail.exchange.started:
            cell.inferences += trail.inferences
        cell.tokens += trail.tokens

    def batch(self) -> UsageBatch:
        """What is to be reported now: the batch that was not confirmed yet, else a new one."""
        if self._batch is None:
            keys = list(self._cells)[:MOST_USAGE_ROWS]
            if keys:
                self._number += 1
            self._batch = UsageBatch(self._number, [self._cells.pop(key) for key in keys])
        return self._batch

    def unreported(self) -> list[UsageBatch]:
        """All that was not confirmed, to be reported by somebody else: the book is empty afterwards."""
        found: list[UsageBatch] = []
        while (batch := self.batch()).rows:
            found.append(batch)
            self.confirm()
        return found

    def confirm(self) -> None:
        """The batch was taken."""
        self._batch = None
