"""CPU time during a spell of load: the proxy's, the load's, and what others had of the proxy's core."""

import time

import msgspec

from loadtests.processes import Cores, core_seconds, cpu_seconds
from loadtests.upstream import Upstream


class Spent(msgspec.Struct, frozen=True):
    """CPU time of one spell. Shares are over wall time; None where there is no proxy, or it has no core of its own."""

    proxy_s: float | None
    proxy_busy: float | None
    lost_busy: float | None
    load_busy: float

    def proxy_us_for_each(self, count: int) -> float | None:
        """The proxy's microseconds for each of `count` requests or tokens."""
        return None if self.proxy_s is None else self.proxy_s * 1e6 / count


class Meter:
    """Runs from its making to `stop`. `pid` is the proxy's, None where there is none."""

    def __init__(self, pid: int | None, upstream: Upstream, cores: Cores) -> None:
        self._pid, self._upstream, self._cores = pid, upstream, cores
        self._before = self._read()

    def stop(self, generator_s: float) -> Spent:
        """What was spent, `generator_s` of it by the load generator."""
        wall_s, core_s, upstream_s, proxy_s = (
            after - before for after, before in zip(self._read(), self._before, strict=True)
        )
        shared = self._cores.load == self._cores.upstream
        load_s = generator_s + upstream_s if shared else max(generator_s, upstream_s)
        if self._pid is None:
            return Spent(None, None, None, load_s / wall_s)
        lost = max(0.0, core_s - proxy_s) / wall_s if self._cores.alone else None
        return Spent(proxy_s, proxy_s / wall_s, lost, load_s / wall_s)

    def _read(self) -> tuple[float, float, float, float]:
        proxy_s = 0.0 if self._pid is None else cpu_seconds(self._pid)
        return time.monotonic(), core_seconds(self._cores.proxy), self._upstream.cpu_seconds(), proxy_s
