"""The data plane in this process: the only one of its host, or one of several workers."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Iterable
from functools import cache, partial
from typing import TYPE_CHECKING

from gateway.app.process import leave_by_signal, tell_addresses
from gateway.dataplane.plane import Plane
from gateway.dataplane.port.shared_port import SharedPort
from gateway.dataplane.worker import Worker
from gateway.observe.metrics import render
from gateway.observe.ops import serve_ops
from gateway.sampling.logged import LoggedText
from gateway.sampling.sampler import Sampler
from gateway.sampling.store import driver_fault
from gateway.secret import Pseudonyms
from gateway.settings import Settings, SettingsError
from gateway.snapshot.compile import Snapshot
from gateway.snapshot.document import ModelEntry, SnapshotDocument
from gateway.snapshot.store import SnapshotStore
from gateway.supervisor.loads import OwnLoads
from gateway.supervisor.member import Member
from gateway.supervisor.messages import Leave
from gateway.supervisor.orphans import until_taken_over
from gateway.supervisor.pins import PinTable
from gateway.types import Target
from gateway.upstream.tensors import VersionTensors, ask_tensors

if TYPE_CHECKING:
    from gateway.templates import ChatTemplates
    from gateway.upstream.embedded_pool import EmbeddedPool

log = logging.getLogger(__package__)

_ORPHANED = Leave(1.0, handing_over=True)
"""No supervisor has come. The port is closed as if others went on with it: a new supervisor might just be taking it."""

_SUPERVISOR_FIRST_S = 1.0
"""A service manager signals supervisor and workers at once: what the supervisor then says comes within that."""


async def serve_alone(settings: Settings, secret: bytes) -> None:
    """Serve inference until a signal comes."""
    worker = open_worker(settings, secret, 0)
    leaving = leave_by_signal(settings.inference.drain_notice_s)
    await worker.start()
    stop_ops = None
    if settings.role == "data":
        stop_ops = serve_ops(
            settings.inference.host, settings.inference.ops_port, lambda: (worker.plane.ready, ""), render
        )
    log.info("inference is served at http://%s:%d", settings.inference.host, worker.port)
    tell_addresses(settings, worker.port)
    await _serve(worker, leaving)
    if stop_ops is not None:
        await asyncio.to_thread(stop_ops)


async def serve_beside_others(settings: Settings, secret: bytes, member: Member) -> None:
    """Serve inference on the port that all workers share, until the supervisor, the next one, or a signal says to leave."""
    worker = open_worker(settings, secret, member.begin.number, member.loads, member.pins)
    # Others go on with the port: it must not be closed to callers as by a drain of all.
    leaving = leave_by_signal(
        settings.inference.drain_notice_s, handing_over=True, delay_s=_SUPERVISOR_FIRST_S
    )
    grpc_port, place = settings.inference.grpc_port, member.begin.place
    apart: tuple[list[socket.socket], list[socket.socket]] = ([], [])
    for sock in member.sockets:
        apart[sock.getsockname()[1] == grpc_port].append(sock)
    await worker.start(
        SharedPort(apart[0], member.shares, place),
        SharedPort(apart[1], member.grpc_shares, place) if apart[1] else None,
    )

    def leave(how: Leave) -> None:
        if not leaving.done():
            leaving.set_result(how)

    async def heed() -> None:
        await member.run(lambda: worker.plane.ready, worker.access_log.reopen, leave)
        if not leaving.done():
            limit_s = settings.inference.orphan_limit_s
            log.warning(
                "the supervisor is gone; this worker serves on for %g s, or until the next one has come",
                limit_s,
            )
            leave(await until_taken_over(settings.data_dir, member.sockets, limit_s) or _ORPHANED)

    heeding = asyncio.create_task(heed())
    await _serve(worker, leaving)
    await member.end()
    heeding.cancel()


def open_worker(
    settings: Settings,
    secret: bytes,
    number: int,
    loads: OwnLoads | None = None,
    pins: PinTable | None = None,
) -> Worker:
    """A worker with all its parts, not started. Raises `SettingsError`."""
    if (fault := driver_fault(settings.samples_url)) is not None:
        raise SettingsError([f"samples.url: {fault}"])
    samples, masking = partial(_sampler, settings, secret), LoggedText(Pseudonyms(secret))
    embedded = _embedded(settings)
    worker = Worker(settings, secret, embedded, number, samples, loads, masking, pins)
    if embedded is not None:
        worker.plane.on_activate(lambda snapshot: embedded.hold(_digests(snapshot.models.values())))
    worker.plane.render = _render
    worker.plane.on_activate(_prepare_templates)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, worker.access_log.reopen)
    return worker


def rest_collector() -> None:
    """Have Python's garbage collector look rarely: what stands now stands until the end, and requests leave no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _serve(worker: Worker, leaving: asyncio.Future[Leave]) -> None:
    """Serve until `leaving` is done, and drain."""
    rest_collector()
    how = await leaving
    log.info("draining")
    await worker.stop(how.notice_s, handing_over=how.handing_over)


def _embedded(settings: Settings) -> "EmbeddedPool | None":
    """The embedded engine, where the settings name a model repository for it."""
    folder = settings.embedded.model_repository
    if folder is None:
        wants = [name for name, pool in settings.pools.items() if pool.engine == "embedded"]
        if wants:
            raise SettingsError(
                [f"pools.{wants[0]}: set embedded.model_repository to the folder of its models"]
            )
        return None
    from gateway.upstream.embedded import EmbeddedEngine
    from gateway.upstream.embedded_pool import EmbeddedPool

    if not folder.is_dir():
        raise SettingsError([f"embedded.model_repository: {folder} is no folder"])
    engine = EmbeddedEngine(folder, python_models=settings.embedded.python_models)
    engine.load(_digests(_known_models(settings)))
    for (model, version), reason in sorted(engine.failures().items()):
        log.error("the embedded engine did not load %s@%d: %s", model, version, reason)
    return EmbeddedPool(engine, settings.embedded.threads)


def _known_models(settings: Settings) -> Iterable[ModelEntry]:
    """The models of the last good snapshot: code that nobody registered must not run before the first one comes."""
    for _, document in SnapshotStore(settings.data_dir / "snapshots").candidates():
        if isinstance(document, SnapshotDocument):
            return document.models
    return ()


def _digests(models: Iterable[ModelEntry]) -> dict[tuple[str, int], str]:
    return {version: digest for model in models for version, digest in model.digest_of().items()}


@cache
def _templates() -> "ChatTemplates":
    from gateway.templates import ChatTemplates

    return ChatTemplates()


def _render(template: str, messages: list[dict[str, object]]) -> str:
    return _templates().render(template, messages)


def _prepare_templates(snapshot: Snapshot) -> None:
    """Load what renders chats before the first one comes, and only where one can."""
    if snapshot.adapters:
        _templates()


def _sampler(settings: Settings, secret: bytes, plane: Plane, worker: str) -> Sampler:
    """What keeps samples of the plane's calls."""

    async def ask(target: Target) -> VersionTensors:
        return await ask_tensors(plane.pools.get(target.pool), target, plane.deadlines)

    return Sampler(settings, secret, worker, ask)
