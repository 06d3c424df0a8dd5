"""What the steps of a request decided, counted in plain integers on the request path and turned into metrics when scraped."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class Counts(Collector):
    """A counter with one label, whose values are all known beforehand: `by[value] += 1` counts."""

    def __init__(self, name: str, documentation: str, label: str, values: tuple[str, ...]) -> None:
        self.by = dict.fromkeys(values, 0)
        self._about = name.removesuffix("_total"), documentation
        self._label = label

    def collect(self) -> Iterable[Metric]:
        """The counter."""
        family = CounterMetricFamily(*self._about, labels=(self._label,))
        for value, count in list(self.by.items()):
            family.add_metric((value,), count)
        yield family


class Connecting:
    """Connections to one endpoint that were opened for a call, and calls that found one open."""

    __slots__ = ("opened", "reused")

    def __init__(self) -> None:
        self.opened = 0
        self.reused = 0


class Connectings(Collector):
    """Those of every endpoint, by pool and URL."""

    def __init__(self) -> None:
        self._by_endpoint: dict[tuple[str, str], Connecting] = {}

    def of(self, pool: str, url: str) -> Connecting:
        """The counts of this endpoint, made when it is new."""
        return self._by_endpoint.setdefault((pool, url), Connecting())

    def collect(self) -> Iterable[Metric]:
        """The two counters."""
        labels = ("pool", "endpoint")
        opened = CounterMetricFamily(
            "maas_upstream_connections_opened", "Connections opened to an endpoint for a call.", labels=labels
        )
        reused = CounterMetricFamily(
            "maas_upstream_connections_reused",
            "Calls that found an open connection to an endpoint.",
            labels=labels,
        )
        for endpoint, counts in list(self._by_endpoint.items()):
            opened.add_metric(endpoint, counts.opened)
            reused.add_metric(endpoint, counts.reused)
        return (opened, reused)
