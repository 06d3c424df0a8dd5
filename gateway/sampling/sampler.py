"""Sampling in one data-plane worker: chooses calls, has them masked, queued and written, and says how that goes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.errors import GatewayError
from gateway.observe import metrics
from gateway.reports import SampleDeletion, SampleReport
from gateway.sampling.keeper import StoreKeeper
from gateway.sampling.masker import Masker
from gateway.sampling.plan import Plan, Version
from gateway.sampling.queue import Bounds, SampleQueue
from gateway.sampling.reading import Reader
from gateway.sampling.store import Store, scheme_of
from gateway.sampling.writer import Writer
from gateway.secret import Pseudonyms
from gateway.settings import Settings
from gateway.snapshot.compile import Snapshot
from gateway.types import Alias, Captured, Target
from gateway.upstream.tensors import VersionTensors

log = logging.getLogger(__name__)

_TICK_S = 1.0
_FIRST_ASK_S, _LONGEST_ASK_S = 0.5, 30.0
_MOST_UNDER_WAY_BYTES = 32 * 1024 * 1024
_MOST_MASKING_BYTES = 16 * 1024 * 1024

_SETTLE_S = 10.0
"""A worker is told of a deletion within a second or two, and writes nothing of that subject from then on."""
_KEEPER_STOP_S = 1.0

Ask = Callable[[Target], Awaitable[VersionTensors]]


class Sampler:
    """What the data plane calls. All but its threads runs on the event loop. `ask` finds out a version's tensors."""

    def __init__(self, settings: Settings, secret: bytes, worker: str, ask: Ask) -> None:
        limits = settings.samples
        self.max_bytes = limits.max_bytes
        self._stop_limit_s = limits.stop_limit_s
        self._url = settings.samples_url
        self._ask = ask
        self._pseudonyms = Pseudonyms(secret)
        bounds = Bounds(limits.queue_rows, limits.queue_bytes, limits.file_rows, limits.file_s)
        self._queue = SampleQueue(bounds, self._blame)
        self._writer = Writer(self._queue, lambda: Store(self._url), worker)
        self._masker = Masker(Reader(self._pseudonyms, limits.max_bytes), self._queue, _MOST_MASKING_BYTES)
        self._keeper = StoreKeeper(
            self._kept_store, self._url, settings.data_dir / "samples.lock", limits.retention_days, _SETTLE_S
        )
        self._plans: dict[str, Plan] = {}
        self._known: dict[Version, VersionTensors] = {}
        self._unknown: dict[Version, Target] = {}
        self._under_way_bytes = 0

    # --- from the request path ---

    def wants(self, alias: Alias, target: Target, request_id: str) -> float | None:
        """The probability with which this call was chosen, if it is to be captured; else None."""
        plan = self._plans.get(alias.name)
        if plan is None or (inclusion := plan.choice.chosen(target, request_id)) is None:
            return None
        verdict = plan.verdict(target, self._known)
        if verdict == "ready" and self._masker.has_room():
            return inclusion
        if verdict == "tensors_unknown":
            self._unknown.setdefault((target.model, target.version), target)
        metrics.SAMPLES_DROPPED.labels("masking_busy" if verdict == "ready" else verdict).inc()
        return None

    def hold(self, size_bytes: int) -> bool:
        """Whether so many more bytes of calls under way may be kept for samples; if so, they count until `let_go`."""
        if self._under_way_bytes + size_bytes > _MOST_UNDER_WAY_BYTES:
            return False
        self._under_way_bytes += size_bytes
        return True

    def let_go(self, size_bytes: int) -> None:
        """So many bytes are not held any more for a call that is over."""
        self._under_way_bytes -= size_bytes

    def take(self, call: Captured) -> None:
        """A captured call is over: mask it, then queue it."""
        plan = self._plans.get(call.alias)
        known = self._known.get((call.target.model, call.target.version))
        if plan is None or known is None or plan.verdict(call.target, self._known) != "ready":
            # The rules changed while it was under way: what it was chosen under holds no more.
            metrics.SAMPLES_DROPPED.labels("rules_changed").inc()
            return
        self._masker.give(call, plan.masks, known)

    # --- beside it ---

    def activated(self, snapshot: Snapshot) -> None:
        """Follow a snapshot. What did not change keeps what was found out about it."""
        plans: dict[str, Plan] = {}
        unknown: dict[Version, Target] = {}
        for name, entry in snapshot.sampling.items():
            alias = snapshot.aliases[name]
            old = self._plans.get(name)
            same = old is not None and (old.entry, old.alias.targets) == (entry, alias.targets)
            plans[name] = old if old is not None and same else Plan(alias, entry, self._pseudonyms)
            for target in alias.targets:
                version = (target.model, target.version)
                if version not in self._known:
                    unknown[version] = target
        self._plans, self._unknown = plans, unknown
        if plans:
            self._writer.start()
            self._masker.start()

    async def run(self) -> None:
        """Until cancelled: find out tensors, and measure what waits."""
        self._keeper.start()
        pause_s, wait_s = _FIRST_ASK_S, 0.0
        while True:
            if self._unknown and wait_s <= 0:
                learned = await self._learn()
                pause_s = _FIRST_ASK_S if learned else min(pause_s * 2, _LONGEST_ASK_S)
                wait_s = 0.0 if learned else pause_s
            rows, size_bytes, oldest_s = self._queue.measure()
            metrics.SAMPLES_WAITING.set(rows)
            metrics.SAMPLES_WAITING_BYTES.set(size_bytes)
            metrics.SAMPLES_OLDEST_WAITING.set(oldest_s)
            await asyncio.sleep(_TICK_S)
            wait_s -= _TICK_S

    async def stop(self) -> None:
        """Mask and write what is here, within the limit of the settings."""
        await asyncio.to_thread(self._stop)

    def report(self) -> SampleReport:
        """What the control plane is told: what stands in the way of samples, and which deletions are done."""
        problems = {
            name: found for name, plan in self._plans.items() if (found := plan.problems(self._known))
        }
        sink = None if self._writer.fault is None else self._writer.detail
        return SampleReport(problems, sink, self._keeper.seen, self._keeper.done)

    def forget(self, deletions: list[SampleDeletion]) -> None:
        """Subjects whose samples are to go; those that are new here are seen to."""
        if deletions:
            self._keeper.tell(deletions)
            self._writer.deleted = self._keeper.subjects
            self._queue.forget(self._keeper.subjects)

    def _stop(self) -> None:
        self._masker.stop(self._stop_limit_s / 2)
        self._writer.stop(self._stop_limit_s / 2)
        self._keeper.stop(_KEEPER_STOP_S)

    def _kept_store(self) -> Store | None:
        """The store to look after; None where nothing was ever kept in the folder."""
        if scheme_of(self._url) == "file" and not Path(self._url).exists():
            return None
        return Store(self._url)

    def _blame(self) -> str:
        return f"sink_{self._writer.fault}" if self._writer.fault is not None else "queue_full"

    async def _learn(self) -> bool:
        """Ask for the tensors that are not known; whether any version told."""
        learned = False
        for version, target in list(self._unknown.items()):
            try:
                self._known[version] = await self._ask(target)
                learned = True
            except GatewayError as error:
                log.info("%s@%d does not tell its tensors yet: %s", *version, error.detail)
                continue
            self._unknown.pop(version, None)
        return learned
