"""Readiness probes: what they learn from a server, and that no server can hurt who asks."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from gateway.settings import Upstream
from gateway.upstream.endpoint import Endpoint
from gateway.upstream.health import probe, watch
from tests.patience import PATIENT_S, in_time

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
Probed = tuple[frozenset[tuple[str, int]] | None, str]
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def whole(body: bytes, status: int = 200, fields: bytes = b"") -> bytes:
    """A reply."""
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n" % (status, fields, len(body)) + body


@contextlib.asynccontextmanager
async def server(ready: bytes | Answer, index: bytes | Answer = b"") -> AsyncIterator[str]:
    """A server that answers the two probes so; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST"):
                    await reader.readexactly(len(b'{"ready":true}'))
                answer = index if head.startswith(b"POST") else ready
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await answer(writer)
                await writer.drain()
        writer.close()

    started = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{started.sockets[0].getsockname()[1]}"
    finally:
        started.close()


async def probed(ready: bytes | Answer, index: bytes | Answer = b"", limit_s: float = PATIENT_S) -> Probed:
    """What the probe makes of such a server."""
    async with server(ready, index) as url, httpx.AsyncClient(trust_env=False) as client:
        return await probe(url, client, limit_s)


def test_the_versions_that_are_ready_are_known() -> None:
    """Those in state READY, and no others."""
    rows = b'[{"name":"m","version":"1","state":"READY"},{"name":"m","version":"2","state":"LOADING"},{"name":"n"}]'
    assert asyncio.run(probed(READY, whole(rows))) == (frozenset({("m", 1)}), "")


def test_a_server_that_tells_no_index_is_taken_to_have_what_it_is_asked_for() -> None:
    """As one that runs with its repository API closed."""
    assert asyncio.run(probed(READY, whole(b"no", 404))) == (None, "")


@pytest.mark.parametrize(
    ("ready", "index"),
    [
        (whole(b"", 400), b""),
        (whole(b"", 503), b""),
        (whole(b"", 302, b"Location: http://127.0.0.1:1/\r\n"), b""),
        (b"garbage\r\n\r\n", b""),
        (READY, whole(b"", 500)),
        (READY, whole(b"", 307, b"Location: http://127.0.0.1:1/\r\n")),
        (READY, whole(b"")),
        (READY, whole(b"{}")),
        (READY, whole(b"[1]")),
        (READY, whole(b"\xff\xfe")),
        (READY, whole(b"[" * 100_000)),
        (READY, whole(b'[{"name":' * 20_000)),
        (READY, whole(b'[{"name":"m","version":"' + b"9" * 5_000 + b'","state":"READY"}]')),
        (READY, whole(b"not gzip", 200, b"Content-Encoding: gzip\r\n")),
        (READY, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
    ],
)
def test_any_other_answer_is_not_ready(ready: bytes, index: bytes) -> None:
    """Nothing a server says ends the one who asks; an answer that cannot be used serves no version."""
    versions, detail = asyncio.run(probed(ready, index, 0.3))
    assert detail or versions == frozenset()
    assert not versions


@pytest.mark.parametrize("where", ["ready", "index"])
def test_an_endless_answer_is_not_gathered(where: str) -> None:
    """What a server pours out is neither kept nor awaited beyond the time-out."""
    poured = 0

    async def pour(writer: asyncio.StreamWriter) -> None:
        nonlocal poured
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            await writer.drain()
            poured += 65536

    def attempt() -> float:
        nonlocal poured
        poured = 0
        began = time.monotonic()
        _, detail = asyncio.run(probed(pour, limit_s=1.0) if where == "ready" else probed(READY, pour, 1.0))
        took = time.monotonic() - began
        assert poured < 40 * 1024 * 1024
        assert detail or where == "ready"
        return took

    in_time(attempt, 1.5)


def test_a_watch_survives_whatever_it_is_told() -> None:
    """After nonsense of every kind the endpoint is found ready again, and nothing is announced while nothing changes."""
    answers = [
        whole(b"[" * 100_000),
        whole(b'[{"name":"m","version":"' + b"9" * 5_000 + b'","state":"READY"}]'),
        b"\x00" * 100,
    ]

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(answers.pop(0) if answers else whole(b'[{"name":"m","version":"1","state":"READY"}]'))

    async def story() -> int:
        changes = 0

        def changed() -> None:
            nonlocal changes
            changes += 1

        settings = Upstream(probe_interval_s=0.01, probe_timeout_s=0.5)
        async with server(READY, say) as url, httpx.AsyncClient(trust_env=False) as client:
            endpoint = Endpoint("p", url, settings)
            task = asyncio.create_task(watch(endpoint, changed, client, settings))
            until = time.monotonic() + PATIENT_S
            while not endpoint.serves(("m", 1)) and time.monotonic() < until and not task.done():
                await asyncio.sleep(0.01)
            assert endpoint.serves(("m", 1)), task
            so_far = changes
            await asyncio.sleep(0.1)
            task.cancel()
        return changes - so_far

    assert asyncio.run(story()) == 0


def test_one_late_answer_is_forgiven_and_three_are_not() -> None:
    """A busy server is not taken out for one late probe; one that hangs is."""
    hang = False
    ready_at: list[bool] = []
    """Whether the endpoint was ready when each of the late probes came."""

    async def story() -> None:
        nonlocal hang
        settings = Upstream(probe_interval_s=0.01, probe_timeout_s=0.6)

        async def say(writer: asyncio.StreamWriter) -> None:
            if hang:
                ready_at.append(endpoint.ready)
                await asyncio.sleep(10)
            writer.write(READY)

        async with server(say, whole(b"[]")) as url, httpx.AsyncClient(trust_env=False) as client:
            endpoint = Endpoint("p", url, settings)
            task = asyncio.create_task(watch(endpoint, lambda: None, client, settings))
            while not endpoint.ready:
                await asyncio.sleep(0.01)
            hang = True
            while len(ready_at) < 4:
                await asyncio.sleep(0.01)
            task.cancel()

    asyncio.run(asyncio.wait_for(story(), PATIENT_S))
    assert ready_at == [True, True, True, False]


def test_a_server_that_answers_calls_is_not_taken_out_for_late_probes() -> None:
    """A gateway under load may be late itself; a call answered meanwhile says that the server is well."""
    hang = False

    async def say(writer: asyncio.StreamWriter) -> None:
        if hang:
            await asyncio.sleep(10)
        writer.write(READY)

    async def story() -> None:
        nonlocal hang
        settings = Upstream(probe_interval_s=0.01, probe_timeout_s=0.1)
        async with server(say, whole(b"[]")) as url, httpx.AsyncClient(trust_env=False) as client:
            endpoint = Endpoint("p", url, settings)
            task = asyncio.create_task(watch(endpoint, lambda: None, client, settings))
            while not endpoint.ready:
                await asyncio.sleep(0.01)
            hang = True
            until = time.monotonic() + 0.8
            while time.monotonic() < until:
                endpoint.answered = time.monotonic()
                await asyncio.sleep(0.01)
                assert endpoint.ready
            while endpoint.ready:
                await asyncio.sleep(0.01)
            task.cancel()

    asyncio.run(asyncio.wait_for(story(), PATIENT_S))


def test_a_version_that_a_call_did_not_find_meanwhile_is_not_put_back() -> None:
    """The probe's answer is older; the next probe is believed again."""
    answered = asyncio.Event()
    asked = asyncio.Event()

    async def index(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await answered.wait()
        writer.write(
            whole(b'[{"name":"m","version":"1","state":"READY"},{"name":"m","version":"2","state":"READY"}]')
        )

    async def run() -> None:
        async with server(READY, index) as url, httpx.AsyncClient(trust_env=False) as client:
            settings = Upstream(probe_timeout_s=PATIENT_S, probe_interval_s=0.01)
            endpoint = Endpoint("pool", url, settings)
            seen: list[frozenset[tuple[str, int]] | None] = []
            task = asyncio.create_task(
                watch(endpoint, lambda: seen.append(endpoint.versions), client, settings)
            )
            async with asyncio.timeout(PATIENT_S):
                await asked.wait()
                endpoint.lost(("m", 2))
                answered.set()
                while len(seen) < 2:
                    await asyncio.sleep(0.01)
            task.cancel()
        assert seen == [frozenset({("m", 1)}), frozenset({("m", 1), ("m", 2)})]

    asyncio.run(run())
