"""All gates of one worker, by model version. They outlive snapshots: what a version can take does not change with one."""

import asyncio
import logging
import time

from gateway.dataplane.concurrency.gate import Gate
from gateway.dataplane.concurrency.regulator import Clocks
from gateway.dataplane.concurrency.window import Pace
from gateway.observe import metrics
from gateway.reports import SharedVersion
from gateway.settings import AdmissionSettings
from gateway.snapshot.compile import Snapshot
from gateway.supervisor.loads import OwnLoads
from gateway.types import Target

log = logging.getLogger(__name__)

_GAUGES = (metrics.CONCURRENCY_LIMIT, metrics.CONCURRENCY_IN_FLIGHT, metrics.QUEUE_LENGTH)


TICK_S = 0.02
"""How often workers that share limits look at each other: a few times in the time that a call takes."""


class Gates:
    """Makes a version's gate at its first call, and lets go of it when no alias leads to the version any more.

    With `loads` the workers of a host share their limits; `run` must then run.
    """

    def __init__(
        self,
        settings: AdmissionSettings,
        loop: asyncio.AbstractEventLoop,
        pace: Pace,
        loads: OwnLoads | None = None,
    ) -> None:
        self._settings = settings
        self._loads = loads
        self._loop = loop
        # Hosts share the time of day; a jump of it later on does not matter.
        self._clocks = Clocks(time.monotonic, pace, time.time() - time.monotonic())
        # By `served_by`, whose hash is computed once; a target is no key for each request.
        self._gates: dict[bytes, tuple[Gate, Target]] = {}

    @property
    def shares(self) -> bool:
        """Whether there are workers to share limits with."""
        return self._loads is not None

    def of(self, target: Target) -> Gate:
        """The gate of the target's version."""
        found = self._gates.get(target.served_by)
        return found[0] if found is not None else self._build(target)

    def activated(self, snapshot: Snapshot) -> None:
        """Let go of the gates of versions that `snapshot` does not know, once nobody is at them."""
        wanted = {
            target.served_by
            for alias in snapshot.aliases.values()
            for target in (*alias.targets, *alias.pinnable.values())
        }
        for served_by, (gate, target) in list(self._gates.items()):
            if served_by not in wanted and gate.idle:
                del self._gates[served_by]
                if self._loads is not None and gate.part is not None:
                    self._loads.release(gate.part.row)
                for gauge in _GAUGES:
                    gauge.remove(target.model, str(target.version))

    def shared(self, versions: list[SharedVersion]) -> None:
        """Versions with callers whom this worker may not see."""
        for each in versions:
            found = self._gates.get(f"{each.model}/{each.version}".encode())
            if found is not None:
                found[0].shared(each.ago_s)

    async def run(self) -> None:
        """Keep to this worker's part of each limit, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            now = self._clocks.now()
            for gate, _ in self._gates.values():
                if gate.part is not None:
                    gate.part.tick(now)

    def _build(self, target: Target) -> Gate:
        row = None if self._loads is None else self._loads.claim(target.served_by)
        if self._loads is not None and row is None:
            log.warning(
                "the limit of %s is not shared with this host's other workers", target.served_by.decode()
            )
        gate = Gate(target, self._settings, self._loop, self._clocks, row)
        self._gates[target.served_by] = (gate, target)
        labels = (target.model, str(target.version))
        metrics.CONCURRENCY_LIMIT.labels(*labels).set_function(lambda: gate.limit.slots)
        metrics.CONCURRENCY_IN_FLIGHT.labels(*labels).set_function(lambda: gate.in_flight)
        metrics.QUEUE_LENGTH.labels(*labels).set_function(lambda: gate.queues.waiting)
        return gate
