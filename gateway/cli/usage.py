"""`maas usage`: who used what, by day."""

from typing import Any

import click

from gateway.cli import arguments, dates
from gateway.cli.client import Control
from gateway.cli.output import Refused, emit_json, json_option, moment, table

_DIMENSIONS = ("day", "application", "alias", "model", "version")


@click.command(
    epilog="""\b
Examples:
  maas usage                                     the last seven days, by day, application and alias
  maas usage --alias digits --by application     who calls digits
  maas usage --application app:storefront --from 2026-11-01 --by day,model""",
)
@click.option("--application", type=arguments.principal, metavar="app:NAME", help="Calls of one principal.")
@click.option("--alias", type=arguments.name, help="Calls to one alias.")
@click.option("--team", type=arguments.name, help="Calls to the aliases of one team.")
@click.option(
    "--from",
    "first",
    type=dates.day,
    metavar="YYYY-MM-DD",
    help="The first day, in UTC (default: six days before the last).",
)
@click.option(
    "--to", "last", type=dates.day, metavar="YYYY-MM-DD", help="The last day, in UTC (default: today)."
)
@click.option(
    "--by",
    default="day,application,alias",
    show_default=True,
    help=f"Sums by these of {', '.join(_DIMENSIONS)}.",
)
@json_option
def usage(
    application: str | None,
    alias: str | None,
    team: str | None,
    first: str | None,
    last: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Show who used what: of the aliases that you may read, and your own calls.

    A worker reports its counts once a second.
    """
    wishes = {"application": application, "alias": alias, "team": team, "from": first, "to": last, "by": by}
    with Control.from_environment() as control:
        found = control.get(
            "/api/v1/usage", **{name: wish for name, wish in wishes.items() if wish is not None}
        )
        if alias is not None and not found["rows"]:
            _demand_alias(control, alias)
    if as_json:
        emit_json(found)
        return
    columns = (
        *found["by"],
        "requests",
        "failed",
        "limited",
        "gone",
        "pinned",
        "bytes in",
        "bytes out",
        "inferences",
        "tokens",
        "last call",
    )
    table(
        columns,
        [_row(row, found["by"]) for row in found["rows"]],
        empty=f"No call from {found['first_day']} to {found['last_day']}.",
    )


def _demand_alias(control: Control, alias: str) -> None:
    """An alias without calls is there, or was called once. Raises `Refused`."""
    there, _ = control.standing(f"/api/v1/aliases/{alias}")
    if (
        there is None
        and not control.get("/api/v1/usage", **{"alias": alias, "from": "1970-01-01", "by": "alias"})["rows"]
    ):
        raise Refused(f"there is no alias {alias} that you may see, and there was no call of one")


def _row(row: dict[str, Any], by: list[str]) -> tuple[object, ...]:
    counts = (
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
    return (*(row[name] for name in by), *(row[name] for name in counts), moment(row["last_at"]))
