"""Who used what: of the aliases that one may read, and always of one's own calls."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from gateway.controlplane import owned
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.usage import store
from gateway.controlplane.usage.schemas import Dimension, UsageReply, UsageView
from gateway.errors import GatewayError, Kind
from gateway.policy.rules import PLATFORM
from gateway.types import NAME, PRINCIPAL

DIMENSIONS: tuple[Dimension, ...] = ("day", "application", "alias", "model", "version")
DEFAULT_DAYS = 7
_COLUMNS = {"application": "principal"}


def show_usage(
    session: Session,
    caller: Caller,
    *,
    by: Sequence[str],
    first_day: date | None,
    last_day: date | None,
    application: str | None,
    alias: str | None,
    team: str | None,
) -> UsageReply:
    """Sums by the dimensions `by`. Raises UNPROCESSABLE with every fault of the question."""
    last_day = last_day or datetime.now(UTC).date()
    first_day = first_day or last_day - timedelta(days=DEFAULT_DAYS - 1)
    _check(by, first_day, last_day, application, alias, team)
    groups = tuple(name for name in DIMENSIONS if name in by)
    rows = store.usage(
        session,
        [_COLUMNS.get(name, name) for name in groups],
        (first_day, last_day),
        _readable(session, caller, alias, team),
        application,
        # One's own calls to an alias that is gone, or that one may call and not read about, are one's own.
        caller.principal if alias is None and team is None else None,
    )
    return UsageReply(first_day, last_day, list(groups), [_view(row) for row in rows])


def _readable(session: Session, caller: Caller, alias: str | None, team: str | None) -> list[str]:
    found = [
        row.name
        for row in owned.aliases(session, team)
        if alias in (None, row.name) and caller.may("read", row.name, row.team)
    ]
    if caller.may("read", "@audit", PLATFORM) and team is None:
        # Of aliases that are gone only those know who may read everything that happened.
        found += [name for name in store.aliases_used(session) if alias in (None, name)]
    return found


def _check(
    by: Sequence[str],
    first_day: date,
    last_day: date,
    application: str | None,
    alias: str | None,
    team: str | None,
) -> None:
    problems = [f"by: {name!r} is none of {', '.join(DIMENSIONS)}" for name in by if name not in DIMENSIONS]
    if not by:
        problems.append(f"by: name at least one of {', '.join(DIMENSIONS)}")
    if first_day > last_day:
        problems.append(f"from: {first_day} lies after {last_day}")
    if application is not None and not PRINCIPAL.fullmatch(application):
        problems.append(f"application: {application!r} is none; write app:NAME or user:NAME")
    for what, name in (("alias", alias), ("team", team)):
        if name is not None and not NAME.fullmatch(name):
            problems.append(f"{what}: {name!r} is no name")
    if problems:
        raise GatewayError(
            Kind.UNPROCESSABLE,
            "The question cannot be answered: " + "; ".join(problems),
            problems=tuple(problems),
        )


def _view(row: dict[str, Any]) -> UsageView:
    known = {"day": None, "application": row.get("principal"), "alias": None, "model": None, "version": None}
    return msgspec.convert({**known, **row}, UsageView)
