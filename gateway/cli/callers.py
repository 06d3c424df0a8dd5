"""`maas callers`: who still calls what retires, and whom to ask about them."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from gateway.cli import arguments
from gateway.cli.arguments import Subject
from gateway.cli.client import Control
from gateway.cli.output import emit_json, json_option, moment, say, table

_BLOCKS = "▁▂▃▄▅▆▇█"
_LETTERS = "_.-=+*#@"


@click.command(
    epilog="""\b
Examples:
  maas callers                                   everything that retires, and how many still call it
  maas callers digits-legacy
  maas callers digits@1 --days 30                a version: through every alias, and pinned
  maas callers digits-legacy --note app:storefront "ask Ana; moves in March" """,
)
@click.argument("subject", type=arguments.subject, metavar="[ALIAS|MODEL@VERSION]", required=False)
@click.option(
    "--days",
    type=click.IntRange(1, 90),
    default=14,
    show_default=True,
    help="Whole days before today; a trend takes 14.",
)
@click.option(
    "--note",
    "noted",
    type=(arguments.principal, str),
    metavar="app:NAME TEXT",
    help="Note on a consumer whom to ask, what was agreed; it need not have called yet.",
)
@click.option("--forget", type=arguments.principal, metavar="app:NAME", help="Take a consumer's note away.")
@json_option
def callers(
    subject: Subject | None,
    days: int,
    noted: tuple[str, str] | None,
    forget: str | None,
    as_json: bool,
) -> None:
    """List who still calls: last call, calls a day, falling or not, refused or not, and what is noted of them.

    `falling` and `rising` are told by the Mann-Kendall test over whole days and by a change of the last week of at least a fifth;
    `stopped`: no call for eight days; `new`: not two weeks to judge by. Without an argument: everything that retires.
    """
    if subject is None:
        if noted or forget:
            raise click.UsageError("a note is on a consumer of something; name the alias or the version")
        _retiring(as_json)
        return
    path = f"{subject.path}/deprecation/callers"
    with Control.from_environment() as control:
        found = control.get(path, days=days)
        if noted is not None:
            principal, text = noted
            control.put(f"{path}/{principal}/note", {"text": text}, _etag_of_note(found, principal))
        if forget is not None:
            control.delete(f"{path}/{forget}/note")
        if noted or forget:
            found = control.get(path, days=days)
    if as_json:
        emit_json(found)
    else:
        _show(found, subject)


def sparkline(counts: Sequence[int], letters: str) -> str:
    """One letter a day, scaled to the busiest one; the lowest letter is a day without calls, and no other."""
    most = max(counts, default=0)
    steps = len(letters) - 1
    return "".join(letters[-(-count * steps // most)] if most else letters[0] for count in counts)


def _retiring(as_json: bool) -> None:
    with Control.from_environment() as control:
        found = control.get("/api/v1/deprecations")["deprecations"]
    if as_json:
        emit_json(found)
        return
    table(
        ("retires", "team", "status", "sunset", "days left", "then", "still called by", "successor"),
        [
            (
                d["alias"] or f"{d['model']}@{d['version']}",
                d["team"],
                d["status"],
                moment(d["sunset_at"], otherwise="no date"),
                d["days_left"],
                ("410" if d["after_sunset"] == "gone" else "served") if d["sunset_at"] else None,
                d["callers"],
                d["successor"],
            )
            for d in found
        ],
        empty="Nothing that you may see retires.",
    )


def _show(found: dict[str, Any], subject: Subject) -> None:
    of_version = found["version"] is not None
    successor = any(c["may_call_successor"] is not None for c in found["callers"])
    letters = _BLOCKS if (sys.stdout.encoding or "").lower().startswith("utf") else _LETTERS
    columns = [
        "caller",
        "last call",
        "calls/day",
        "trend",
        f"{len(found['days'])} days",
        "failed",
        "429",
        "410",
    ]
    columns += ["pinned", *(["through"] if of_version else [])]
    columns += [*(["may call successor"] if successor else []), "note"]
    table(
        columns,
        [_row(c, of_version, successor, letters) for c in found["callers"]],
        empty=f"Nobody called {subject.words} within {len(found['days'])} days.",
    )
    remaining = sum(c["remains"] for c in found["callers"])
    if found["callers"]:
        say(f"{remaining} called within the last eight days.")
    if found["left_out"]:
        say(f"{found['left_out']} more are left out.")


def _row(c: dict[str, Any], of_version: bool, successor: bool, letters: str) -> list[object]:
    row: list[object] = [
        c["principal"],
        moment(c["last_at"]),
        f"{c['calls_per_day']:g}",
        c["trend"],
        sparkline(c["calls_by_day"], letters),
        c["failed"],
        c["limited"],
        c["gone"],
        c["pinned"],
    ]
    if of_version:
        row.append(" ".join(each["alias"] for each in c["through"]))
    if successor:
        row.append({True: "yes", False: "NO", None: None}[c["may_call_successor"]])
    return [*row, c["note"]["text"] if c["note"] else None]


def _etag_of_note(found: dict[str, Any], principal: str) -> str | None:
    note = next((c["note"] for c in found["callers"] if c["principal"] == principal), None)
    return None if note is None else f'"{note["revision"]}"'
