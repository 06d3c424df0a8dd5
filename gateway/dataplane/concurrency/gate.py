"""The gate of one model version in one worker: a call takes a slot at once where one is free, else it waits its turn."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

from gateway.dataplane.concurrency.limit import Limit
from gateway.dataplane.concurrency.part import Part
from gateway.dataplane.concurrency.queues import FairQueues, Tenant, Waiter
from gateway.dataplane.concurrency.regulator import Clocks, Regulator
from gateway.dataplane.concurrency.shedding import out_of_time, shed
from gateway.errors import GatewayError, Kind, Source
from gateway.observe import metrics
from gateway.settings import AdmissionSettings
from gateway.supervisor.loads import Row
from gateway.types import Target
from gateway.upstream.exchange import Exchange

MOST_WAITING: Final = 1000
"""Calls at one gate; with 50 of each tenant, twenty tenants that flood it."""

_MOST_TENANTS = 1024


class Share(Tenant):
    """What one tenant has of one gate. Whoever was given it by `enter` or `wait` owes it one `leave`."""

    __slots__ = ("gate",)

    def __init__(self, gate: "Gate") -> None:
        super().__init__()
        self.gate = gate

    def reply_began(self, exchange: Exchange) -> None:
        """A long reply has begun: that it began is what the server's load is seen by, not when it ends."""
        self.gate.reply_began(exchange)

    def leave(
        self, exchange: Exchange | None = None, error: BaseException | None = None, own_timeout: bool = False
    ) -> None:
        """A call of this tenant is over: its exchange, if it came so far, how that ended, and whether it told the server how
        long it may take.
        """
        self.in_flight -= 1
        self.gate.left(exchange, error, own_timeout)


class Gate:
    """The slots of one version. `in_flight` are taken; `queues.waiting` calls wait. With a `row`, workers of one host share
    the version's limit through it; `elsewhere` are the slots that the others have taken, as far as is known.

    A fifth of the slots is kept for critical-plus, and of what is open to a level a fifth for other tenants than the
    one that asks: whoever comes to a gate that one tenant has filled, perhaps with calls that take minutes, is served.
    """

    __slots__ = (
        "_alone_s",
        "_loop",
        "_most",
        "_most_of_tenant",
        "_newest",
        "_now",
        "_queue_length",
        "_queue_wait_s",
        "_queued_at",
        "_regulator",
        "_seen",
        "_tenants",
        "_waited",
        "elsewhere",
        "in_flight",
        "limit",
        "mixed_at",
        "part",
        "queues",
        "what",
    )

    def __init__(
        self,
        target: Target,
        settings: AdmissionSettings,
        loop: asyncio.AbstractEventLoop,
        clocks: Clocks,
        row: Row | None = None,
    ) -> None:
        self.what = f"Version {target.version} of model {target.model}"
        self.in_flight = self.elsewhere = 0
        self.queues: FairQueues[asyncio.Future[None]] = FairQueues(settings.queue_length, MOST_WAITING)
        limit = Limit(settings.initial_limit, settings.min_limit, settings.max_limit)
        self.part = None if row is None else Part(row, limit, clocks, self)
        self.limit: Limit | Part = self.part or limit
        self._regulator: Regulator | Part = self.part or Regulator(limit, clocks, self)
        self._loop = loop
        self._now = clocks.now
        self._queue_length = settings.queue_length
        self._queue_wait_s = settings.queue_wait_s
        self._queued_at = 0.0
        self._newest = ""
        self._alone_s = settings.alone_s
        self.mixed_at = -math.inf
        self._tenants: dict[str, Share] = {}
        self._waited = metrics.QUEUE_WAIT.labels(target.model, str(target.version))
        self._resize()

    # --- coming ---

    def enter(self, name: str, level: int) -> Share | None:
        """A slot for the tenant of this name, if one is free for it now.

        Nobody is overtaken: while a slot is free, only tenants wait that have all that they may have.
        """
        share = self._tenants.get(name)
        if share is None:
            share = self._join(name)
        if name != self._newest:
            self._newest, self.mixed_at = name, (self._now() if self._newest else self.mixed_at)
        if self.in_flight < self._most[level] and share.in_flight < self._most_of_tenant[level]:
            self.in_flight += 1
            share.in_flight += 1
            return share
        return None

    async def wait(self, name: str, level: int, deadline: float) -> Share:
        """A slot for the tenant when its turn comes. Raises UNAVAILABLE when that takes too long or there is no room to
        wait, DEADLINE at the call's own `deadline` (monotonic seconds).
        """
        share = self._tenants[name]
        while share.waiting >= self._queue_length and self._regulator.make_room(self._now()):
            self.follow()
            if self.enter(name, level) is not None:
                return share
        future = self._loop.create_future()
        waiter = Waiter(share, level, future)
        turned_away = self.queues.join(waiter)
        if turned_away is waiter:
            full = share.waiting >= self._queue_length
            raise shed("queue_full" if full else "gate_full", self.what, level)
        if turned_away is not None and not turned_away.ticket.done():
            turned_away.ticket.set_exception(shed("evicted", self.what, turned_away.level))
        began = self._queued_at = self._now()
        self._regulator.wanted(began)
        self.follow()
        left_s = deadline - began
        if left_s < self._queue_wait_s:
            timer = self._loop.call_later(left_s, self._expire, waiter, out_of_time)
        else:
            timer = self._loop.call_later(self._queue_wait_s, self._expire, waiter, _no_turn)
        try:
            await future
        except BaseException:
            # Cancelled in the very moment in which it got its slot.
            granted = not self.queues.leave(waiter) and future.done() and not future.cancelled()
            if granted and future.exception() is None:
                share.leave()
            raise
        finally:
            timer.cancel()
            self._waited.observe(self._now() - began)
        return share

    def _expire(
        self, waiter: Waiter["asyncio.Future[None]"], error: Callable[[str, int], GatewayError]
    ) -> None:
        while error is _no_turn and not waiter.ticket.done() and self._regulator.make_room(self._now()):
            self.follow()
        if self.queues.leave(waiter) and not waiter.ticket.done():
            waiter.ticket.set_exception(error(self.what, waiter.level))

    def _join(self, name: str) -> Share:
        if len(self._tenants) >= _MOST_TENANTS:
            self._tenants = {
                name: share for name, share in self._tenants.items() if share.in_flight or share.waiting
            }
        share = self._tenants[name] = Share(self)
        return share

    # --- going ---

    def reply_began(self, exchange: Exchange) -> None:
        """The model has begun a long reply."""
        self._answered(exchange, exchange.answered)
        self.follow()

    def left(self, exchange: Exchange | None, error: BaseException | None, own_timeout: bool) -> None:
        """A slot is free again; what became of its call is learned from."""
        if exchange is not None:
            self._learn(exchange, error, own_timeout)
        self.in_flight -= 1
        self._regulator.left(self._now)
        self.follow()

    def _answered(self, exchange: Exchange, now: float) -> None:
        pressed = self.queues.waiting > 0 or self._queued_at >= exchange.started
        self._regulator.answered(now, exchange.started, now - exchange.sent, exchange.load, pressed)

    def _learn(self, exchange: Exchange, error: BaseException | None, own_timeout: bool) -> None:
        if error is None:
            if exchange.status < 400:
                if exchange.sent and not exchange.answered:
                    self._answered(exchange, exchange.ended)
            elif exchange.status == 503 and not own_timeout:
                # With a timeout of the caller's own it may be that which the server could not keep to.
                self._regulator.refused(exchange.ended, exchange.started)
        elif isinstance(error, GatewayError) and error.source is Source.UPSTREAM:
            if error.kind is Kind.UNAVAILABLE:
                if isinstance(error.__cause__, OSError):
                    now = self._now()
                    self._regulator.refused(now, now)
            elif exchange.sent and not exchange.answered:
                self._regulator.late(exchange.ended, exchange.started, exchange.ended - exchange.sent)

    def follow(self) -> None:
        """Take the limit as it is now, and let those in whose turn it is."""
        if self.limit.value is not self._seen:
            self._resize()
        if self.queues.waiting:
            self._pass_on()

    def _pass_on(self) -> None:
        while waiter := self.queues.next(self.in_flight, self._most, self._most_of_tenant):
            # A call that was cancelled in this turn of the loop has not left the queue by itself yet.
            if not waiter.ticket.done():
                self.in_flight += 1
                waiter.tenant.in_flight += 1
                waiter.ticket.set_result(None)

    def _resize(self) -> None:
        self._seen = self.limit.value
        self._most, self._most_of_tenant = self.limit.open_now()

    def shared(self, ago_s: float) -> None:
        """Other workers have seen more than one tenant, the one before the last `ago_s` seconds ago."""
        self.mixed_at = max(self.mixed_at, self._now() - ago_s)

    def alone(self, now: float) -> bool:
        """Whether no two tenants have called the version for a while, as far as this worker knows."""
        return now - self.mixed_at > self._alone_s > 0

    @property
    def idle(self) -> bool:
        """Whether nobody has a slot or waits for one."""
        return not self.in_flight and not self.queues.waiting


def _no_turn(what: str, level: int) -> GatewayError:
    return shed("queue_timeout", what, level)
