"""`maas quota`: how much callers may have."""

from typing import Any

import click

from gateway.cli import arguments, limits
from gateway.cli.client import Control
from gateway.cli.output import confirm, emit_json, json_option, moment, note, say, table

_DIMENSIONS = ("team", "application", "alias", "model")


@click.group()
def quota() -> None:
    """Quotas: how much callers may have, and of what."""


@quota.command(
    "set",
    cls=limits.WithLimits,
    epilog="""\b
A LIMIT is [NAME:][UNIT=]QUOTA/WINDOW[,burst=N][,estimate=N]:
  100/minute            requests, spread over the minute, up to 100 at once
  100/minute,burst=10   the same, but no more than 10 at once
  bytes=10M/hour        bytes of request bodies
  inferences=500/60s    rows of the batches
  tokens=1M/day,estimate=500   500 are reserved for each request, then put right
  concurrent=8          requests at a time

\b
A selector that is left out counts everybody together; '*' counts each one on its own:
  maas quota set digits-limited --alias digits-limited --application '*' 5/minute
  maas quota set storefront --application app:storefront 1000/minute 100k/day
  maas quota set gpu-budget --model llm --application '*' tokens=1M/day --hard
  maas quota set trial --alias digits 50/minute --shadow        counts, refuses nothing""",
)
@click.argument("name", type=arguments.name, metavar="QUOTA")
@click.argument("wanted", callback=limits.all_limits, metavar="LIMIT...", nargs=-1, required=True)
@click.option("--application", metavar="app:NAME|*", help="Who calls.")
@click.option("--alias", metavar="ALIAS|*", help="What is called.")
@click.option("--model", metavar="MODEL|*", help="The model that answers.")
@click.option("--team", metavar="TEAM|*", help="The team that owns the alias.")
@click.option("--shadow", is_flag=True, help="Count, and refuse nothing.")
@click.option("--hard", is_flag=True, help="Refuse while the count cannot be kept across workers.")
@click.option("--reason", help="Why; kept in the audit.")
@click.option("--yes", is_flag=True, help="Replace another one, or bind everybody, without asking.")
@json_option
def set_quota(
    name: str,
    wanted: list[dict[str, Any]],
    shadow: bool,
    hard: bool,
    reason: str | None,
    yes: bool,
    as_json: bool,
    **scope: str | None,
) -> None:
    """Make a quota, or replace it whole, which is shown first. A request needs all limits of all quotas that apply to it."""
    body = scope | {"limits": wanted, "shadow": shadow, "hard": hard, "reason": reason}
    path = f"/api/v1/quotas/{name}"
    with Control.from_environment() as control:
        standing, etag = control.standing(path)
        before = None if standing is None else _words(standing)
        after = _words(body | {"limits": [limits.whole(each) for each in wanted]})
        if before is not None and before != after:
            note(f"{name} is now   {before}")
            note(f"{'':<{len(name)}} will be  {after}")
            confirm("Replace this quota?", yes)
        elif before is None and not any(scope.values()) and not shadow:
            note(f"{name} binds every request of every caller, all counted together")
            confirm("Set it all the same?", yes)
        done = control.put(path, body, etag)
    if as_json:
        emit_json(done)
    else:
        say(f"{done['name']}: {_limits(done)} for {_scope(done)} (revision {done['revision']})")
    _warn(done)


@quota.command()
@click.argument("name", type=arguments.name, metavar="[QUOTA]", required=False)
@json_option
def show(name: str | None, as_json: bool) -> None:
    """Show one quota, or all that you may see."""
    with Control.from_environment() as control:
        found = control.get(f"/api/v1/quotas/{name}") if name else control.get("/api/v1/quotas")["quotas"]
    if as_json:
        emit_json(found)
    elif name:
        _one(found)
    else:
        table(
            ("quota", "for", "limits", "kind", "updated", "by"),
            [
                (q["name"], _scope(q), _limits(q), _kind(q), moment(q["updated_at"]), q["updated_by"])
                for q in found
            ],
            empty="There is no quota that you may see.",
        )


@quota.command()
@click.argument("name", type=arguments.name, metavar="QUOTA")
@click.option("--reason", help="Why; kept in the audit.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@json_option
def delete(name: str, reason: str | None, yes: bool, as_json: bool) -> None:
    """Take a quota away. What it limited is limited by it no more, within a second."""
    path = f"/api/v1/quotas/{name}"
    with Control.from_environment() as control:
        found, etag = control.get_with_etag(path)
        note(f"{name}: {_limits(found)} for {_scope(found)}")
        confirm("Delete this quota?", yes)
        control.delete(path, etag, **({"reason": reason} if reason else {}))
    if as_json:
        emit_json({"deleted": name})
    else:
        say(f"Quota {name} is gone.")


def _one(found: dict[str, Any]) -> None:
    say(f"{found['name']}: {_kind(found)}, for {_scope(found)}; revision {found['revision']}")
    _warn(found)
    say(
        f"set {moment(found['updated_at'])} by {found['updated_by']}: {found.get('reason') or 'no reason given'}"
    )
    table(
        ("limit", "unit", "quota", "window", "at once", "estimate"),
        [
            (
                each["name"],
                each["unit"],
                each["quota"],
                f"{each['window_s']} s" if each["window_s"] else "at a time",
                each["burst"],
                each["estimate"],
            )
            for each in found["limits"]
        ],
    )


def _warn(found: dict[str, Any]) -> None:
    for selector in found["unknown"]:
        note(f"warning: there is no {selector} now; until there is, quota {found['name']} limits nobody")
    for problem in found["problems"]:
        note(f"warning: quota {found['name']} is not kept as it is written: {problem}")


def _scope(found: dict[str, Any]) -> str:
    """Which calls it counts: `each application, alias digits`."""
    parts = []
    for dimension in _DIMENSIONS:
        value = found[dimension]
        if value is not None:
            parts.append(f"each {dimension}" if value == "*" else f"{dimension} {value}")
    return ", ".join(parts) or "everybody together"


def _limits(found: dict[str, Any]) -> str:
    return " ".join(limits.written(each) for each in found["limits"])


def _words(found: dict[str, Any]) -> str:
    """All of a quota but its name: what it allows, to whom, how strictly."""
    return f"{_limits(found)} for {_scope(found)}, {_kind(found)}"


def _kind(found: dict[str, Any]) -> str:
    return "shadow" if found["shadow"] else "hard" if found["hard"] else "enforced"
