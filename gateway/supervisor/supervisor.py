"""Keeps a host's workers at work: starts them on one port, restarts what dies, replaces and drains them."""

import asyncio
import itertools
import logging
import socket
import time
from collections.abc import Callable, Sequence

from gateway.settings import Settings, SettingsError, settings_bytes
from gateway.supervisor.child import Child
from gateway.supervisor.loads import Loads
from gateway.supervisor.messages import Begin
from gateway.supervisor.pins import PinTable
from gateway.supervisor.scrape import Scrape
from gateway.supervisor.seat import Seat, end_of
from gateway.supervisor.shares import ABSENT, Shares

log = logging.getLogger(__name__)

_HUNG_S = 30.0
"""A worker that has said nothing for so long is killed: it holds callers who could be served by another."""

_START_S = 300.0
"""An embedded engine may have much to load before its worker says anything."""

_WATCH_S = 1.0
_GRACE_S = 5.0
"""What a worker may take beside its drain to end."""


class Supervisor:
    """The workers of one gateway. Made and used on one event loop.

    `command` starts a worker; the number of its line's file descriptor is put behind it. `sockets` listen already.
    """

    def __init__(
        self,
        settings: Settings,
        secret: bytes,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
    ) -> None:
        self.children: list[Child] = []
        self.seats = [Seat(number, self._spawn) for number in range(settings.workers)]
        # Two for each worker while it is replaced, and one that is just ending.
        self.shares = Shares.create(3 * settings.workers)
        self.grpc_shares = Shares.create(self.shares.places)
        self.loads = Loads.create(self.shares.places)
        self.pins = PinTable.create(settings.sequences.most)
        self.scrape = Scrape(self.seats, self.children, (self.shares, self.grpc_shares))
        self._settings = self._wanted = settings
        self._secret = secret
        self._command = list(command)
        self._sockets = list(sockets)
        self._changed: Callable[[dict[str, int]], None] = lambda _: None
        self._tasks: list[asyncio.Task[None]] = []
        self._roll_wanted = asyncio.Event()
        self._lives = itertools.count(1)

    async def start(self) -> None:
        """Start all workers; done when each one has come up or has failed. Raises `OSError` and `SettingsError`."""
        for seat in self.seats:
            await seat.start()
        first = list(self.children)
        await asyncio.gather(*(_come_up(child) for child in first))
        for child in first:
            if child.problems:
                await self.stop(0.0)
                raise SettingsError(child.problems)
        works = [*(seat.keep_up() for seat in self.seats), self._watch(), self._roll()]
        self._tasks = [asyncio.create_task(work) for work in works]

    async def stop(self, notice_s: float) -> None:
        """Have all workers drain, after a notice of so many seconds, and wait for their end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # The workers hold the port open; once the last of them closes it, it must be closed.
        for sock in self._sockets:
            sock.close()
        for child in self.children:
            child.leave(notice_s, handing_over=False)
        await asyncio.gather(*(end_of(child, self._limit_s(notice_s)) for child in list(self.children)))

    def roll(self, settings: Settings | None) -> None:
        """Have the log files opened anew and every worker replaced, one after the other, by one that goes by `settings`.

        None: no worker is replaced.
        """
        for child in self.children:
            child.reopen()
        if settings is not None:
            self._wanted = settings
            self._roll_wanted.set()

    def on_change(self, changed: Callable[[dict[str, int]], None]) -> None:
        """Call `changed` with the workers' process ids by their numbers, now and whenever one starts or ends."""
        self._changed = changed
        self._tell()

    async def _roll(self) -> None:
        while True:
            await self._roll_wanted.wait()
            self._roll_wanted.clear()
            log.info("replacing the workers one after the other")
            before = self._settings
            notice_s = before.inference.drain_notice_s
            limit_s = self._limit_s(notice_s)
            self._settings = self._wanted
            for seat in self.seats:
                if not await seat.replace(notice_s, limit_s):
                    self._settings = before  # what a worker has started by
                    log.error(
                        "the rolling restart ends at worker %d; the others stay as they are", seat.number
                    )
                    break
            else:
                log.info("all workers have been replaced")

    async def _watch(self) -> None:
        looked = time.monotonic()
        while True:
            await asyncio.sleep(_WATCH_S)
            now = time.monotonic()
            for child in self.children:
                if now - looked > 5 * _WATCH_S:
                    child.heard = now  # it was this process that hung: what the workers said is still unread
                limit_s = _START_S if child.state == "starting" else _HUNG_S
                if now - child.heard > limit_s and not child.leaving:
                    log.error("worker %d (process %d) hangs and is killed", child.number, child.pid)
                    child.kill()
            looked = now

    async def _spawn(self, number: int) -> Child:
        taken = {child.place for child in self.children}
        place = next(place for place in range(self.shares.places) if place not in taken)
        begin = Begin(
            number=number,
            place=place,
            places=self.shares.places,
            shares=self.shares.fd,
            loads=self.loads.fd,
            pins=self.pins.fd,
            sockets=[sock.fileno() for sock in self._sockets],
            secret=self._secret,
            settings=settings_bytes(self._settings),
            grpc_shares=self.grpc_shares.fd,
        )
        self.loads.occupy(place, next(self._lives))
        child = await Child.spawn(self._command, begin)
        self.children.append(child)
        child.ended.add_done_callback(lambda _: self._gone(child))
        self._tell()
        return child

    def _gone(self, child: Child) -> None:
        self.children.remove(child)
        self.shares.tell(child.place, ABSENT)
        self.grpc_shares.tell(child.place, ABSENT)
        self.loads.vacate(child.place)
        self.scrape.retire(child)
        self._tell()

    def _tell(self) -> None:
        self._changed({str(child.number): child.pid for child in self.children})

    def _limit_s(self, notice_s: float) -> float:
        limits = self._settings
        return notice_s + limits.inference.drain_limit_s + limits.samples.stop_limit_s + _GRACE_S


async def _come_up(child: Child) -> None:
    """Wait until it is at work, or has failed to come to it."""
    await child.until(lambda: child.state != "starting", _START_S)
