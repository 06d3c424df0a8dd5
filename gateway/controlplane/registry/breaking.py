"""Whom a version with another signature would break: those who call the earlier versions now."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property

from sqlalchemy.orm import Session

from gateway.controlplane.deprecations.remaining import REMAINS_DAYS
from gateway.controlplane.registry import store
from gateway.controlplane.registry.schemas import BrokenCaller


class Callers:
    """The callers of a model's versions within the last days; read once, when first asked for."""

    def __init__(self, session: Session, model: str) -> None:
        self._session = session
        self._model = model

    @cached_property
    def _calls(self) -> Sequence[tuple[str, str, int, int, int, datetime]]:
        since = datetime.now(UTC) - timedelta(days=REMAINS_DAYS)
        return store.calls_of_model(self._session, self._model, since)

    @cached_property
    def _targets(self) -> set[tuple[str, int]]:
        return set(store.targets_of_model(self._session, self._model))

    def of(self, versions: Collection[int]) -> list[BrokenCaller]:
        """Who named one of the versions, or came through an alias that sends traffic there; the busiest first."""
        calls: dict[str, int] = defaultdict(int)
        last: dict[str, datetime] = {}
        through: dict[str, set[str]] = defaultdict(set)
        for principal, alias, version, requests, pinned, last_at in self._calls:
            if version in versions and (pinned or (alias, version) in self._targets):
                calls[principal] += requests
                last[principal] = max(last_at, last.get(principal, last_at))
                through[principal].add(alias)
        return sorted(
            (
                BrokenCaller(principal, count, last[principal], sorted(through[principal]))
                for principal, count in calls.items()
            ),
            key=lambda caller: (-caller.calls, caller.principal),
        )
