"""Deprecations as the API takes and shows them."""

from datetime import date, datetime
from typing import Annotated, Literal

import msgspec

from gateway.controlplane.fields import Reason
from gateway.snapshot.deprecation import MOST_BROWNOUTS

Moment = Annotated[datetime, msgspec.Meta(tz=True, description="RFC 3339, with its zone.")]
AfterSunset = Literal["serve", "gone"]
Status = Literal["announced", "deprecated", "brownout", "overdue", "gone"]
CallerTrend = Literal["new", "falling", "steady", "rising", "stopped"]

ContactText = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00-\x1f\x7f]*(?![\s\S])",
        description="Whom to ask, what was agreed; one line.",
    ),
]


class Brownout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A spell of 410 before the sunset, from `start` up to `end`; at most a day long."""

    start: Moment
    end: Moment


class PutDeprecation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The announced end of an alias or a version, whole. `successor` is an alias, `info_url` tells people more.

    Without `deprecated_at` it is now, or stays what it was. After `sunset_at` it goes on to `serve`, or is `gone` (410).
    """

    deprecated_at: Moment | None = None
    sunset_at: Moment | None = None
    successor: str | None = None
    info_url: str | None = None
    after_sunset: AfterSunset = "serve"
    brownouts: Annotated[list[Brownout], msgspec.Meta(max_length=MOST_BROWNOUTS)] = msgspec.field(
        default_factory=list
    )
    reason: Reason | None = None


class DeprecationView(msgspec.Struct, frozen=True):
    """An announcement of an `alias`, or of a `version` of a `model`.

    `status`: `announced` (it begins later), `deprecated`, `brownout` (switched off for now), `overdue` (past the sunset, and
    still served) or `gone`. `fields` are what callers are told. `callers` is how many principals called within the last
    eight days.
    """

    alias: str | None
    model: str | None
    version: int | None
    team: str
    status: Status
    deprecated_at: datetime
    sunset_at: datetime | None
    days_left: int | None
    successor: str | None
    info_url: str | None
    after_sunset: AfterSunset
    brownouts: list[Brownout]
    fields: dict[str, str]
    callers: int
    revision: int
    updated_at: datetime
    updated_by: str
    reason: str | None


class DeprecationList(msgspec.Struct, frozen=True):
    """The announcements that the caller may see, the next sunset first."""

    deprecations: list[DeprecationView]


class PutNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of one consumer."""

    text: ContactText


class NoteView(msgspec.Struct, frozen=True):
    """A contact note."""

    text: str
    revision: int
    updated_at: datetime
    updated_by: str


class ThroughAlias(msgspec.Struct, frozen=True):
    """The part of a caller's calls that came through one alias."""

    alias: str
    calls: int
    pinned: int


class CallerView(msgspec.Struct, frozen=True):
    """Who calls. `calls` are all attempts of the window, also those that failed or were refused with 429 or 410 (`gone`).

    `calls_per_day` is the mean over the whole days of the window since the first call. `remains` says that a call came within the last eight
    days: it would be cut off. `trend`: `stopped` where nothing came for eight days, `new` where there are not two whole
    weeks to judge by. `may_call_successor` is null without a successor.
    """

    principal: str
    last_at: datetime | None
    remains: bool
    trend: CallerTrend
    calls: int
    calls_per_day: float
    calls_by_day: list[int]
    failed: int
    limited: int
    gone: int
    pinned: int
    through: list[ThroughAlias]
    may_call_successor: bool | None
    note: NoteView | None


class CallerList(msgspec.Struct, frozen=True):
    """Who still calls, the busiest first. `days` are those of `calls_by_day`, the last one today; `left_out` were over the limit."""

    alias: str | None
    model: str | None
    version: int | None
    days: list[date]
    callers: list[CallerView]
    left_out: int
