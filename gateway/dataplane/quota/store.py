"""The connection to the quota store, a Redis: one call at a time, and none that anybody waits for once it is away."""

import asyncio
import contextlib
import hashlib
import logging
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from gateway.dataplane.quota.batch import Batch, BatchReply, decode_reply
from gateway.dataplane.quota.leased import LeasedCounter
from gateway.dataplane.quota.rounds import Rounds
from gateway.observe import metrics
from gateway.settings import Quota

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger(__name__)
T = TypeVar("T")

SCRIPT = (Path(__file__).parent / "take.lua").read_text(encoding="utf-8")
_DIGEST = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

WORKER_LAPSE_S = 4.0
"""A worker that has not called for so long is gone: the slots that it held are free."""

SETTLE_S = 2.5
"""A store that has forgotten what it had counted grants nothing for so long: longer than it takes any worker that counted
with it to find it again, at `_MOST_PAUSE_S` between two attempts of `CONNECT_S`.
"""

_CALL_EVERY_S = 1.0
_LOOK_EVERY_S = 0.1
CONNECT_S = 1.0
_GRACE_S = 0.01
_LEAVE_S = 1.0
_FIRST_PAUSE_S = 0.1
_MOST_PAUSE_S = 1.0


class Away(Exception):
    """The store does not answer, not in time, or not to what it was asked."""


class Store:
    """Makes the rounds of one worker, soon once it is `woken`.

    `prefix` gives what all keys begin with, empty while it is not known yet; `counters` are all that there are.
    """

    def __init__(
        self,
        settings: Quota,
        worker: str,
        rounds: Rounds,
        woken: asyncio.Event,
        prefix: Callable[[], str],
        counters: Callable[[], Iterable[LeasedCounter]],
    ) -> None:
        assert settings.redis_url is not None
        self._url = settings.redis_url
        self._wait_s = settings.wait_s
        # A worker that comes back under the same process id is another one: nothing of the first is its own.
        self._worker = f"{worker}-{secrets.token_hex(4)}"
        self._rounds = rounds
        self._prefix = prefix
        self._counters = counters
        self._woken = woken
        self._tried = asyncio.Event()
        self._connected = metrics.QUOTA_STORE_CONNECTED.labels("redis")
        self._connected.set(0)
        self._told_away = False
        self._run = ""

    async def tried(self) -> None:
        """Wait for the end of the first attempt to reach the store, or for as long as one may take."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_S + self._wait_s):
                await self._tried.wait()

    async def run(self) -> None:
        """Make rounds until cancelled, through all that may happen to the store."""
        pause_s = _FIRST_PAUSE_S
        while True:
            if not self._prefix():
                await self._look_soon()
                continue
            began = time.monotonic()
            try:
                await self._session(self._prefix())
            except Away as away:
                self._went_away(away)
            pause_s = _FIRST_PAUSE_S if time.monotonic() - began > _CALL_EVERY_S else 2 * pause_s
            pause_s = min(pause_s, _MOST_PAUSE_S)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))

    async def leave(self) -> None:
        """Give back what was leased, and be no worker any more. To be called once `run` has been cancelled."""
        if not self._rounds.connected:
            return
        prefix = self._prefix()
        with contextlib.suppress(Away, TimeoutError):
            async with asyncio.timeout(_LEAVE_S), self._client() as client:
                batch = self._rounds.farewell(prefix, time.monotonic())
                await self._call(client, prefix, batch, leave=True)

    async def _session(self, prefix: str) -> None:
        """Rounds over one connection, until that raises `Away`."""
        rounds = self._rounds
        async with self._client() as client:
            self._run = await self._run_of(client)
            reply = await self._call(client, prefix, rounds.greet(prefix))
            while not rounds.found(reply, list(self._counters()), time.monotonic()):
                self._tried.set()
                if rounds.told_all:
                    await asyncio.sleep(min(reply.settles_s, _CALL_EVERY_S))
                reply = await self._call(client, prefix, rounds.greet(prefix))
            called_at = time.monotonic()
            self._is_there(reply.workers)
            while self._prefix() == prefix:
                if not rounds.pending:
                    await self._look_soon()
                now = time.monotonic()
                due = now - called_at >= _CALL_EVERY_S
                batch = rounds.begin(prefix, now, everything=due)
                if batch or due:
                    reply = await self._call(client, prefix, batch)
                    called_at = time.monotonic()
                    try:
                        rounds.arrived(reply, called_at)
                    except ValueError as error:
                        raise Away(str(error)) from error
            raise Away("another installation is served from now on")

    async def _look_soon(self) -> None:
        """Until something is asked; what ended requests give back can wait for a moment."""
        self._woken.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_S):
                await self._woken.wait()

    async def _call(self, client: "Redis", prefix: str, batch: Batch, *, leave: bool = False) -> BatchReply:
        keys = [f"{prefix}workers", f"{prefix}since", f"{prefix}settled", *batch.keys]
        arguments = (self._worker, WORKER_LAPSE_S, int(leave), "", self._run, SETTLE_S, batch.encode())
        began = time.monotonic()
        try:
            data = await self._in_time(_run_script(client, keys, arguments))
            reply = decode_reply(data)
        except Away:
            raise
        except Exception as error:
            # Whatever a store that talks nonsense makes its client raise.
            raise Away(f"{type(error).__name__}: {error}") from error
        metrics.QUOTA_CALL_SECONDS.observe(time.monotonic() - began)
        return reply

    async def _run_of(self, client: "Redis") -> str:
        """The name that this run of the server has given itself: what it holds may have been saved by an earlier one. Empty
        where the user may not ask, or a proxy does not know.
        """
        from redis.exceptions import ResponseError

        try:
            return str((await self._in_time(_told_of_server(client))).get("run_id", ""))
        except ResponseError:
            return ""
        except Away:
            raise
        except Exception as error:
            raise Away(f"{type(error).__name__}: {error}") from error

    async def _in_time(self, call: Coroutine[Any, Any, T]) -> T:
        """The reply, if it comes in time. A worker that was itself held up looks once more for one that is here already."""
        task = asyncio.ensure_future(call)
        try:
            for wait_s in (self._wait_s, _GRACE_S):
                done, _ = await asyncio.wait((task,), timeout=wait_s)
                if done:
                    return task.result()
        finally:
            task.cancel()
            # What a client raises as it is cut off is nobody's affair.
            task.add_done_callback(_heed)
        raise Away(f"no answer in {self._wait_s} s")

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator["Redis"]:
        """A connection of its own; what is wrong with it is told by the first call."""
        # Only workers that share quotas pay for it: 10 MB.
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        client = Redis.from_url(
            self._url,
            protocol=2,
            single_connection_client=True,
            socket_connect_timeout=CONNECT_S,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            yield client
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_GRACE_S):
                    await client.aclose()

    def _is_there(self, workers: int) -> None:
        self._connected.set(1)
        self._tried.set()
        log.info("quotas are shared through %s by %d workers", place(self._url), workers)
        self._told_away = False

    def _went_away(self, away: Away) -> None:
        self._rounds.lost(time.monotonic())
        self._connected.set(0)
        self._tried.set()
        if not self._told_away:
            log.warning(
                "the quota store %s is away (%s): this worker counts by its share", place(self._url), away
            )
            self._told_away = True


def place(url: str) -> str:
    """Where the store is, without its password."""
    parts = urlsplit(url)
    return parts.path if parts.hostname is None else f"{parts.hostname}:{parts.port or 6379}"


def _heed(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()


async def _told_of_server(client: "Redis") -> dict[str, Any]:
    return await client.info("server")


async def _run_script(client: "Redis", keys: list[str], arguments: tuple[str | bytes | float, ...]) -> bytes:
    from redis.exceptions import NoScriptError

    try:
        return cast(bytes, await client.evalsha(_DIGEST, len(keys), *keys, *arguments))
    except NoScriptError:
        return cast(bytes, await client.eval(SCRIPT, len(keys), *keys, *arguments))
