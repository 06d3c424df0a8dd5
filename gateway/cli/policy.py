"""`maas policy`: who may do what, why, and the change of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from gateway.cli import arguments
from gateway.cli.client import Control
from gateway.cli.output import Refused, confirm, emit_json, json_option, note, say
from gateway.policy.rules import PLATFORM, RESOURCES
from gateway.types import Action

_yes = click.option("--yes", is_flag=True, help="Do it without asking.")
_reason = click.option("--reason", help="Why; kept in the audit.")
_rows = click.argument("rows", nargs=-1, required=True, metavar="'ROW'...")
_ROW_HELP = """\b
Examples:
  maas policy {verb} 'g, app:web-shop, role:consumer, vision'
  maas policy {verb} 'p, app:web-shop, vision, digits, infer, deny' --reason "on hold"
"""


@click.group()
def policy() -> None:
    """Policy: rows in Casbin's terms that say which subject may do what to which alias of which team."""


def _question(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments of a question about a right."""
    for decorate in (
        json_option,
        click.option("--team", type=arguments.name, help="The owner team, for an alias that is yet to come."),
        click.argument("alias", metavar="ALIAS"),
        click.argument("action", type=click.Choice(get_args(Action)), metavar="ACTION"),
        click.argument("subject", type=arguments.principal, metavar="SUBJECT"),
    ):
        command = decorate(command)
    return command


@policy.command()
@_question
def check(subject: str, action: str, alias: str, team: str | None, as_json: bool) -> None:
    """Say whether SUBJECT (app:NAME or user:NAME) may do ACTION (infer, pin, read, flip, approve, admin, critical-plus) to ALIAS.

    Status 0 when it may, 1 when it may not. ALIAS may be @keys, @policy, @pools, @models, @quotas, @samples, @audit or @workers.
    """
    answer = _ask("check", subject, action, alias, team)
    if as_json:
        emit_json(answer)
    elif answer["allowed"]:
        say(f"{subject} may {action} {alias}.")
    if not answer["allowed"]:
        raise Refused(f"{subject} may not {action} {alias}; `maas policy explain` says why")


@policy.command()
@_question
def explain(subject: str, action: str, alias: str, team: str | None, as_json: bool) -> None:
    """Say which rows decide whether SUBJECT may do ACTION to ALIAS, and through which roles.

    Status 0 whatever the decision is; `maas policy check` is the one for scripts.
    """
    answer = _ask("explain", subject, action, alias, team)
    if as_json:
        emit_json(answer)
    else:
        say(answer["text"])


@policy.command()
@click.argument(
    "cases",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("policies/cases.csv"),
    metavar="[cases.csv]",
)
@json_option
def test(cases: Path, as_json: bool) -> None:
    """Hold the policy in force against the decisions of a file (default: policies/cases.csv). Status 1 when one fails."""
    from gateway.policy.cases import read_cases
    from gateway.policy.source import PolicyError

    try:
        wanted = read_cases(cases)
    except PolicyError as error:
        raise Refused(f"{cases}: {'; '.join(error.problems)}") from error
    rows = [[case.subject, case.domain, case.object, case.action, case.expected] for case in wanted]
    with Control.from_environment() as control:
        answer = control.post("/api/v1/policy/test", {"cases": rows})
    failures = answer["failures"]
    if as_json:
        emit_json(answer)
    for failure in failures:
        case = wanted[failure["row"] - 1]
        note(f"{cases}:{case.line}: expected {case.expected} ({case.why}); {failure['explanation']}")
    if failures:
        raise Refused(f"{len(failures)} of {answer['cases']} decisions do not hold")
    if not as_json:
        say(f"All {answer['cases']} decisions hold.")


@policy.command()
@json_option
def show(as_json: bool) -> None:
    """Show every row, as rules.csv has them."""
    with Control.from_environment() as control:
        found = control.get("/api/v1/policy")
    if as_json:
        emit_json(found)
    else:
        for row in lines(found):
            say(row)


@policy.command(epilog=_ROW_HELP.format(verb="add"))
@_rows
@_reason
@_yes
@json_option
def add(rows: tuple[str, ...], reason: str | None, yes: bool, as_json: bool) -> None:
    """Add rows, written as in rules.csv."""
    _change({"add": _parsed(rows)}, reason, yes, as_json)


@policy.command(epilog=_ROW_HELP.format(verb="remove"))
@_rows
@_reason
@_yes
@json_option
def remove(rows: tuple[str, ...], reason: str | None, yes: bool, as_json: bool) -> None:
    """Take rows away, written as in rules.csv."""
    _change({"remove": _parsed(rows)}, reason, yes, as_json)


@policy.command(
    epilog="""\b
Example:
  maas policy show > rules.csv; edit rules.csv; maas policy apply rules.csv --reason "quarterly review" """
)
@click.argument("rules", type=click.Path(path_type=Path, dir_okay=False), metavar="rules.csv")
@_reason
@_yes
@json_option
def apply(rules: Path, reason: str | None, yes: bool, as_json: bool) -> None:
    """Put the rows of a file in the place of all rows. What will change is shown first."""
    from gateway.policy.rules import read_rules
    from gateway.policy.source import PolicyError

    try:
        wanted = read_rules(rules)
    except PolicyError as error:
        for problem in error.problems:
            note(f"  {problem}")
        raise Refused(f"{rules} is refused; nothing was changed") from error
    body: dict[str, Any] = {
        "grants": [[g.subject, g.domain, g.object, g.action, g.effect] for g in wanted.grants],
        "roles": [[r.subject, r.role, r.domain] for r in wanted.roles],
    }
    with Control.from_environment() as control:
        current, etag = control.get_with_etag("/api/v1/policy")
        before, after = lines(current), lines(body)
        gone, new = (
            [row for row in before if row not in set(after)],
            [row for row in after if row not in set(before)],
        )
        for row in gone:
            note(f"- {row}")
        for row in new:
            note(f"+ {row}")
        if not gone and not new:
            note("The rows are the same.")
        confirm("Make this change?", yes)
        done = control.put("/api/v1/policy", body | ({"reason": reason} if reason else {}), etag)
    _told(done, as_json)


def lines(rows: dict[str, Any]) -> list[str]:
    """Rows of the API as lines of rules.csv."""
    return [", ".join(["p", *row]) for row in rows["grants"]] + [
        ", ".join(["g", *row]) for row in rows["roles"]
    ]


def _ask(question: str, subject: str, action: str, alias: str, team: str | None) -> Any:
    if alias in RESOURCES:
        about = {"domain": PLATFORM, "object": alias}
    elif team is not None:
        about = {"domain": team, "object": arguments.name(alias)}
    else:
        about = {"alias": arguments.name(alias)}
    with Control.from_environment() as control:
        return control.post(f"/api/v1/policy/{question}", {"subject": subject, "action": action} | about)


def _parsed(rows: tuple[str, ...]) -> dict[str, list[list[str]]]:
    """Rows as the API takes them. Only their form is checked here: the gateway judges what they say."""
    found: dict[str, list[list[str]]] = {"grants": [], "roles": []}
    for text in rows:
        kind, *fields = (field.strip() for field in text.split(","))
        match kind, len(fields):
            case "p", 5:
                found["grants"].append(fields)
            case "g", 3:
                found["roles"].append(fields)
            case _:
                raise click.UsageError(
                    f"{text!r} is no row; write 'p, SUBJECT, DOMAIN, OBJECT, ACTION, EFFECT' or 'g, SUBJECT, ROLE, DOMAIN'"
                )
    return found


def _change(change: dict[str, Any], reason: str | None, yes: bool, as_json: bool) -> None:
    for verb, sign in (("remove", "-"), ("add", "+")):
        for row in lines(change.get(verb, {"grants": [], "roles": []})):
            note(f"{sign} {row}")
    confirm("Make this change?", yes)
    with Control.from_environment() as control:
        done = control.post("/api/v1/policy/rows", change | ({"reason": reason} if reason else {}))
    _told(done, as_json)


def _told(done: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(done)
    else:
        say(f"The policy has {len(done['grants'])} p rows and {len(done['roles'])} g rows.")
