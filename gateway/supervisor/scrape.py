"""What a host's workers tell about themselves: their metrics as one page, and how many of them are ready."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import msgspec

from gateway.observe.merge import SUPERVISOR, Merged, told
from gateway.observe.metrics import WORKER_ANSWERED, WORKER_CONNECTIONS, WORKERS, render
from gateway.supervisor.child import Child
from gateway.supervisor.seat import Seat
from gateway.supervisor.shares import Shares

ASK_LIMIT_S = 0.8
"""A scrape has its answer within a second, whether all workers have answered or not."""

STATES = ("ready", "not_ready", "starting", "draining", "silent", "restarting")


class Health(msgspec.Struct, frozen=True):
    """How many of the workers are `ready`, what all of them do (`STATES`), and what is wrong with some."""

    ready: int
    of: int
    states: dict[str, int]
    troubles: list[str]

    @property
    def text(self) -> str:
        """The same in lines for people."""
        states = ", ".join(f"{count} {state}" for state, count in self.states.items())
        return "\n".join([f"{self.ready} of {self.of} workers ready: {states}", *self.troubles])


class Scrape:
    """Made on the supervisor's event loop; `page` and `health` may be called from any other thread."""

    def __init__(self, seats: Sequence[Seat], children: list[Child], shares: Sequence[Shares]) -> None:
        self._seats = seats
        self._children = children
        self._shares = shares
        self._retired = Merged()
        self._loop = asyncio.get_running_loop()
        self._gathering: asyncio.Task[tuple[Merged, list[tuple[str, bytes]]]] | None = None

    def health(self) -> Health:
        """The workers now."""
        states: Counter[str] = Counter(child.state for child in list(self._children))
        states["restarting"] = sum(seat.at_work is None for seat in self._seats)
        return Health(
            states["ready"],
            len(self._seats),
            {state: count for state in STATES if (count := states[state])},
            [seat.trouble for seat in self._seats if seat.trouble],
        )

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics of all workers and of this process, and their content type. Not on the event loop itself."""
        retired, answers = asyncio.run_coroutine_threadsafe(self._gathered(), self._loop).result()
        merged = Merged()
        merged.add(told(), SUPERVISOR)
        for worker, metrics in answers:
            merged.add(metrics, worker)
        merged.add_totals(retired)
        return render(accept, merged)

    def retire(self, child: Child) -> None:
        """Keep the counts of a process that has ended."""
        if child.metrics:
            self._retired = self._retired.with_totals(child.metrics)

    async def _gathered(self) -> tuple[Merged, list[tuple[str, bytes]]]:
        """Scrapes that come together share one round of questions."""
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._gather())
            self._gathering.add_done_callback(self._done)
        return await asyncio.shield(self._gathering)

    async def _gather(self) -> tuple[Merged, list[tuple[str, bytes]]]:
        asked = [child for child in self._children if child.state != "starting"]
        # One that says nothing at all is not waited for again.
        limits_s = [0.0 if child.state == "silent" else ASK_LIMIT_S for child in asked]
        answered = await asyncio.gather(
            *(child.ask(limit_s) for child, limit_s in zip(asked, limits_s, strict=True))
        )
        told_now = {child for child, yes in zip(asked, answered, strict=True) if yes}
        for seat in self._seats:
            number, child = str(seat.number), seat.at_work
            WORKER_ANSWERED.labels(number).set(child in told_now)
            held = sum(max(0, shares.of(child.place)) for shares in self._shares) if child else 0
            WORKER_CONNECTIONS.labels(number).set(held)
        health = self.health()
        for state in STATES:
            WORKERS.labels(state).set(health.states.get(state, 0))
        # Of what ended meanwhile the counts are among the retired. The process at work comes after the one it replaces.
        return self._retired, [
            (str(child.number), child.metrics) for child in self._children if child.metrics
        ]

    def _done(self, _: object) -> None:
        self._gathering = None
