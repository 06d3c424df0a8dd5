"""What quotas admitted and refused: plain numbers on the request path, turned into metrics when scraped."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

LABELS = ("policy", "limit", "mode")
NAMES = frozenset({"maas_quota_taken", "maas_quota_local", "maas_quota_refused"})
"""Told for the policies that there are: every worker tells all of them, and none that was deleted."""


class QuotaTally:
    """Requests that took from one limit, those of them that a worker admitted by its own share, and those refused by it."""

    __slots__ = ("local", "refused", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self.local = 0
        self.refused = 0


class QuotaTallies(Collector):
    """All tallies of the process, by policy, limit and mode (`enforce` or `shadow`)."""

    def __init__(self) -> None:
        self._by_labels: dict[tuple[str, str, str], QuotaTally] = {}

    def of(self, labels: tuple[str, str, str]) -> QuotaTally:
        """The tally of these labels, made when it is new."""
        return self._by_labels.setdefault(labels, QuotaTally())

    def keep(self, tallies: Iterable[QuotaTally]) -> None:
        """Let go of all tallies but these: what they counted for is there no more."""
        kept = set(map(id, tallies))
        self._by_labels = {labels: tally for labels, tally in self._by_labels.items() if id(tally) in kept}

    def collect(self) -> Iterable[Metric]:
        """The three counters."""
        for name, what, part in (
            ("maas_quota_taken", "Requests that took from a limit.", "taken"),
            (
                "maas_quota_local",
                "Those of them that a worker admitted by its own share, with the quota store away.",
                "local",
            ),
            ("maas_quota_refused", "Requests that a limit refused, or would have (shadow).", "refused"),
        ):
            family = CounterMetricFamily(name, what, labels=LABELS)
            for labels, tally in list(self._by_labels.items()):
                family.add_metric(labels, getattr(tally, part))
            yield family
