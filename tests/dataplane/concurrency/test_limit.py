"""The limit finds what a server can take, and only that: simulated servers, real gates, simulated time."""

import asyncio
import random

import pytest

from tests.dataplane.concurrency.simulated import (
    BatchingServer,
    Call,
    Server,
    Service,
    StreamingServer,
    Worker,
    around,
    mixed,
    now,
    simulate,
)

pytestmark = pytest.mark.slow

OPEN_TO_ONE = 0.64
"""Four fifths of four fifths of the limit are open to one tenant."""


async def watch(worker: Worker, until: float) -> list[float]:
    """The limit, once a second."""
    found = []
    while now() < until:
        found.append(worker.gate.limit.value)
        await asyncio.sleep(1.0)
    return found


def run(
    server: Server, callers: int, until: float, pause_s: float = 0.0, **settings: int
) -> tuple[Worker, list[float]]:
    """So many callers in a closed loop: the worker, and its limit by the second."""

    async def story() -> tuple[Worker, list[float]]:
        worker = Worker(server, **settings)
        trace, _ = await asyncio.gather(
            watch(worker, until), worker.callers(callers, "flood", until, pause_s)
        )
        return worker, trace

    return simulate(story())


def throughput(worker: Worker, since: float, until: float) -> float:
    """Calls answered a second."""
    return sum(call.status == 200 and since <= call.ended < until for call in worker.calls) / (until - since)


@pytest.mark.parametrize("slots", [4, 16, 32])
@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_the_limit_settles_where_the_servers_slots_are_full(slots: int, spread: float) -> None:
    """A server with K slots and a queue, flooded: about K calls in flight, nearly all of its throughput, hardly any queue."""
    server = Server(slots, around(0.2, spread))
    worker, trace = run(server, 150, 120)
    settled = trace[60:]
    in_flight = OPEN_TO_ONE * sum(settled) / len(settled)
    assert 0.7 * slots <= in_flight <= 1.6 * slots
    assert max(settled) * OPEN_TO_ONE < 2.5 * slots
    most = slots / (0.2 * 2.718281828 ** (spread**2 / 2))
    assert throughput(worker, 60, 120) > 0.75 * most


@pytest.mark.parametrize(
    ("service", "name"),
    [(around(0.2, 0.3), "even"), (around(0.2, 1.0), "noisy"), (mixed(0.04, 2.0, 0.1), "mixed sizes")],
)
def test_a_server_that_is_not_full_is_never_held_back(service: Service, name: str) -> None:
    """All that comes gets through, whatever the latencies look like."""
    worker, trace = run(Server(1000, service), 80, 60)
    refused = sum(call.status != 200 for call in worker.calls)
    assert refused <= 0.01 * len(worker.calls), name
    assert trace[-1] * OPEN_TO_ONE >= 80


def test_slow_models_are_not_taken_for_overloaded_ones() -> None:
    """Two seconds a call, 64 at once in one batch: all of them get through, from the first minute on."""
    worker, trace = run(BatchingServer(64, around(2.0, 0.05), 0.0), 64, 120)
    assert all(call.status == 200 for call in worker.calls if call.began > 20)
    assert min(trace[20:]) * OPEN_TO_ONE >= 64


def test_batches_may_cost_latency() -> None:
    """A batch of 32 takes four times as long as one call and carries eight times as much: the batches are used."""
    server = BatchingServer(32, around(0.02, 0.1), 0.1)
    worker, _ = run(server, 100, 60)
    assert throughput(worker, 20, 60) > 0.7 * 32 / (0.02 * 4.1)


def test_streams_are_judged_by_their_first_byte() -> None:
    """A server of 40 streams, seconds each: it is filled, and hardly more, though no call is ever short."""
    server = StreamingServer(40, first_s=0.2, stream_s=5.0)

    async def story() -> tuple[Worker, list[float]]:
        worker = Worker(server)
        trace, _ = await asyncio.gather(watch(worker, 200), worker.callers(120, "chat", 200, stream=True))
        return worker, trace

    worker, trace = simulate(story())
    settled = trace[100:]
    assert 0.6 * 40 <= OPEN_TO_ONE * sum(settled) / len(settled) <= 1.6 * 40
    firsts = sorted(call.first_s for call in worker.calls if call.status == 200 and call.began > 100)
    assert firsts[len(firsts) // 2] < 5.0


def test_long_streams_on_a_server_with_room_raise_the_limit_in_seconds() -> None:
    """Whatever their length: growth does not wait for them to end."""

    async def story() -> list[float]:
        worker = Worker(StreamingServer(1000, first_s=0.2, stream_s=60.0))
        trace, _ = await asyncio.gather(watch(worker, 20), worker.callers(150, "chat", 20, stream=True))
        return trace

    assert simulate(story())[10] * OPEN_TO_ONE >= 150


def test_it_comes_back_after_a_brownout() -> None:
    """The server loses most of its slots for half a minute: the limit follows it down, and up again within half a minute."""
    server = Server(16, around(0.1, 0.2))

    async def story() -> tuple[Worker, list[float]]:
        worker = Worker(server)

        async def brownout() -> None:
            await asyncio.sleep(40)
            server.slots = 2
            await asyncio.sleep(30)
            server.slots = 16

        trace, *_ = await asyncio.gather(watch(worker, 130), worker.callers(100, "flood", 130), brownout())
        return worker, trace

    worker, trace = simulate(story())
    assert min(trace[60:70]) * OPEN_TO_ONE <= 6
    assert throughput(worker, 100, 130) > 0.8 * throughput(worker, 20, 40)


def test_a_server_that_is_gone_comes_back_to_the_limit_that_it_had() -> None:
    """Refused connections by the thousand say that it is away, not that it is slow."""
    server = Server(16, around(0.1, 0.2))

    async def story() -> tuple[Worker, list[float]]:
        worker = Worker(server)

        async def outage() -> None:
            await asyncio.sleep(30)
            server.up = False
            await asyncio.sleep(20)
            server.up = True

        trace, *_ = await asyncio.gather(watch(worker, 80), worker.callers(50, "flood", 80), outage())
        return worker, trace

    worker, trace = simulate(story())
    assert trace[49] >= 0.7 * trace[29]
    assert throughput(worker, 55, 80) > 0.8 * throughput(worker, 10, 30)


def test_a_server_that_says_503_is_sent_less() -> None:
    """Its queue is short, and says so: the limit comes down until hardly anything is refused."""
    worker, _ = run(Server(4, around(0.1, 0.3), most_queued=4), 60, 60)
    late = [call for call in worker.calls if (call.began > 30 and call.queued_s == 0.0) or call.status == 200]
    turned_away = sum(call.upstream_refused for call in late if call.began > 30)
    assert turned_away < 0.1 * len([call for call in late if call.began > 30])


def test_callers_who_wait_too_long_to_be_served_in_time_are_too_many() -> None:
    """A limit so high that every call ends at its deadline is cut until calls are answered again."""
    worker, trace = run(Server(4, around(1.0, 0.1)), 150, 400, initial_limit=300)
    assert trace[-1] < 40
    assert throughput(worker, 300, 400) > 0.7 * 4


@pytest.mark.parametrize("deadline_s", [0.01, 0.2])
def test_deadlines_that_a_caller_chose_too_short_cut_nobody_elses_limit(deadline_s: float) -> None:
    """One tenant's calls are never answered in the time that it gives them: the other's are, as before."""

    async def story() -> Worker:
        worker = Worker(Server(200, around(0.05, 0.1)))
        hopeless = worker.callers(100, "hopeless", 60, deadline_s=deadline_s, takes_s=10.0)
        await asyncio.gather(hopeless, worker.callers(8, "other", 60))
        return worker

    worker = simulate(story())
    other = [call for call in worker.calls if call.tenant == "other"]
    assert all(call.status == 200 for call in other)
    assert sum(call.took_s < 0.08 for call in other) > 0.98 * len(other)


def test_an_idle_version_keeps_its_limit() -> None:
    """A call now and then teaches nothing, and a crowd that comes after a quiet night is let in at once."""

    async def story() -> tuple[float, list[int]]:
        worker = Worker(Server(200, around(0.05, 0.8)))
        await worker.arrivals(20.0, "seldom", 3600)
        before = worker.gate.limit.value
        crowd = await asyncio.gather(*(worker.call("crowd") for _ in range(40)))
        return before, [call.status for call in crowd]

    before, statuses = simulate(story())
    assert before == 64
    assert statuses == [200] * 40


def test_workers_that_share_a_server_find_its_slots_together() -> None:
    """Four workers, each with its own limit and none knowing of the others: what they send together fits the server."""

    async def story() -> tuple[list[Worker], list[list[float]]]:
        server = Server(32, around(0.4, 0.2))
        workers = [Worker(server) for _ in range(4)]
        traces = await asyncio.gather(
            *(watch(worker, 150) for worker in workers),
            *(worker.callers(50, "flood", 150) for worker in workers),
        )
        return workers, [trace for trace in traces if trace is not None]

    workers, traces = simulate(story())
    together = [OPEN_TO_ONE * sum(values) for values in zip(*traces, strict=True)][100:]
    assert sum(together) / len(together) < 2.5 * 32
    assert sum(throughput(worker, 100, 150) for worker in workers) > 0.8 * 32 / 0.408


def test_within_its_bounds() -> None:
    """Whatever happens to the calls: never below the least, never above the most."""
    draw = random.Random(7)

    async def story() -> list[float]:
        server = Server(8, lambda: draw.choice((0.001, 0.1, 2.0)), most_queued=5)
        worker = Worker(server, initial_limit=10, min_limit=6, max_limit=20)

        async def chaos() -> None:
            while now() < 60:
                server.slots = draw.choice((1, 8, 100))
                server.up = draw.random() < 0.8
                await asyncio.sleep(draw.uniform(0.1, 3))

        trace, *_ = await asyncio.gather(
            watch(worker, 60), worker.callers(60, "flood", 60, deadline_s=1.5), chaos()
        )
        return trace

    assert all(6 <= value <= 20 for value in simulate(story()))


def test_a_limit_whose_bounds_are_one_number_stays_there() -> None:
    """How an operator who knows better fixes it."""
    _, trace = run(Server(4, around(0.05, 0.3)), 60, 20, initial_limit=8, min_limit=8, max_limit=8)
    assert set(trace) == {8}


def flood_alone(server: Server, callers: int, until: float, **settings: float) -> Worker:
    """One tenant and nobody else, with the settings as they are by default."""

    async def story() -> Worker:
        worker = Worker(server, **({"alone_s": 300.0} | settings))
        await worker.callers(callers, "lone", until)
        return worker

    found: Worker = simulate(story())
    return found


@pytest.mark.parametrize(("slots", "service_s", "callers"), [(2, 0.005, 200), (2, 0.5, 30), (4, 2.0, 40)])
def test_who_is_alone_is_never_refused_for_its_latency(slots: int, service_s: float, callers: int) -> None:
    """An application that calls a small server with many threads, and nobody else there: it waits for the server as it would
    without the gateway, and every call is answered.
    """
    worker = flood_alone(Server(slots, around(service_s, 0.2)), callers, max(5.0, 40 * service_s))
    assert {call.status for call in worker.calls} == {200}


def test_who_is_alone_is_held_back_where_the_server_refuses() -> None:
    """A server that says 503 is not sent more and more, whoever asks."""
    worker = flood_alone(Server(4, around(0.1, 0.3), most_queued=4), 60, 60)
    late = [call for call in worker.calls if call.began > 30]
    assert sum(call.upstream_refused for call in late) < 0.35 * len(late)
    assert worker.gate.limit.value < 16


def test_when_another_one_comes_the_limit_is_there_within_seconds() -> None:
    """One tenant has filled the server's queue for a minute; then a second one comes: after ten seconds its calls take hardly
    longer than on an empty server.
    """

    async def story() -> list[float]:
        worker = Worker(Server(8, around(0.1, 0.2)), alone_s=300.0)
        flood = asyncio.ensure_future(worker.callers(150, "flood", 100))
        await asyncio.sleep(60)
        assert all(call.status == 200 for call in worker.calls if call.ended)
        calls = []
        while now() < 100:
            calls.append(await worker.call("other"))
            await asyncio.sleep(0.1)
        await flood
        assert all(call.status == 200 for call in calls)
        return sorted(call.took_s for call in calls if call.began > 70)

    took = simulate(story())
    assert took[len(took) // 2] < 0.15


def test_after_a_while_alone_again_the_tenant_is_not_held_back_any_more() -> None:
    """The other one has gone: five minutes later all calls are answered again."""

    async def story() -> list[Call]:
        worker = Worker(Server(4, around(0.1, 0.2)), alone_s=60.0)
        flood = asyncio.ensure_future(worker.callers(80, "flood", 140))
        await worker.arrivals(0.5, "other", 30)
        await flood
        return worker.calls

    calls = simulate(story())
    assert any(call.status == 503 for call in calls if 20 < call.began < 60)
    assert all(call.status == 200 for call in calls if call.began > 105)


def test_a_burst_on_a_fresh_gateway_is_let_in() -> None:
    """Nothing is known of the server yet, so nothing speaks against it: three hundred calls at once all go through."""

    async def story() -> list[Call]:
        worker = Worker(Server(1000, around(0.5, 0.2)), alone_s=0.0)
        return list(await asyncio.gather(*(worker.call("burst") for _ in range(300))))

    assert {call.status for call in simulate(story())} == {200}


def test_a_slow_event_loop_is_not_taken_for_a_slow_model() -> None:
    """While the gateway itself is late by milliseconds, latencies that rise with the load say nothing about the server."""

    async def story() -> tuple[float, float]:
        limits = []
        for late_s in (0.0, 0.03):
            worker = Worker(Server(8, around(0.02, 0.1)))
            worker.pace.late_each_s = late_s
            await worker.callers(1, "flood", now() + 3)
            await worker.callers(30, "flood", now() + 15)
            limits.append(worker.gate.limit.value)
        return limits[0], limits[1]

    on_time, late = simulate(story())
    assert on_time * OPEN_TO_ONE < 20
    assert late * OPEN_TO_ONE >= 30
