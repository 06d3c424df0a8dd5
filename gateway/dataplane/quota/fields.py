"""What callers are told of their quotas in header fields.

The fields are those of draft-ietf-httpapi-ratelimit-headers-10, written here alone, since a draft may change. It registers
the units requests, content-bytes and concurrent-requests; `inferences` and `tokens` are ours. `maas-burst` says how many
units there are at once where that is not the quota. `r` is what is left, `t` when the whole burst will be there again; in a
refusal, which names only the limits that refused, `t` is when the request fits. Nobody knows when a request that runs will
end, so limits of requests at a time have no `t`.

The draft lets `t` be either: seconds until additional quota is made available (section 4.1.2). One meaning for both would
serve callers worse: until the next unit, a client that divides `r` by `t` would see a pace that nobody can keep (section
8.5); until the whole burst, `Retry-After`, never earlier than `t` (section 6), would be longer than need be.
"""

import math
from collections.abc import Iterable
from typing import Protocol

from gateway.types import Field


class Told(Protocol):
    """What is told of a limit."""

    @property
    def name(self) -> str:
        """Unique over all policies."""

    @property
    def unit(self) -> str:
        """What is counted."""

    @property
    def quota(self) -> int:
        """How much of it."""

    @property
    def window_s(self) -> int:
        """In how many seconds; 0: at a time."""

    @property
    def burst(self) -> int:
        """How much at once."""


def policy_field(limits: Iterable[Told]) -> Field:
    """`RateLimit-Policy`: the limits as they are, the same with every reply."""
    return b"RateLimit-Policy", ", ".join(_policy_item(limit) for limit in limits).encode()


def _policy_item(limit: Told) -> str:
    item = f'"{limit.name}";q={limit.quota}'
    if limit.window_s:
        item += f";w={limit.window_s}"
    if limit.unit != "requests":
        item += f';qu="{limit.unit}"'
    if limit.burst != limit.quota:
        item += f";maas-burst={limit.burst}"
    return item


def standing_format(limits: Iterable[Told]) -> bytes:
    """The value of `RateLimit` for these limits, to be filled in: `r` and, where a limit has a window, `t` of each."""
    return b", ".join(
        b'"%b";r=%%d' % limit.name.encode() + (b";t=%d" if limit.window_s else b"") for limit in limits
    )


def limit_field(form: bytes, standing: tuple[int, ...]) -> Field:
    """`RateLimit`: where the limits stand."""
    return b"RateLimit", form % standing


def lack_field(lacks: Iterable[tuple[Told, float, float]]) -> Field:
    """`RateLimit` of limits that refused: what is left of each, and after how many seconds the request fits."""
    rows = list(lacks)
    standing: tuple[int, ...] = ()
    for limit, left, after_s in rows:
        standing += (max(0, int(left)), math.ceil(after_s)) if limit.window_s else (max(0, int(left)),)
    return limit_field(standing_format(limit for limit, _, _ in rows), standing)
