"""Quotas: how much of what may be had. Which limits bind a request, their counters, and what callers are told of them."""

import asyncio

from gateway.dataplane.quota.leases import Leases
from gateway.dataplane.quota.quotas import Quotas
from gateway.dataplane.quota.rounds import Rounds
from gateway.dataplane.quota.shared import SharedQuotas
from gateway.dataplane.quota.store import Store
from gateway.settings import Settings


def open_quotas(settings: Settings, worker: str) -> tuple[Quotas, Store | None]:
    """The quotas of one worker, and the store that it shares them through, where the settings name one."""
    workers = max(settings.workers, settings.quota.workers)
    if settings.quota.redis_url is None:
        return Quotas(workers), None
    woken = asyncio.Event()
    leases = Leases(workers, woken.set)
    quotas = SharedQuotas(leases)
    rounds = Rounds(leases, workers)
    store = Store(settings.quota, worker, rounds, woken, lambda: quotas.prefix, quotas.leased)
    quotas.first_try = store.tried
    return quotas, store
