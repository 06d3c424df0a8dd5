"""Keeps the issuers' keys fresh, in the background of whoever verifies; a request never waits for an issuer.

Keys are fetched every `refresh_s`, and sooner when a token names a key that nobody knows, but never in a rush: however
many such tokens come, there is a pause between two fetches. What cannot be fetched or used changes nothing: the last good
keys go on, and are on disk for the next start.
"""

import asyncio
import logging
import random
import time
from contextlib import suppress

from gateway.issuers import Issuer
from gateway.observe import metrics
from gateway.tokens.fetch import FetchFailed, fetch_keys
from gateway.tokens.keys import NO_KEYS, KeySet, KeysRefused, read_keys
from gateway.tokens.last_good import LastGoodKeys
from gateway.tokens.tokens import Tokens

log = logging.getLogger(__name__)

PAUSE_S = 10.0
"""The shortest time between two fetches from one issuer, unless it is to be asked more often anyway."""

_RETRY_FIRST_S = 2.0
_RETRY_MOST_S = 30.0


class Refresher:
    """Fetches the keys of all issuers of `tokens` while `run` runs, in the thread that verifies."""

    def __init__(self, tokens: Tokens, last_good: LastGoodKeys) -> None:
        self.tokens = tokens
        self._last_good = last_good
        self._wanted = {name: asyncio.Event() for name in tokens.issuers}
        self._fetched_at: dict[str, float] = {}
        tokens.key_wanted = lambda name: self._wanted[name].set()

    def start_from_disk(self) -> None:
        """Use the last good keys that are still young enough."""
        for name, issuer in self.tokens.issuers.items():
            try:
                found = self._last_good.load(name, issuer)
                if found is None or not _young(found.fetched_at, issuer):
                    continue
                self._take(name, read_keys(found.document, issuer.algorithms), found.fetched_at)
            except KeysRefused as error:
                log.error("the last good keys of issuer %s are not used: the file %s", name, error)

    async def run(self) -> None:
        """Keep all keys fresh until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, issuer in self.tokens.issuers.items():
                group.create_task(self._follow(name, issuer))

    async def _follow(self, name: str, issuer: Issuer) -> None:
        retry_s = _RETRY_FIRST_S
        while True:
            if await self._refresh(name, issuer):
                retry_s = _RETRY_FIRST_S
                wait_s = issuer.refresh_s
            else:
                wait_s = min(retry_s, issuer.refresh_s)
                retry_s = min(_RETRY_MOST_S, retry_s * 2)
            # Many workers that started together need not ask together for ever.
            wait_s *= random.uniform(0.9, 1.0)  # noqa: S311 - no secret
            pause_s = min(PAUSE_S, wait_s)
            await asyncio.sleep(pause_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted[name].wait(), wait_s - pause_s)
            self._wanted[name].clear()

    async def _refresh(self, name: str, issuer: Issuer) -> bool:
        """Fetch once; whether there are fresh keys now."""
        try:
            document = await fetch_keys(issuer)
            keys = await asyncio.to_thread(read_keys, document, issuer.algorithms)
        except (FetchFailed, KeysRefused) as error:
            log.warning("the keys of issuer %s are not refreshed: %s", name, error)
        except Exception:  # whatever it is, the next good key set must get through
            log.exception("the keys of issuer %s are not refreshed", name)
        else:
            at = time.time()
            self._take(name, keys, at)
            try:
                await asyncio.to_thread(self._last_good.save, name, issuer, document, at)
            except OSError as error:
                log.error("the keys of issuer %s could not be kept on disk: %s", name, error)
            return True
        metrics.ISSUER_REFRESH_FAILURES.labels(name).inc()
        fetched_at = self._fetched_at.get(name)
        if fetched_at is not None and not _young(fetched_at, issuer):
            log.error("the last good keys of issuer %s are too old: its tokens are refused from now on", name)
            del self._fetched_at[name]
            self._take(name, NO_KEYS, 0.0)
        return False

    def _take(self, name: str, keys: KeySet, fetched_at: float) -> None:
        self.tokens.replace(name, keys)
        if keys is not NO_KEYS:
            self._fetched_at[name] = fetched_at
        metrics.ISSUER_KEYS.labels(name).set(len(keys.ids))
        metrics.ISSUER_KEYS_FETCHED.labels(name).set(fetched_at)


def _young(fetched_at: float, issuer: Issuer) -> bool:
    return time.time() - fetched_at < issuer.keep_s
