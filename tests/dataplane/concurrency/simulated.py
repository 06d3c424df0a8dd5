"""A day in a second: an event loop whose clock jumps to the next timer, a model server with slots and a queue, and callers.

What runs on it is the real gate; everything is seeded, so that a run is the same each time.
"""

import asyncio
import random
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

import msgspec

from gateway.dataplane.concurrency.criticality import CRITICAL
from gateway.dataplane.concurrency.gate import Gate, Share
from gateway.dataplane.concurrency.gates import TICK_S
from gateway.dataplane.concurrency.part import Part
from gateway.dataplane.concurrency.regulator import Clocks
from gateway.errors import HTTP_STATUS, GatewayError, Kind, Source
from gateway.settings import AdmissionSettings
from gateway.supervisor.loads import Loads, OwnLoads
from gateway.types import OPERATIONS, Target
from gateway.upstream.exchange import Exchange, Sink


class _Jump(selectors.DefaultSelector):
    """Never waits: the time that it would have waited for has passed."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop in simulated time."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def simulate(story: Coroutine[Any, Any, Any]) -> Any:
    """Run the story to its end; what it returns."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(story)


def now() -> float:
    """Simulated seconds."""
    return asyncio.get_running_loop().time()


Service = Callable[[], float]
"""The time that the server needs for a call, in seconds."""


class Server:
    """Serves `slots` calls at a time, the rest first come first served; every call takes what `service` says.

    A server that is not `up` refuses connections. `most_queued` calls wait; further ones get 503.
    """

    def __init__(self, slots: int, service: Service, most_queued: int = 1_000_000) -> None:
        self.slots = slots
        self.service = service
        self.up = True
        self.most_queued = most_queued
        self.busy = 0
        self.queue: deque[asyncio.Future[None]] = deque()

    async def call(self, takes_s: float | None = None, stream: Exchange | None = None) -> int:
        """One call; its status. `stream` is told when its first byte comes."""
        if self.busy >= self.slots:
            if len(self.queue) >= self.most_queued:
                return 503
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()
                raise
        else:
            self.busy += 1
        try:
            await asyncio.sleep(self.service() if takes_s is None else takes_s)
            if stream is not None and isinstance(self, StreamingServer):
                stream.answered = now()
                assert stream.on_reply is not None
                stream.on_reply.reply_began(stream)
                await asyncio.sleep(self.stream_s())
        finally:
            self._next()
        return 200

    def _next(self) -> None:
        self.busy -= 1
        while self.queue and self.busy < self.slots:
            turn = self.queue.popleft()
            if not turn.done():
                self.busy += 1
                turn.set_result(None)


class BatchingServer(Server):
    """Gathers up to `slots` calls into a batch, one batch at a time; a batch of n takes service() * (1 + each * (n - 1))."""

    def __init__(self, slots: int, service: Service, each: float) -> None:
        super().__init__(slots, service)
        self.each = each
        self.running = False

    async def call(self, takes_s: float | None = None, stream: Exchange | None = None) -> int:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.queue.append(turn)
        if not self.running:
            self.running = True
            asyncio.get_running_loop().call_soon(self._batch)
        await turn
        return 200

    def _batch(self) -> None:
        batch = [self.queue.popleft() for _ in range(min(self.slots, len(self.queue)))]
        self.running = bool(batch)
        if batch:
            takes_s = self.service() * (1 + self.each * (len(batch) - 1))
            asyncio.get_running_loop().call_later(takes_s, self._done, batch)

    def _done(self, batch: list[asyncio.Future[None]]) -> None:
        for turn in batch:
            if not turn.done():
                turn.set_result(None)
        self._batch()


class StreamingServer(Server):
    """Carries `slots` streams at once; a stream's first byte comes about `first_s` after its turn, its last about `stream_s` later."""

    def __init__(self, slots: int, first_s: float, stream_s: float, seed: int = 0) -> None:
        super().__init__(slots, around(first_s, 0.2, seed))
        self.stream_s = around(stream_s, 0.5, seed + 1)


class Call(msgspec.Struct):
    """What became of a call: `status`, from when to when, when its first byte came and how long it waited at the gate.

    Simulated seconds. `upstream_refused`: it was the server that said 503.
    """

    tenant: str
    began: float
    ended: float = 0.0
    queued_s: float = 0.0
    first_s: float = 0.0
    status: int = 0
    upstream_refused: bool = False

    @property
    def took_s(self) -> float:
        """From coming to the gate to the whole reply."""
        return self.ended - self.began


class Pace:
    """An event loop that is late by `late_each_s` at each tick of its ticker, fifty times a second."""

    def __init__(self) -> None:
        self.late_each_s = 0.0

    @property
    def ticks(self) -> int:
        """Ticks so far."""
        return int(now() * 50)

    @property
    def late_s(self) -> float:
        """How late they came, altogether."""
        return self.ticks * self.late_each_s


class Worker:
    """One worker's gate in front of a server. With `loads` it shares its limit with the others of a `Host`."""

    def __init__(self, server: Server, **settings: Any) -> None:
        loads: OwnLoads | None = settings.pop("loads", None)
        self.server = server
        self.pace = Pace()
        self.gate = Gate(
            Target("m", 1, 10_000, "stable", "main", b"/v2/models/m/versions/1", b"m/1"),
            AdmissionSettings(**({"alone_s": 0.0} | settings)),
            asyncio.get_running_loop(),
            Clocks(now, self.pace, 0.0),
            None if loads is None else loads.claim(b"m/1"),
        )
        self.calls: list[Call] = []
        self.ticking: asyncio.Task[None] | None = None
        if self.gate.part is not None:
            self.ticking = asyncio.ensure_future(self._ticks(self.gate.part))

    async def _ticks(self, part: Part) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            part.tick(now())

    async def call(
        self,
        tenant: str,
        deadline_s: float = 30.0,
        level: int = CRITICAL,
        takes_s: float | None = None,
        stream: bool = False,
    ) -> Call:
        """One call through the gate to the server, as the pipeline makes it."""
        call = Call(tenant, now())
        self.calls.append(call)
        try:
            share = self.gate.enter(tenant, level)
            if share is None:
                try:
                    share = await self.gate.wait(tenant, level, now() + deadline_s)
                finally:
                    call.queued_s = now() - call.began
            await self._forward(call, share, deadline_s - call.queued_s, takes_s, stream)
        except GatewayError as refusal:
            call.status = HTTP_STATUS[refusal.kind][0]
        call.ended = now()
        return call

    async def _forward(
        self, call: Call, share: Share, left_s: float, takes_s: float | None, stream: bool
    ) -> None:
        done = asyncio.get_running_loop().create_future()
        exchange = Exchange(OPERATIONS["infer"], b"", b"", None, cast(Sink, None), 0.0, done, on_reply=share)
        exchange.load = self.gate.in_flight + self.gate.elsewhere
        error: BaseException | None = None
        try:
            if not self.server.up:
                raise GatewayError(Kind.UNAVAILABLE, "", source=Source.UPSTREAM) from OSError()
            exchange.started = exchange.sent = now()
            async with asyncio.timeout(300.0 if stream else left_s):
                exchange.status = call.status = await self.server.call(takes_s, exchange if stream else None)
            call.upstream_refused = call.status == 503
            call.first_s = (exchange.answered or now()) - call.began
        except TimeoutError as late:
            error = GatewayError(Kind.DEADLINE, "", source=Source.UPSTREAM)
            raise error from late
        except BaseException as fault:
            error = fault
            raise
        finally:
            exchange.ended = now()
            share.leave(exchange, error)

    async def callers(self, count: int, tenant: str, until: float, pause_s: float = 0.0, **how: Any) -> None:
        """So many callers at once, each with its next call when it has its answer. One that is refused waits a second."""

        async def one(number: int) -> None:
            await asyncio.sleep(number * 1e-4)
            while now() < until:
                call = await self.call(tenant, **how)
                await asyncio.sleep(pause_s if call.status == 200 else 1.0)

        await asyncio.gather(*(one(number) for number in range(count)))

    async def arrivals(self, each_s: float, tenant: str, until: float, seed: int = 0, **how: Any) -> None:
        """Calls that arrive whatever becomes of the ones before, at random, one in `each_s` on average."""
        draw = random.Random(seed)
        running = []
        while now() < until:
            running.append(asyncio.ensure_future(self.call(tenant, **how)))
            await asyncio.sleep(draw.expovariate(1 / each_s))
        await asyncio.gather(*running)


class Host:
    """Workers that share the version's limit; `start` puts one more at the next place, as a supervisor does."""

    def __init__(self, server: Server, workers: int, rows: int = 8, **settings: Any) -> None:
        self.loads = Loads.create(3 * workers, rows)
        self.workers: list[Worker] = []
        self._server = server
        self._settings = settings
        for _ in range(workers):
            self.start()

    def start(self) -> Worker:
        """One more worker."""
        place = len(self.workers)
        self.loads.occupy(place, place + 1)
        worker = Worker(self._server, loads=OwnLoads(self.loads, place), **self._settings)
        self.workers.append(worker)
        return worker

    def stop(self, worker: Worker) -> None:
        """It hangs: it ticks no more."""
        assert worker.ticking is not None
        worker.ticking.cancel()

    def kill(self, worker: Worker) -> None:
        """It is gone from one moment to the next, and the supervisor has seen it."""
        self.stop(worker)
        self.loads.vacate(self.workers.index(worker))

    @property
    def calls(self) -> list[Call]:
        """Those of all workers."""
        return [call for worker in self.workers for call in worker.calls]

    @property
    def in_flight(self) -> int:
        """Through all workers."""
        return sum(worker.gate.in_flight for worker in self.workers)


def around(seconds: float, spread: float, seed: int = 0) -> Service:
    """Log-normal with this median; `spread` is the standard deviation of the logarithm."""
    draw = random.Random(seed)
    return lambda: seconds * draw.lognormvariate(0.0, spread)


def mixed(small_s: float, large_s: float, large: float, seed: int = 0) -> Service:
    """Small requests and large ones, of which there is this share."""
    draw = random.Random(seed)
    return lambda: large_s if draw.random() < large else small_s
