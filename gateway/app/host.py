"""Several workers of a host, watched over by this process."""

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.app.process import inference_ports, leave_by_signal, tell_addresses
from gateway.dataplane.port.shared_port import BACKLOG
from gateway.observe.ops import serve_ops
from gateway.settings import Inference, Settings
from gateway.supervisor.orphans import Orphans
from gateway.supervisor.ports import bind, is_bound
from gateway.supervisor.shares import ABSENT
from gateway.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from gateway.controlplane.plane import ControlPlane

log = logging.getLogger(__package__)

_ALL_READY_S = 10.0
_LOOK_S = 0.05
_MORE_THAN_ANY = 2**30
"""Connections: nobody holds more than one who holds so many, so nobody leaves callers to it."""

_WORKER = [sys.executable, "-P", "-m", __package__]


async def supervise(
    settings: Settings, secret: bytes, control: "ControlPlane | None", again: Callable[[], Settings | None]
) -> None:
    """Have several workers serve inference behind one port until a signal comes. `again`: by what new ones go at SIGHUP."""
    orphans = Orphans(settings.data_dir)
    sockets = _listen(settings.inference, orphans)
    port = sockets[0].getsockname()[1]
    leaving = leave_by_signal(settings.inference.drain_notice_s)
    supervisor = Supervisor(settings, secret, _WORKER, sockets)
    if orphans:
        # A worker that is not ready and finds nobody beside it answers 503: at a place that is free it finds the orphans.
        _stand_for_orphans(supervisor, _MORE_THAN_ANY)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: supervisor.roll(again()))
    scrape = supervisor.scrape
    stop_ops = None
    if control is not None:
        control.metrics, control.serving = scrape.page, scrape.health
    else:
        stop_ops = serve_ops(
            settings.inference.host,
            settings.inference.ops_port,
            lambda: (scrape.health().ready > 0, scrape.health().text),
            scrape.page,
        )
    starting = asyncio.create_task(supervisor.start())
    first: set[asyncio.Future[Any]] = {starting, leaving}
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        log.info(
            "inference is served at http://%s:%d by %d workers",
            settings.inference.host,
            port,
            settings.workers,
        )
        supervisor.on_change(lambda pids: tell_addresses(settings, port, pids))
    relieving = asyncio.create_task(_relieve(orphans, supervisor, settings.inference.drain_notice_s))
    how = await leaving
    log.info("draining")
    starting.cancel()
    relieving.cancel()
    orphans.leave(how.notice_s, handing_over=False)
    await supervisor.stop(how.notice_s)
    if stop_ops is not None:
        await asyncio.to_thread(stop_ops)


def _listen(inference: Inference, orphans: Orphans) -> list[socket.socket]:
    """The sockets of the inference port and then of the gRPC port, listening: those that the orphans hold, or new ones. Raises `OSError`."""
    ports = inference_ports(inference)
    held = {
        setting: [sock for sock in orphans.sockets if sock.getsockname()[1] == port]
        for setting, port in ports.items()
    }
    if any(
        held[setting] and not is_bound(held[setting], inference.host, ports[setting]) for setting in ports
    ):
        orphans.free(inference.host, ports)
        held.clear()
    sockets: list[socket.socket] = []
    for setting, port in ports.items():
        if found := held.get(setting):
            log.info("taking %s %d over from %d workers without a supervisor", setting, port, len(orphans))
        else:
            found = bind(inference.host, port, setting)
            for sock in found:
                sock.listen(BACKLOG)
        sockets += found
    orphans.close(but=sockets)
    return sockets


def _stand_for_orphans(supervisor: Supervisor, connections: int) -> None:
    for shares in (supervisor.shares, supervisor.grpc_shares):
        shares.tell(shares.places - 1, connections)


async def _relieve(orphans: Orphans, supervisor: Supervisor, notice_s: float) -> None:
    """Send the orphans away once this supervisor's own workers are ready. While none of them is, callers need them."""
    until = time.monotonic() + _ALL_READY_S
    # What other processes do cannot be awaited.
    while orphans:
        health = supervisor.scrape.health()
        if health.ready == health.of or (health.ready and time.monotonic() > until):
            orphans.leave(notice_s, handing_over=True)
            _stand_for_orphans(supervisor, ABSENT)
        await asyncio.sleep(_LOOK_S)
