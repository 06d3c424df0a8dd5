"""The metrics of several processes as those of one: counters and histograms summed, gauges by what they mean."""

from collections.abc import Callable, Iterable

import msgspec
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

from gateway.observe.metrics import GAUGES
from gateway.observe.quotas import NAMES

SUPERVISOR = "supervisor"
"""Stands in the label `worker` for the process that watches over the workers."""

Labels = tuple[tuple[str, str], ...]
_SUMMED = frozenset({"counter", "histogram", "summary", "gaugehistogram"})
_CHOSEN: dict[str, Callable[[float, float], float]] = {"min": min, "max": max}


class Family(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One metric of one process; a sample is its name, its labels and its value.

    An exemplar is the number of its sample, the trace's id, the value and when that was, Unix seconds.
    """

    name: str
    documentation: str
    kind: str
    samples: list[tuple[str, Labels, float]]
    exemplars: list[tuple[int, str, float, float]] = []


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(list[Family]).decode


def told(registry: Collector = REGISTRY) -> bytes:
    """All metrics of this process, for another one to merge."""
    return _ENCODE(
        [
            Family(
                metric.name,
                metric.documentation,
                metric.type,
                [(sample.name, tuple(sample.labels.items()), sample.value) for sample in metric.samples],
                [
                    (number, exemplar.labels["trace_id"], exemplar.value, float(exemplar.timestamp or 0.0))
                    for number, sample in enumerate(metric.samples)
                    if (exemplar := sample.exemplar) is not None
                ],
            )
            for metric in registry.collect()
        ]
    )


class Merged(Collector):
    """The metrics of all processes that were added."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str, dict[tuple[str, Labels], float]]] = {}
        self._exemplars: dict[tuple[str, Labels], tuple[float, str, float]] = {}

    def add(self, data: bytes, worker: str) -> None:
        """Add what a process told. `worker` is its number, or `SUPERVISOR`, which serves no inference.

        Raises `msgspec.DecodeError` for what no process tells."""
        for family in _DECODE(data):
            samples = self._samples(family)
            if family.kind in _SUMMED:
                _sum(samples, family)
                self._name_traces(family)
                continue
            rule = GAUGES.get(family.name, "worker")
            if rule == "worker":
                for name, labels, value in family.samples:
                    samples[name, (*labels, ("worker", worker))] = value
            elif (rule == "supervisor") == (worker == SUPERVISOR):
                choose = _CHOSEN.get(rule, _plus)
                for name, labels, value in family.samples:
                    known = samples.get((name, labels))
                    samples[name, labels] = value if known is None else choose(known, value)

    def with_totals(self, data: bytes) -> "Merged":
        """A copy with the counts, and only those, of a process that has ended: they are never taken back."""
        copy = Merged()
        for name, (documentation, kind, samples) in self._families.items():
            copy._families[name] = documentation, kind, dict(samples)
        for family in _DECODE(data):
            if family.kind in _SUMMED:
                _sum(copy._samples(family), family)
        return copy

    def add_totals(self, other: "Merged") -> None:
        """Add the counts of `other`, which was made by `with_totals`; of quotas those that somebody still tells."""
        for name, (documentation, kind, samples) in other._families.items():
            family = Family(name, documentation, kind, [])
            known = self._samples(family)
            family.samples.extend(
                (sample, labels, value)
                for (sample, labels), value in samples.items()
                if name not in NAMES or (sample, labels) in known
            )
            _sum(known, family)

    def collect(self) -> Iterable[Metric]:
        """The merged metrics."""
        for name, (documentation, kind, samples) in self._families.items():
            metric = Metric(name, documentation, kind)
            metric.samples = [
                Sample(sample, dict(labels), value, None, self._exemplar(sample, labels))
                for (sample, labels), value in samples.items()
            ]
            yield metric

    def _name_traces(self, family: Family) -> None:
        """Of a bucket's exemplars, the latest stands."""
        for number, trace_id, value, at in family.exemplars:
            sample = family.samples[number][:2]
            self._exemplars[sample] = max(self._exemplars.get(sample, (0.0, "", 0.0)), (at, trace_id, value))

    def _exemplar(self, sample: str, labels: Labels) -> Exemplar | None:
        if (found := self._exemplars.get((sample, labels))) is None:
            return None
        at, trace_id, value = found
        return Exemplar({"trace_id": trace_id}, value, at)

    def _samples(self, family: Family) -> dict[tuple[str, Labels], float]:
        known = self._families.get(family.name)
        if known is None:
            known = self._families[family.name] = (family.documentation, family.kind, {})
        return known[2]


def _sum(samples: dict[tuple[str, Labels], float], family: Family) -> None:
    """Add a family's counts; of the times at which each count began, the earliest stands."""
    for name, labels, value in family.samples:
        known = samples.get((name, labels))
        if known is None:
            samples[name, labels] = value
        elif name.endswith("_created"):
            samples[name, labels] = min(known, value)
        else:
            samples[name, labels] = known + value


def _plus(one: float, other: float) -> float:
    return one + other
