"""One data-plane worker: plane, listener, snapshot feed, probes and reports, started and drained together."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import httpx
import msgspec

from gateway.dataplane.announce import tell_sunsets
from gateway.dataplane.files import open_watched_files
from gateway.dataplane.http.listener import Listener
from gateway.dataplane.plane import Plane
from gateway.dataplane.port.shared_port import SharedPort
from gateway.dataplane.quota import open_quotas
from gateway.dataplane.record import Recorder
from gateway.dataplane.sample import SampleTaker
from gateway.dataplane.sequences import open_sequences
from gateway.dataplane.unreported import Unreported
from gateway.observe import metrics
from gateway.observe.logs import AccessLog, Masking
from gateway.observe.traces import Tracing
from gateway.policy.rows import decider
from gateway.reports import EndpointReport, Report, ReportAnswer, UsageBatch
from gateway.secret import KEY_PURPOSE, derive, worker_token
from gateway.settings import Settings
from gateway.snapshot.compile import Snapshot, compile_snapshot
from gateway.snapshot.document import SnapshotDocument
from gateway.snapshot.feed import SnapshotFeed
from gateway.snapshot.store import SnapshotStore
from gateway.supervisor.loads import OwnLoads
from gateway.supervisor.pins import PinTable
from gateway.tokens import open_tokens
from gateway.upstream.pools import Pools, UpstreamPool

if TYPE_CHECKING:
    from gateway.dataplane.grpc.listener import Listener as GrpcListener
    from gateway.observe.otlp import SpanExport

log = logging.getLogger(__name__)

REPORT_INTERVAL_S = 1.0
_RESTART_S = 1.0
_REPORT_S = 5.0
_LAST_REPORT_S = 2.0
_LAST_REPORTS_S = 4.0
_FAREWELL_S = 1.0
"""The last part of a drain's notice: replies end their connections, so that few are idle when those are closed."""
_LOOK_S = 0.02
_ALONE_S = 1.0
"""So long a worker that nobody stands in for waits for its first snapshot before it answers that it is not ready."""
_LAST_SPANS_S = 3.0

_ALL_ADDRESSES = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - recognised, not bound


class Worker:
    """Serves the inference port from its snapshot, with or without a control plane.

    `number` tells the workers of one gateway apart, from 0 on. `samples` makes what keeps samples, where they are wanted.
    `loads` and `pins` are what the workers of one host share, where there are several; `masking` is for what callers make up and the
    access log holds.
    """

    def __init__(
        self,
        settings: Settings,
        secret: bytes,
        embedded: UpstreamPool | None,
        number: int = 0,
        samples: Callable[[Plane, str], SampleTaker] | None = None,
        loads: OwnLoads | None = None,
        masking: Masking | None = None,
        pins: PinTable | None = None,
    ) -> None:
        self.access_log = AccessLog(settings.access_log, masking)
        self.pools = Pools(settings.upstream, embedded)
        self._refresher = open_tokens(settings)
        self._name = f"{socket.gethostname()}-{os.getpid()}-{number}"
        quotas, self._quota_store = open_quotas(settings, self._name)
        self._quotas = quotas
        self.plane = Plane(
            settings.inference,
            derive(secret, KEY_PURPOSE),
            self.pools,
            Recorder(self.access_log),
            None if self._refresher is None else self._refresher.tokens,
            quotas,
            admission=settings.admission,
            loads=loads,
        )
        self._sequences = open_sequences(settings.sequences, secret, pins, self.plane.deadlines)
        self.plane.sequences = self._sequences
        self.plane.on_activate(tell_sunsets)
        self._files = open_watched_files(settings, number)
        if self._files is not None:
            self.plane.on_activate(self._files.activated)
        self.listener = Listener(self.plane)
        self.port = 0
        self._settings = settings
        self._token = worker_token(secret)
        self._started_at = time.time()
        self._samples = self.plane.samples = None if samples is None else samples(self.plane, self._name)
        if self._samples is not None:
            self.plane.on_activate(self._samples.activated)
        self._tasks: list[asyncio.Task[None]] = []
        self._sharing: asyncio.Task[None] | None = None
        self._grpc: GrpcListener | None = None
        self._spans: SpanExport | None = None
        # Nothing may be reported after the last word: the worker would be known, and missed, again.
        self._reports = asyncio.Lock()
        self._ended = False
        self._unreported = Unreported(settings.data_dir / "unreported")
        self.feed = SnapshotFeed(
            settings.control_url,
            self._token,
            self._name,
            SnapshotStore(settings.data_dir / "snapshots"),
            compile_document,
            self.plane.activate,
            lambda _: metrics.SNAPSHOT_REFUSED.labels("data").inc(),
        )

    async def start(self, shared: SharedPort | None = None, grpc_shared: SharedPort | None = None) -> None:
        """Begin to serve, on ports of its own or on `shared` ones. Raises `OSError` when a port is taken."""
        self.feed.start_from_disk()
        works = [self.feed.run, self.plane.deadlines.run, self.access_log.run, self._report]
        loop = asyncio.get_running_loop()
        if self._refresher is not None:
            works.append(self._refresher.run)
        if self._samples is not None:
            works.append(self._samples.run)
        if self._files is not None:
            works.append(self._files.run)
        if self._quota_store is not None:
            works.append(self._quota_store.run)
        if self.plane.gates is not None and self.plane.gates.shares:
            works.append(self.plane.gates.run)
        if shared is None:
            self.port = await self.listener.start()
        else:
            self.port = shared.port
            self._sharing = loop.create_task(self._share(shared, grpc_shared))
        if self._settings.inference.grpc_port:
            # Who does not serve gRPC does without.
            from gateway.dataplane.grpc.listener import Listener as GrpcListener

            self._grpc = GrpcListener(self.plane)
            if shared is None:
                await self._grpc.start()
        if self._settings.traces.endpoint:
            self._spans = self._start_tracing()
        self._tasks += [loop.create_task(_kept_up(work)) for work in works]

    async def stop(self, notice_s: float, *, handing_over: bool = False) -> None:
        """Say that it is going, wait for the notice to be seen, finish what is under way, then end.

        `handing_over`: other workers go on with the port, so only this one's callers have to move.
        """
        if self._sharing is not None:
            self._sharing.cancel()
        if handing_over:
            await self.listener.port.accept_no_more(handing_over=True)
            if self._grpc is not None:
                await self._grpc.port.accept_no_more(handing_over=True)
            self.listener.draining = True
            await self.listener.port.emptied(notice_s)
        else:
            self.plane.draining = True
            farewell_s = min(_FAREWELL_S, notice_s / 2)
            await asyncio.sleep(notice_s - farewell_s)
            self.listener.draining = True
            await asyncio.sleep(farewell_s)
        drains = [self.listener.drain()]
        if self._grpc is not None:
            drains.append(self._grpc.drain())
        await asyncio.gather(*drains)
        if self._samples is not None:
            await self._samples.stop()
        await self._last_report()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._quota_store is not None:
            await self._quota_store.leave()
        await self._sequences.pins.close()
        await self.pools.close()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close, _LAST_SPANS_S)

    def _start_tracing(self) -> "SpanExport":
        from gateway.observe.otlp import SpanExport

        settings = self._settings.traces
        spans = SpanExport(settings, self._name)
        host = self._settings.inference.host
        address = socket.gethostname() if host in _ALL_ADDRESSES else host
        self.plane.tracing = Tracing(settings, spans, address, self.port)
        log.info("traces go to %s", spans.url)
        return spans

    async def _share(self, shared: SharedPort, grpc_shared: SharedPort | None) -> None:
        """Accept once ready. Until then the other workers do; without any, callers are told after a moment."""
        until = time.monotonic() + _ALONE_S
        try:
            # What other processes do cannot be awaited.
            while not (self.plane.ready or (shared.alone and time.monotonic() > until)):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)
        except asyncio.CancelledError:
            shared.close()
            if grpc_shared is not None:
                grpc_shared.close()
            raise
        self.listener.share(shared)
        if self._grpc is not None and grpc_shared is not None:
            self._grpc.share(grpc_shared)

    async def _report(self) -> None:
        """Tell the control plane, once a second, what this worker serves and which keys were used."""
        async with self._reporting(_REPORT_S) as client:
            while True:
                metrics.CONTROL_PLANE_CONNECTED.set(self.feed.connected)
                async with self._reports:
                    if self.feed.connected and not self._ended:
                        # First: an earlier process may have had this one's name.
                        await self._unreported.hand_in(partial(self._hand_in, client))
                        await self._report_once(client)
                await asyncio.sleep(REPORT_INTERVAL_S)

    async def _last_report(self) -> None:
        """What was counted since the last report, and that this worker ends.

        What several batches are, or a control plane that is away, is kept for a later worker. The farewell is said also where
        reports took too long: who does not say it stays among the workers for an hour.
        """
        if not self.feed.connected:
            self._ended = True
            await self._keep_unreported()
            return
        async with self._reporting(_LAST_REPORT_S) as client:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_REPORTS_S), self._reports:
                    self._ended = True
                    await self._report_once(client)
                    await self._report_once(client)
            self._ended = True
            # Before the farewell, which may take its time: a supervisor waits only so long.
            await self._keep_unreported()
            await self._take_leave(client, self._name)

    async def _keep_unreported(self) -> None:
        recorder = self.plane.recorder
        used, recorder.keys_used = recorder.keys_used, {}
        batches: list[UsageBatch | None] = [*recorder.usage.unreported()]
        if used and not batches:
            batches = [None]
        if not batches:
            return
        report = msgspec.structs.replace(
            self._state(used, None), inference_url=None, endpoints=[], samples=None, quota_workers=None
        )
        reports = [msgspec.structs.replace(report, usage=batch) for batch in batches]
        await asyncio.to_thread(self._unreported.keep, self._name, reports)

    async def _hand_in(self, client: httpx.AsyncClient, worker: str, report: Report) -> bool:
        """Report what a worker that has ended had not, and that it has. True: it was taken."""
        # Nobody is to wait until the ended one knows the newest snapshot.
        report = msgspec.structs.replace(report, snapshot_version=self.plane.snapshot.version)
        if await self._post(client, worker, report) is None:
            return False
        if worker != self._name:
            await self._take_leave(client, worker)
        return True

    async def _take_leave(self, client: httpx.AsyncClient, worker: str) -> None:
        with contextlib.suppress(httpx.HTTPError):
            await client.delete(f"/api/v1/workers/{worker}")

    def _reporting(self, timeout_s: float) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        url = self._settings.control_url
        return httpx.AsyncClient(
            base_url=url, headers=headers, timeout=timeout_s, trust_env=False, verify=url.startswith("https:")
        )

    async def _report_once(self, client: httpx.AsyncClient) -> None:
        recorder = self.plane.recorder
        # The use of a key that could not be reported is not kept: the next one is reported again.
        used, recorder.keys_used = recorder.keys_used, {}
        answer = await self._post(client, self._name, self._state(used, recorder.usage.batch()))
        if answer is not None:
            recorder.usage.confirm()
            self._answered(answer)

    async def _post(self, client: httpx.AsyncClient, worker: str, report: Report) -> bytes | None:
        """What the control plane answers to the report; None where it did not take it."""
        with contextlib.suppress(httpx.HTTPError):
            reply = await client.post(f"/api/v1/workers/{worker}/report", content=msgspec.json.encode(report))
            if reply.is_client_error:
                log.error("the control plane refuses a report of %s: %s", worker, reply.text[:500])
            if reply.is_success:
                return reply.content
        return None

    def _answered(self, content: bytes) -> None:
        """Do what the control plane answers to a report; an old one answers nothing."""
        try:
            answer = msgspec.json.decode(content, type=ReportAnswer) if content else ReportAnswer()
        except msgspec.DecodeError as error:
            log.error("the control plane's answer to a report cannot be read: %s", error)
            return
        if self._samples is not None:
            self._samples.forget(answer.sample_deletions)
        if self.plane.gates is not None:
            self.plane.gates.shared(answer.shared_versions)

    def _state(self, keys_used: dict[str, float], usage: UsageBatch | None) -> Report:
        return Report(
            host=socket.gethostname(),
            pid=os.getpid(),
            role=self._settings.role,
            snapshot_version=self.plane.snapshot.version,
            started_at=self._started_at,
            inference_url=None if self.plane.draining else self._inference_url(),
            endpoints=[
                EndpointReport(
                    endpoint.pool,
                    endpoint.url,
                    endpoint.ready,
                    endpoint.since,
                    None if endpoint.versions is None else sorted(endpoint.versions),
                    endpoint.detail,
                )
                for endpoint in self.pools.endpoints()
            ],
            keys_used=keys_used,
            usage=usage,
            samples=None if self._samples is None else self._samples.report(),
            quota_workers=self._quotas.shared_among,
            changed_files=[] if self._files is None else self._files.report(),
        )

    def _inference_url(self) -> str | None:
        """Where callers reach this worker; None when it listens on all addresses: which of them is theirs, they know."""
        host = self._settings.inference.host
        if host in _ALL_ADDRESSES:
            return None
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


async def _kept_up(work: Callable[[], Awaitable[None]]) -> None:
    """Run one of the worker's standing tasks; one that fails is logged and started again."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("%s failed and is started again", work)
        await asyncio.sleep(_RESTART_S)


def compile_document(document: SnapshotDocument) -> Snapshot:
    """Compile a snapshot with its policy, and measure it. Raises `SnapshotInvalid`."""
    began = time.monotonic()
    try:
        return compile_snapshot(document, decider)
    finally:
        metrics.SNAPSHOT_COMPILE_SECONDS.labels("data").observe(time.monotonic() - began)
