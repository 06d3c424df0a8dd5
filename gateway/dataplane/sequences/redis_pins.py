"""Pins in a Redis, for hosts that are to go by the same ones. What cannot be asked there in time is known nowhere."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.dataplane.sequences.names import Name
from gateway.dataplane.sequences.pins import unsaid
from gateway.supervisor.pins import Full, Pin

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

log = logging.getLogger(__name__)

SCRIPT = (Path(__file__).parent / "pin.lua").read_text(encoding="utf-8")
_PREFIX = b"maas:sequence:"
_CLOSE_S = 0.5
_decode = msgspec.msgpack.Decoder(Pin).decode


class RedisPins:
    """Those of all hosts with this Redis, at most `most` of each tenant. An answer that takes longer than `wait_s` is none."""

    def __init__(self, url: str, wait_s: float, most: int) -> None:
        self._url = url
        self._wait_s = wait_s
        self._most = most
        self._redis: Redis | None = None
        self._script: AsyncScript | None = None
        self._away = False

    async def find(self, name: Name) -> Pin | None:
        """As `Pins` says."""
        found: bytes | None = await self._in_time(self._client().get(_PREFIX + name.key))
        return None if found is None else _decode(found)

    async def keep(self, name: Name, pin: Pin, for_s: float) -> Full | None:
        """As `Pins` says."""
        return None if await self._run("keep", name, pin, for_s) else "principal"

    async def extend(self, name: Name, pin: Pin, for_s: float) -> None:
        """As `Pins` says."""
        await self._run("extend", name, pin, for_s)

    async def drop(self, name: Name, pin: Pin) -> None:
        """As `Pins` says."""
        await self._run("drop", name, pin, 0.0)

    async def close(self) -> None:
        """Ask no more."""
        if self._redis is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_CLOSE_S):
                    await self._redis.aclose()

    async def _run(self, verb: str, name: Name, pin: Pin, for_s: float) -> int:
        self._client()
        assert self._script is not None
        keys = [_PREFIX + name.key, _PREFIX + b"of:" + name.tenant]
        arguments: list[bytes | str | int] = [
            verb,
            msgspec.msgpack.encode(pin),
            max(1, int(for_s * 1000)),
            self._most,
        ]
        done: int = await self._in_time(self._script(keys=keys, args=arguments))
        return done

    def _client(self) -> "Redis":
        if self._redis is None:
            # Only hosts that share sequences pay for it: 10 MB.
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            self._redis = Redis.from_url(
                self._url, protocol=2, socket_connect_timeout=self._wait_s, retry=Retry(NoBackoff(), 0)
            )
            self._script = self._redis.register_script(SCRIPT)
        return self._redis

    async def _in_time(self, call: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._wait_s):
                answer = await call
        except Exception as error:
            # Whatever a store that is away, or talks nonsense, makes its client raise.
            if not self._away:
                log.error("sequences cannot be looked up: %s: %s", type(error).__name__, error)
            self._away = True
            raise unsaid() from error
        if self._away:
            log.info("sequences can be looked up again")
        self._away = False
        return answer
