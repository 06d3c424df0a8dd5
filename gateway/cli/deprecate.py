"""`maas deprecate`: announces the end of an alias or of a version."""

from datetime import UTC, datetime
from typing import Any

import click

from gateway.cli import arguments, dates
from gateway.cli.arguments import Subject
from gateway.cli.client import Control
from gateway.cli.output import Refused, confirm, emit_json, json_option, moment, note, say
from gateway.cli.targets import percent
from gateway.snapshot.deprecation import announcement_problems, compile_deprecation
from gateway.snapshot.document import DeprecationEntry
from gateway.types import WHOLE_BP


@click.command(
    epilog="""\b
Examples:
  maas deprecate digits-legacy --sunset 2027-03-31 --successor digits
  maas deprecate digits-legacy --after-sunset gone --brownout 2027-03-10T09:00Z/15m --reason "nobody should be surprised"
  maas deprecate digits@1 --sunset 90d --successor digits    a version, for those who pin it
  maas deprecate digits-legacy                               what is announced now
  maas deprecate digits-legacy --undo""",
)
@click.argument("subject", type=arguments.subject, metavar="ALIAS|MODEL@VERSION")
@click.option(
    "--sunset",
    type=dates.end_of_day,
    metavar="DATE",
    help="When it retires: a day (its end, UTC), a moment (2027-03-31T12:00:00Z) or a spell from now (90d).",
)
@click.option("--successor", type=arguments.name, metavar="ALIAS", help="What to call instead.")
@click.option("--info", metavar="URL", help="Where people read more.")
@click.option(
    "--after-sunset", type=click.Choice(["serve", "gone"]), help="Go on serving (the default), or answer 410."
)
@click.option(
    "--brownout",
    "brownouts",
    type=dates.brownout,
    metavar="START/END",
    multiple=True,
    help="Answer 410 for a short while, as in 2027-03-10T09:00Z/15m; several replace those announced before.",
)
@click.option("--no-brownouts", is_flag=True, help="Take back the brownouts announced before.")
@click.option(
    "--from",
    "begins",
    type=dates.start_of_day,
    metavar="DATE",
    help="When it is deprecated (default: now, or what was announced); may lie ahead.",
)
@click.option("--undo", is_flag=True, help="Take the announcement back.")
@click.option("--reason", help="Why; kept in the audit.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@json_option
def deprecate(
    subject: Subject, undo: bool, reason: str | None, yes: bool, as_json: bool, **wishes: Any
) -> None:
    """Announce the end of an alias, or of a version to those who pin it: with every reply, from a second on.

    Shown first: what callers will be told, and how many still call. Options that are left out keep what was announced
    before; without any, the announcement is shown.
    """
    given = _given(**wishes)
    if undo and given:
        raise click.UsageError("--undo takes the whole announcement back; give it without the other options")
    path = f"{subject.path}/deprecation"
    with Control.from_environment() as control:
        if undo:
            _undo(control, subject, path, reason, yes)
            told: Any = {"withdrawn": subject.words}
        elif given:
            told = _announce(control, subject, path, given, reason, yes)
        else:
            told = control.get(path)
    if as_json:
        emit_json(told)
    elif not undo:
        show(told)


def show(found: dict[str, Any]) -> None:
    """Print an announcement for people."""
    what = found["alias"] or f"{found['model']}@{found['version']}"
    say(f"{what} of team {found['team']}: {found['status']}, called by {found['callers']} within eight days")
    for line in (*_fields(found["fields"]), *_dates(found)):
        say(line)
    say(
        f"announced {moment(found['updated_at'])} by {found['updated_by']}: {found.get('reason') or 'no reason given'}"
    )


def _given(
    sunset: datetime | None,
    successor: str | None,
    info: str | None,
    after_sunset: str | None,
    brownouts: tuple[tuple[datetime, datetime], ...],
    no_brownouts: bool,
    begins: datetime | None,
) -> dict[str, Any]:
    """The fields of the announcement that the command line names."""
    if brownouts and no_brownouts:
        raise click.UsageError("--brownout and --no-brownouts contradict each other")
    spells = [{"start": start.isoformat(), "end": end.isoformat()} for start, end in brownouts]
    wishes = {
        "deprecated_at": begins.isoformat() if begins else None,
        "sunset_at": sunset.isoformat() if sunset else None,
        "successor": successor,
        "info_url": info,
        "after_sunset": after_sunset,
        "brownouts": spells or ([] if no_brownouts else None),
    }
    return {field: wish for field, wish in wishes.items() if wish is not None}


def _announce(
    control: Control, subject: Subject, path: str, given: dict[str, Any], reason: str | None, yes: bool
) -> Any:
    standing, etag = control.standing(path)
    body = {
        field: standing[field]
        for field in ("deprecated_at", "sunset_at", "successor", "info_url", "after_sunset", "brownouts")
        if standing is not None
    } | given
    remaining = _remaining(control, path)
    _check(control, subject, standing, body)
    note(f"Callers of {subject.words} will be told with every reply:")
    for line in (*_fields(_told(body)), *_dates(body)):
        note(line)
    note(f"  Called within eight days by {len(remaining)}: {_names(remaining) or 'nobody'}")
    confirm("Announce this?", yes)
    if reason is not None:
        body["reason"] = reason
    told = control.put(path, body, etag)
    locked_out = [each for each in _remaining(control, path) if each["may_call_successor"] is False]
    if locked_out:
        note(f"Not allowed to call {told['successor']} yet: {_names(locked_out)}")
    return told


def _undo(control: Control, subject: Subject, path: str, reason: str | None, yes: bool) -> None:
    _, etag = control.get_with_etag(path)
    confirm(f"Take back the announced end of {subject.words}?", yes)
    control.delete(path, etag, **({"reason": reason} if reason else {}))
    note(f"{subject.words} does not retire any more.")


def _check(control: Control, subject: Subject, standing: dict[str, Any] | None, body: dict[str, Any]) -> None:
    """Refuse what the gateway would refuse, before anybody is shown what it would do. Raises `Refused`."""
    now = datetime.now(UTC).timestamp()
    before = None if standing is None else _entry(standing)
    if problems := announcement_problems(subject.words, _entry(body), before, now):
        raise Refused(f"The announcement cannot be made: {'; '.join(problems)}")
    if (successor := body.get("successor")) is not None:
        _check_successor(control, subject, successor)


def _check_successor(control: Control, subject: Subject, successor: str) -> None:
    """Warn of one that leads back in part. Raises `Refused` for one that leads nowhere else."""
    if subject.words == f"alias {successor}":
        raise Refused(f"{subject.words} cannot be its own successor")
    alias, _ = control.standing(f"/api/v1/aliases/{successor}")
    if alias is None:
        raise Refused(f"there is no alias {successor} to be the successor, or you may not see it")
    back_bp = sum(
        target["weight"]
        for target in alias["targets"]
        if subject.words == f"version {target['model']}@{target['version']}"
    )
    if back_bp == WHOLE_BP:
        raise Refused(
            f"alias {successor} leads back to {subject.words} with all its traffic; set its targets first"
        )
    if back_bp:
        note(f"warning: {percent(back_bp)} of alias {successor} is still answered by {subject.words}")


def _told(body: dict[str, Any]) -> dict[str, str]:
    """The header fields of an announcement that is not made yet."""
    return {name.decode(): value.decode() for name, value in compile_deprecation(_entry(body)).fields}


def _entry(body: dict[str, Any]) -> DeprecationEntry:
    """An announcement of the API as a snapshot carries it."""
    sunset = body.get("sunset_at")
    begins = body.get("deprecated_at")
    return DeprecationEntry(
        deprecated_at=_seconds(begins) if begins else float(int(datetime.now(UTC).timestamp())),
        sunset_at=_seconds(sunset) if sunset else None,
        successor=body.get("successor"),
        info_url=body.get("info_url"),
        after_sunset=body.get("after_sunset") or "serve",
        brownouts=tuple(
            sorted(
                (
                    datetime.fromisoformat(each["start"]).timestamp(),
                    datetime.fromisoformat(each["end"]).timestamp(),
                )
                for each in body.get("brownouts") or ()
            )
        ),
    )


def _fields(fields: dict[str, str]) -> list[str]:
    return [f"  {name}: {value}" for name, value in fields.items()]


def _dates(body: dict[str, Any]) -> list[str]:
    """What happens when, in words."""
    lines = [
        f"  Switched off (410) from {moment(each['start'])} to {moment(each['end'])}"
        for each in body.get("brownouts") or ()
    ]
    if body.get("sunset_at"):
        gone = body.get("after_sunset") == "gone"
        lines.append(
            f"  After {moment(body['sunset_at'])}: {'410, for good' if gone else 'served as before'}"
        )
    return lines


def _remaining(control: Control, path: str) -> list[dict[str, Any]]:
    return [each for each in control.get(f"{path}/callers")["callers"] if each["remains"]]


def _names(found: list[dict[str, Any]]) -> str:
    return ", ".join(each["principal"] for each in found[:5]) + (", …" if len(found) > 5 else "")


def _seconds(text: str) -> float:
    return float(int(datetime.fromisoformat(text).timestamp()))
