"""`maas alias`: what answers to each alias, and the change of it."""

from typing import Any

import click

from gateway.cli import arguments
from gateway.cli.adapter import adapter
from gateway.cli.arguments import TargetSpec
from gateway.cli.client import Control
from gateway.cli.output import (
    Refused,
    confirm,
    emit_json,
    force_option,
    forced,
    json_option,
    moment,
    note,
    say,
    table,
)
from gateway.cli.targets import body, effect, entries, moved, percent, weighted, written

_yes = click.option("--yes", is_flag=True, help="Do it without asking.")
_reason = click.option("--reason", help="Why; kept in the history and the audit.")


@click.group()
def alias() -> None:
    """Aliases: the stable names that applications call, and the model versions behind them."""


@alias.command("list")
@json_option
def list_aliases(as_json: bool) -> None:
    """List the aliases that you may see."""
    with Control.from_environment() as control:
        found = control.get("/api/v1/aliases")["aliases"]
    if as_json:
        emit_json(found)
    else:
        table(
            ("alias", "team", "targets", "revision", "updated", "by", "retires"),
            [
                (
                    a["name"],
                    a["team"],
                    written(a["targets"]),
                    a["revision"],
                    moment(a["updated_at"]),
                    a["updated_by"],
                    _retires(a),
                )
                for a in found
            ],
            empty="There is no alias that you may see.",
        )


@alias.command()
@click.argument("name", type=arguments.name, metavar="ALIAS")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one alias: its targets, their arms and weights, and who set them why."""
    with Control.from_environment() as control:
        found = control.get(f"/api/v1/aliases/{name}")
    if as_json:
        emit_json(found)
        return
    sticky = "a caller stays on its arm" if found["sticky"] else "every request is dealt out anew"
    say(f"{found['name']} of team {found['team']}, revision {found['revision']}; {sticky}")
    say(
        f"set {moment(found['updated_at'])} by {found['updated_by']}: {found.get('reason') or 'no reason given'}"
    )
    if found["deprecation"]:
        say(f"deprecated since {moment(found['deprecation']['deprecated_at'])}, retires: {_retires(found)}")
    table(
        ("target", "arm", "weight"),
        [(f"{t['model']}@{t['version']}", t["arm"], percent(t["weight"])) for t in found["targets"]],
    )


@alias.command(
    "set",
    epilog="""\b
Examples:
  maas alias set digits digits@1=90% digits@2=10% --reason "first canary"
  maas alias set digits digits@1 digits@2=0.25% --yes      digits@1 gets the rest
  maas alias set cards cards@7 --team fraud                a new alias""",
)
@click.argument("name", type=arguments.name, metavar="ALIAS")
@click.argument("targets", type=arguments.target, metavar="MODEL@VERSION=WEIGHT...", nargs=-1, required=True)
@click.option("--team", type=arguments.name, help="The team that owns the alias; needed to make a new one.")
@click.option(
    "--sticky/--no-sticky", default=None, help="Whether a caller stays on its arm (a new alias: yes)."
)
@_reason
@_yes
@json_option
def set_alias(
    name: str,
    targets: tuple[TargetSpec, ...],
    team: str | None,
    sticky: bool | None,
    reason: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Send an alias's traffic to these targets. The first is the stable one, the others are candidates.

    A weight is a percentage with up to two decimals (90%, 0.25%) or basis points (1000bp). They sum to the whole;
    one target may be written without a weight and gets the rest. What will change is shown first.
    """
    wanted = weighted(targets)
    with Control.from_environment() as control:
        current, etag = control.standing(f"/api/v1/aliases/{name}")
        if current is None and team is None:
            raise Refused(f"there is no alias {name} that you may see; to make it, name its team with --team")
        if current is not None and team not in (None, current["team"]):
            raise Refused(f"alias {name} belongs to team {current['team']}, which does not change")
        old = entries(current["targets"]) if current else []
        for line in (*effect(name, old, wanted), f"  {moved(old, wanted)}"):
            note(line)
        confirm("Make this change?", yes)
        change: dict[str, Any] = {"targets": body(wanted)}
        if current is None:
            change["team"] = team
        if sticky is not None:
            change["sticky"] = sticky
        if reason is not None:
            change["reason"] = reason
        done = control.put(f"/api/v1/aliases/{name}", change, etag)
    _told(done, as_json)


@alias.command()
@click.argument("name", type=arguments.name, metavar="ALIAS")
@json_option
def history(name: str, as_json: bool) -> None:
    """Show every change of an alias, newest first: when, who, from what, to what, why."""
    with Control.from_environment() as control:
        revisions = control.get(f"/api/v1/aliases/{name}/history")["revisions"]
    if as_json:
        emit_json(revisions)
    else:
        table(
            ("revision", "at", "by", "what", "from", "to", "reason"),
            [
                (
                    r["revision"],
                    moment(r["at"]),
                    r["by"],
                    r["kind"],
                    _state(r["from"]),
                    _state(r["to"]),
                    r["reason"],
                )
                for r in revisions
            ],
        )


@alias.command()
@click.argument("name", type=arguments.name, metavar="ALIAS")
@click.option(
    "--to",
    "revision",
    type=click.IntRange(min=1),
    help="The revision to go back to (default: the one before).",
)
@_reason
@_yes
@json_option
def rollback(name: str, revision: int | None, reason: str | None, yes: bool, as_json: bool) -> None:
    """Go back to the targets that an alias had before, and every caller to its arm then. Brings a deleted one back too."""
    with Control.from_environment() as control:
        current, etag = control.standing(f"/api/v1/aliases/{name}")
        goal = _goal(control, name, revision)
        for line in effect(name, entries(current["targets"]) if current else [], entries(goal)):
            note(line)
        note("  Every caller gets back the version that it had then.")
        confirm("Go back?", yes)
        wish = {"to_revision": revision, "reason": reason}
        given = {field: value for field, value in wish.items() if value is not None}
        done = control.post(f"/api/v1/aliases/{name}/rollback", given, etag)
    _told(done, as_json)


@alias.command()
@click.argument("name", type=arguments.name, metavar="ALIAS")
@force_option
@_reason
@_yes
@json_option
def delete(name: str, force: bool, reason: str | None, yes: bool, as_json: bool) -> None:
    """Take an alias away. Whoever calls it gets 404 from then on.

    Refused while somebody else called it within eight days, or is sent to it as a successor: announce its end first
    (`maas deprecate`), or --force it.
    """
    with Control.from_environment() as control:
        _, etag = control.get_with_etag(f"/api/v1/aliases/{name}")
        confirm(f"Delete alias {name}? Its callers will get 404.", yes)
        control.delete(f"/api/v1/aliases/{name}", etag, **forced(force, reason))
    if as_json:
        emit_json({"deleted": name})
    else:
        say(f"Alias {name} is gone.")


alias.add_command(adapter)


def _told(done: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(done)
    else:
        say(f"{done['name']}: {written(done['targets'])} (revision {done['revision']})")


def _retires(found: dict[str, Any]) -> str | None:
    """When, and what comes after it; None for an alias that stays."""
    announced = found["deprecation"]
    if announced is None:
        return None
    successor = f", then {announced['successor']}" if announced["successor"] else ""
    return f"{moment(announced['sunset_at'], otherwise='no date')}{successor}"


def _state(targets: list[dict[str, Any]] | None) -> str:
    return written(targets) if targets else "no alias"


def _goal(control: Control, name: str, revision: int | None) -> list[dict[str, Any]]:
    """The targets of the revision to go back to, or those before the newest change."""
    revisions = control.get(f"/api/v1/aliases/{name}/history")["revisions"]
    by_number = {r["revision"]: r for r in revisions}
    if revision is not None and revision not in by_number:
        raise Refused(f"alias {name} has no revision {revision}; see `maas alias history {name}`")
    wanted = revisions[0]["from"] if revision is None else by_number[revision]["to"]
    if not wanted:
        raise Refused(f"there was no alias {name} at that point; nothing to go back to")
    return list(wanted)
