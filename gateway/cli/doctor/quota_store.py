"""What the doctor says of quotas: whether the Redis that workers count in takes what they ask of it, and which are not kept as
they are written.
"""

from collections.abc import Iterator

from gateway.cli.doctor.asking import shown
from gateway.cli.doctor.findings import Finding, ok, warning
from gateway.settings import Settings

_CHECK = "quotas"


def look_at_quota_store(settings: Settings) -> Iterator[Finding]:
    """Whether the store can be used. Without it everybody is served, each worker by its share, so nothing is broken."""
    if settings.role == "control":
        return
    if settings.quota.redis_url is None:
        if settings.workers > 1:
            found = f"each of {settings.workers} workers counts its own share of each limit"
            yield ok(_CHECK, f"{found}; with quota.redis_url they count together")
        return
    from gateway.dataplane.quota.probe import StoreRefused, ask_store

    try:
        yield ok(_CHECK, f"are counted in the Redis at {ask_store(settings.quota.redis_url)}")
    except StoreRefused as refused:
        todo = (
            "correct the user and password in quota.redis_url, and let that user run scripts"
            if refused.answers
            else "start it, or correct quota.redis_url; each worker counts by its share, hard policies refuse meanwhile"
        )
        yield warning(_CHECK, f"the Redis at {refused}", todo)


def look_at_quotas(settings: Settings) -> Iterator[Finding]:
    """Those that the workers which serve now do not keep, as far as a MAAS_KEY may see it."""
    for quota in shown(settings, "/api/v1/quotas", "quotas"):
        for problem in quota["problems"]:
            yield warning(_CHECK, f"{quota['name']} is not kept as it is written", problem)
