"""The usage of each day: added to by reports, read by people."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import BigInteger, case, cast, func, or_, select
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from gateway.db.models import UsageRow
from gateway.reports import UsageReport

COUNTS = (
    "requests",
    "failed",
    "limited",
    "gone",
    "pinned",
    "request_bytes",
    "reply_bytes",
    "inferences",
    "tokens",
)
MOST_ROWS = 10_000
_KEY = ("day", "principal", "alias", "model", "version")


def usage(
    session: Session,
    by: Sequence[str],
    days: tuple[date, date],
    aliases: Iterable[str],
    principal: str | None = None,
    also_of: str | None = None,
) -> list[dict[str, Any]]:
    """Sums by the columns `by` over the days (both included), of these aliases or of `also_of`'s own calls."""
    rows = UsageRow.__table__.c
    groups = [rows[name] for name in by]
    sums = [cast(func.sum(rows[name]), BigInteger).label(name) for name in COUNTS]
    wanted = or_(rows.alias.in_(list(aliases)), rows.principal == also_of)
    query = (
        select(*groups, *sums, func.max(rows.last_at).label("last_at"))
        .where(rows.day >= days[0], rows.day <= days[1], wanted)
        .group_by(*groups)
        .order_by(*(group.desc() if group.name == "day" else group for group in groups))
        .limit(MOST_ROWS)
    )
    if principal is not None:
        query = query.where(rows.principal == principal)
    return [dict(row) for row in session.execute(query).mappings()]


def aliases_used(session: Session) -> list[str]:
    """The names of all aliases that were ever called."""
    return list(session.scalars(select(UsageRow.alias).distinct().order_by(UsageRow.alias)))


def add_usage(session: Session, rows: Iterable[UsageReport], now: datetime) -> None:
    """Add to the day's counts. A worker's clock may be ahead; nobody calls in the future."""
    values = [_values(row, now) for row in rows]
    if not values:
        return
    table = UsageRow.__table__
    assert isinstance(table, SqlTable)
    insert = (sqlite if session.get_bind().dialect.name == "sqlite" else postgresql).insert(table)
    new = insert.excluded
    changes: dict[str, Any] = {name: table.c[name] + new[name] for name in COUNTS}
    changes["last_at"] = case((new.last_at > table.c.last_at, new.last_at), else_=table.c.last_at)
    # In one order everywhere, so that two reports at once do not wait for one another in a circle.
    values.sort(key=lambda row: [str(row[name]) for name in _KEY])
    session.execute(insert.on_conflict_do_update(index_elements=_KEY, set_=changes), values)


def _values(row: UsageReport, now: datetime) -> dict[str, Any]:
    last_at = datetime.fromtimestamp(min(max(row.last_at, 0.0), now.timestamp()), UTC)
    found: dict[str, Any] = {name: getattr(row, name) for name in COUNTS}
    return found | {
        "day": last_at.date(),
        "principal": row.principal,
        "alias": row.alias,
        "model": row.model,
        "version": row.version,
        "last_at": last_at,
    }
