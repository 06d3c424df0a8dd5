"""Quota policies as the API takes and shows them."""

from datetime import datetime
from typing import Annotated

import msgspec

from gateway.controlplane.fields import Reason
from gateway.snapshot.document import Unit

Selector = Annotated[
    str,
    msgspec.Meta(
        max_length=160,
        description="A name: only that one. `*`: every one, each with a count of its own. Left out: whichever, in one count.",
    ),
]


class LimitIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`quota` units in `window_s` seconds, `burst` of them at once (0: all of the quota).

    `concurrent-requests` are counted at a time and have no window. Of `tokens`, and of bodies and batches whose size is not
    known beforehand, `estimate` units are reserved and put right afterwards.
    """

    name: str
    quota: int
    unit: Unit = "requests"
    window_s: int = 0
    burst: int = 0
    estimate: int = 1


class PutQuota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A quota policy. `application` is a principal, as `app:NAME`; `team` owns the alias that is called.

    A `shadow` policy counts and refuses nothing. A `hard` one refuses while its count cannot be kept across workers.
    """

    limits: Annotated[list[LimitIn], msgspec.Meta(max_length=100)]
    team: Selector | None = None
    application: Selector | None = None
    alias: Selector | None = None
    model: Selector | None = None
    shadow: bool = False
    hard: bool = False
    reason: Reason | None = None


class LimitView(msgspec.Struct, frozen=True):
    """A limit; `burst` is what may come at once."""

    name: str
    unit: str
    quota: int
    window_s: int
    burst: int
    estimate: int


class QuotaView(msgspec.Struct, frozen=True):
    """A quota policy as it stands.

    A `platform` one was set by who administers all quotas, and only they change it. `unknown` are selectors that name
    nothing there is now, such as a mistyped alias: until there is, the policy limits nobody. `problems` say why the workers
    that serve now do not keep it as it is written.
    """

    name: str
    team: str | None
    application: str | None
    alias: str | None
    model: str | None
    limits: list[LimitView]
    shadow: bool
    hard: bool
    platform: bool
    unknown: list[str]
    problems: list[str]
    revision: int
    updated_at: datetime
    updated_by: str
    reason: str | None


class QuotaList(msgspec.Struct, frozen=True):
    """The policies that the caller may see, by name."""

    quotas: list[QuotaView]
