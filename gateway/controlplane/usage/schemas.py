"""Usage as the API shows it."""

from datetime import date, datetime
from typing import Literal

import msgspec

Dimension = Literal["day", "application", "alias", "model", "version"]


class UsageView(msgspec.Struct, frozen=True):
    """What the calls of one group add up to; dimensions that were not asked for are null.

    `requests` were forwarded, `failed` of them ended in an error of the gateway or the model; `limited` ones were refused by
    a quota, `gone` ones because what they called is retired or in a brownout: both are not among them. `pinned` ones
    named the version. `inferences` are batch rows where a limit counts them, else requests.
    """

    day: date | None
    application: str | None
    alias: str | None
    model: str | None
    version: int | None
    requests: int
    failed: int
    limited: int
    gone: int
    pinned: int
    request_bytes: int
    reply_bytes: int
    inferences: int
    tokens: int
    last_at: datetime


class UsageReply(msgspec.Struct, frozen=True):
    """The groups, newest day first, and the days (UTC, both included) that they are of."""

    first_day: date
    last_day: date
    by: list[Dimension]
    rows: list[UsageView]
