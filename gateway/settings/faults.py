"""Values that decode and still make no sense."""

import math
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from gateway.collector import trace_faults
from gateway.issuers import issuer_faults
from gateway.settings.shape import AdmissionSettings, PoolSettings, Settings

MOST_WORKERS = 256
_MAY_BE_ZERO = frozenset(
    {
        "drain_notice_s",
        "drain_limit_s",
        "orphan_limit_s",
        "alone_s",
        "body_min_bytes_per_s",
        "retention_days",
        "sample_ratio",
        "most_per_s",
    }
)

_LONGEST_S = 7 * 86_400.0
_LONGEST = {"wait_s": 60.0, "queue_wait_s": 60.0}
"""Seconds: a caller waits so long. All other times may last a week; a longer one is a slip of the hand."""

_MOST_RETENTION_DAYS = 36_500

_MOST_SHARING = 100_000
"""Workers over all hosts: more are a slip of the hand, and would leave each next to nothing of any limit."""

_MOST_SEQUENCES = 1_048_576
"""Some 200 MB of memory, once they are all open."""


def _admission_faults(admission: AdmissionSettings) -> list[str]:
    if admission.min_limit <= admission.initial_limit <= admission.max_limit:
        return []
    return [
        "admission: initial_limit must lie between min_limit and max_limit, but they are "
        f"{admission.initial_limit}, {admission.min_limit} and {admission.max_limit}"
    ]


def find_faults(settings: Settings) -> list[str]:
    """Every one of them, each by the name of its setting."""
    found: list[str] = []
    for name in ("inference", "admission", "upstream", "embedded", "quota", "sequences", "samples", "traces"):
        part = getattr(settings, name)
        for key in part.__struct_fields__:
            value = getattr(part, key)
            if not isinstance(value, int | float) or isinstance(value, bool) or key.endswith("port"):
                continue
            if (fault := _number_fault(key, value)) is not None:
                found.append(f"{name}.{key}: {fault}, is {value:g}")
    found += _admission_faults(settings.admission)
    for where, port in (
        ("inference.port", settings.inference.port),
        ("inference.grpc_port", settings.inference.grpc_port),
        ("inference.ops_port", settings.inference.ops_port),
        ("control.port", settings.control.port),
    ):
        if not 0 <= port <= 65_535:
            found.append(f"{where}: must be a port between 0 and 65535, is {port}")
    if not 1 <= settings.workers <= MOST_WORKERS:
        found.append(f"workers: must be between 1 and {MOST_WORKERS}, is {settings.workers}")
    if settings.samples.url is not None and "@" in settings.samples.url.partition("://")[2].partition("/")[0]:
        found.append("samples.url: holds no credentials; give them to the store's driver in its own way")
    found += _sharing_faults(settings)
    if settings.secret is not None and len(settings.secret) < 32:
        found.append("secret: at least 32 characters, from a good random source")
    found += _pool_faults(settings.pools) + issuer_faults(settings.issuers)
    return found + trace_faults(settings.traces)


def _number_fault(key: str, value: float) -> str | None:
    may_be_zero = key in _MAY_BE_ZERO
    if not math.isfinite(value) or value < 0 or (value == 0 and not may_be_zero):
        return "must be zero or a greater number" if may_be_zero else "must be a number greater than zero"
    if key.endswith("_s") and not key.endswith("_per_s"):
        most, unit = _LONGEST.get(key, _LONGEST_S), "seconds"
    elif key == "retention_days":
        most, unit = _MOST_RETENTION_DAYS, "days"
    else:
        return None
    return None if value <= most else f"must be at most {most:g} {unit}"


def _sharing_faults(settings: Settings) -> list[str]:
    found: list[str] = []
    if settings.quota.workers > _MOST_SHARING:
        found.append(f"quota.workers: must be at most {_MOST_SHARING}, is {settings.quota.workers}")
    for where, url in (
        ("quota.redis_url", settings.quota.redis_url),
        ("sequences.redis_url", settings.sequences.redis_url),
    ):
        if url is not None and not _is_redis(url):
            found.append(f"{where}: must be redis://HOST:PORT/NUMBER, rediss://… or unix:///PATH")
    if settings.sequences.most > _MOST_SEQUENCES:
        found.append(f"sequences.most: must be at most {_MOST_SEQUENCES}, is {settings.sequences.most}")
    return found


def _pool_faults(pools: Mapping[str, PoolSettings]) -> list[str]:
    found: list[str] = []
    for name, pool in pools.items():
        if pool.engine == "embedded" and pool.endpoints:
            found.append(f"pools.{name}: the embedded engine has no endpoints")
        if pool.engine == "triton" and not pool.endpoints:
            found.append(f"pools.{name}: a pool of Triton servers needs at least one endpoint")
    return found


def _is_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme == "unix":
        return not parts.netloc and len(parts.path) > 1
    return (
        parts.scheme in ("redis", "rediss")
        and bool(parts.hostname)
        and re.fullmatch(r"(?:/[0-9]*)?", parts.path) is not None
    )
