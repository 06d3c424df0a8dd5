"""What one data-plane worker holds: the current snapshot and the parts that its requests use."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.dataplane.concurrency.gates import Gates
from gateway.dataplane.quota.quotas import Quotas
from gateway.dataplane.record import Recorder
from gateway.dataplane.sample import SampleTaker
from gateway.dataplane.sequences.sequences import Sequences
from gateway.errors import GatewayError, Kind, Source
from gateway.observe.traces import Tracing
from gateway.settings import AdmissionSettings, Inference
from gateway.snapshot.compile import Snapshot, empty_snapshot
from gateway.supervisor.loads import OwnLoads
from gateway.types import Principal
from gateway.upstream.exchange import Deadlines
from gateway.upstream.pools import Pools

if TYPE_CHECKING:
    from gateway.tokens.tokens import Tokens


Render = Callable[[str, list[dict[str, object]]], str]


class Plane:
    """One worker. `activate` replaces its snapshot by one assignment; a request keeps the one that it began with.

    Made on the event loop that it will serve on. `tokens` is None where no issuer is declared, `quotas` while the snapshot
    has no quota policy, `samples` where nobody wired in what keeps samples. `loads` is what workers of one host share.
    `render` makes a prompt of an alias's chat template and messages: Jinja's, so it is wired in too.
    """

    def __init__(
        self,
        limits: Inference,
        digest_key: bytes,
        pools: Pools,
        recorder: Recorder,
        tokens: "Tokens | None" = None,
        quotas: Quotas | None = None,
        admission: AdmissionSettings | None = None,
        loads: OwnLoads | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.snapshot: Snapshot = empty_snapshot()
        self.limits = limits
        self.digest_key = digest_key
        self.pools = pools
        self.recorder = recorder
        self.tokens = tokens
        self.deadlines = Deadlines()
        self.gates = (
            Gates(admission, self.loop, self.deadlines, loads)
            if admission is not None and admission.enabled
            else None
        )
        self.draining = False
        self._looked = False
        self.quotas: Quotas | None = None
        self._quotas = quotas or Quotas()
        self.samples: SampleTaker | None = None
        self.sequences: Sequences | None = None
        self.tracing: Tracing | None = None
        self.render: Render = _no_templates
        self._observers: list[Callable[[Snapshot], None]] = []

    def activate(self, snapshot: Snapshot) -> None:
        """Serve from `snapshot` from now on."""
        self.pools.update(snapshot.pools)
        self._quotas.activate(snapshot, time.monotonic())
        self.quotas = self._quotas if snapshot.quotas else None
        self.snapshot = snapshot
        self.recorder.activated(snapshot)
        if self.gates is not None:
            self.gates.activated(snapshot)
        for observer in self._observers:
            observer(snapshot)

    def on_activate(self, observer: Callable[[Snapshot], None]) -> None:
        """Call `observer` after each activation."""
        self._observers.append(observer)

    def accepts(self, principal: Principal, now: float) -> bool:
        """Whether a credential that was good when its call began still is, at `now` (Unix seconds)."""
        if principal.expires_at is not None and principal.expires_at <= now:
            return False
        if principal.issuer:
            return self.tokens is not None and principal.key_id in self.tokens.key_ids
        return principal.key_id in self.snapshot.key_ids

    @property
    def ready(self) -> bool:
        """Whether requests can be served: a snapshot is active, its endpoints have been looked at, no drain is under way.

        Endpoints of a later snapshot are not waited for: those of the one before go on serving.
        """
        if not self._looked:
            self._looked = self.snapshot.version > 0 and self.pools.probed
        return self._looked and not self.draining


def _no_templates(_: str, __: list[dict[str, object]]) -> str:
    raise GatewayError(Kind.NOT_IMPLEMENTED, "This gateway renders no chats.", source=Source.GATEWAY)
