"""`maas sample`: which requests of an alias are kept, how they are masked, and the end of what was kept."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from gateway.cli import arguments
from gateway.cli.client import Control
from gateway.cli.output import Refused, confirm, emit_json, json_option, moment, note, say, table
from gateway.cli.rules import rule, told, written
from gateway.cli.stored import delete_subject, deletions, files
from gateway.cli.targets import percent
from gateway.snapshot.document import MaskAction

Verb = TypeVar("Verb", bound=Callable[..., Any])

_GIVEN = "maas.mask_rules"
_alias = click.argument("name", type=arguments.name, metavar="ALIAS")
_reason = click.option("--reason", help="Why; kept in the audit.")
_yes = click.option("--yes", is_flag=True, help="Do it without asking.")


@click.group()
def sample() -> None:
    """Samples: masked copies of requests and replies, kept to watch for drift."""


def _rate(text: str) -> int:
    rate_bp = arguments.weight_in_basis_points(text)
    if not rate_bp:
        raise click.BadParameter(
            f"{text!r} is no rate; write a percentage (1%, 0.25%) or basis points (100bp)"
        )
    return rate_bp


def _rules(action: MaskAction, help_text: str) -> Callable[[Verb], Verb]:
    """An option that adds rules of one action to those of the others, in the context."""

    def gather(ctx: click.Context, _: click.Parameter, named: tuple[str, ...]) -> None:
        ctx.meta.setdefault(_GIVEN, []).extend(rule(action, text) for text in named)

    return click.option(
        f"--{action}", metavar="WHAT", multiple=True, expose_value=False, callback=gather, help=help_text
    )


@sample.command(
    "set",
    epilog="""\b
WHAT is a tensor (`*`: every one without a rule of its own), a path in the JSON of generate calls and of
parameters, or a detector; after `request:` or `reply:` it means that part alone:
  text                  the tensor of that name; `text?` where some versions do not have it
  '$.parameters.lang'   also $['any name'], $.list[0], $.list[*]
  @email                what is found in kept text: @email @phone @card @iban @ip @national_id

\b
Examples:
  maas sample set digits --rate 1%                       numbers are kept, text is not
  maas sample set reviews --rate 5% --keep text --hash user_id --drop request:session
  maas sample set tiny-lm --rate 1% --keep '$.text_input' --hash @email --drop @card
  maas sample set digits --rate 2%                       its rules stay as they are""",
)
@_alias
@click.option(
    "--rate",
    "rate_bp",
    type=_rate,
    metavar="RATE",
    required=True,
    help="How many requests of the largest arm: 1% or 100bp.",
)
@_rules("keep", "Keep it, after the detectors.")
@_rules("drop", "Leave it out.")
@_rules("hash", "Put a keyed digest in its place: the same for the same value.")
@_rules("redact", "Keep that it was there.")
@click.option(
    "--rules",
    type=click.File(),
    metavar="FILE",
    help="The rules as JSON, as the API takes them, instead of the options.",
)
@click.option("--no-rules", is_flag=True, help="Take all rules away.")
@_reason
@_yes
@json_option
@click.pass_context
def set_sampling(
    ctx: click.Context,
    name: str,
    rate_bp: int,
    rules: Any,
    no_rules: bool,
    reason: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Keep masked samples of an alias's requests, or change how. Rules that are given replace all that stand.

    Other arms than the largest are sampled more often, so that a canary gives as many samples.
    """
    given: list[dict[str, Any]] = ctx.meta[_GIVEN]
    if (rules is not None) + no_rules + bool(given) > 1:
        raise click.UsageError("give the rules as options, as a file, or none; not several of these")
    path = f"/api/v1/aliases/{name}/sampling"
    with Control.from_environment() as control:
        current, etag = control.standing(path)
        wanted = given if given or no_rules else current["rules"] if current else []
        wanted = _rules_of(rules) if rules is not None else wanted
        if current is not None:
            note(f"now   {percent(current['rate_bp'])}; {told(current['rules'])}")
        note(f"then  {percent(rate_bp)}; {told(wanted)}")
        confirm(f"Sample alias {name} like this?", yes)
        body: dict[str, Any] = {"rate_bp": rate_bp, "rules": wanted}
        if reason is not None:
            body["reason"] = reason
        done = control.put(path, body, etag)
    if as_json:
        emit_json(done)
    else:
        say(f"{name}: {percent(done['rate_bp'])}; {told(done['rules'])} (revision {done['revision']})")
        say(f"`maas sample show {name}` tells what workers make of it.")


@sample.command()
@click.argument("name", type=arguments.name, metavar="[ALIAS]", required=False)
@json_option
def show(name: str | None, as_json: bool) -> None:
    """Show how an alias is sampled and what stands in the way of it, or all aliases that are sampled."""
    with Control.from_environment() as control:
        if name:
            found = control.get(f"/api/v1/aliases/{name}/sampling")
        else:
            found = control.get("/api/v1/samplings")["samplings"]
    if as_json:
        emit_json(found)
    elif name:
        _one(found)
    else:
        table(
            ("alias", "team", "rate", "rules", "problems", "updated", "by"),
            [
                (s["alias"], s["team"], percent(s["rate_bp"]), told(s["rules"]), len(s["problems"]),
                 moment(s["updated_at"]), s["updated_by"])
                for s in found
            ],
            empty="No alias that you may see is sampled.",
        )  # fmt: skip


@sample.command()
@_alias
@_reason
@_yes
@json_option
def stop(name: str, reason: str | None, yes: bool, as_json: bool) -> None:
    """Keep no more samples of an alias. What was kept stays until it is too old."""
    path = f"/api/v1/aliases/{name}/sampling"
    with Control.from_environment() as control:
        _, etag = control.get_with_etag(path)
        confirm(f"Keep no more samples of alias {name}?", yes)
        control.delete(path, etag, **({"reason": reason} if reason else {}))
    if as_json:
        emit_json({"stopped": name})
    else:
        say(f"Alias {name} is not sampled any more.")


@sample.command()
@_alias
@click.argument("request_id", metavar="REQUEST-ID")
@json_option
def chosen(name: str, request_id: str, as_json: bool) -> None:
    """Say whether a request would be chosen as a sample, by its id; for each arm, since their rates differ.

    Status 1 when it would not be by any. Whether it was kept depends on its time too: rates and rules change.
    """
    from gateway.sampling.choice import place_of

    with Control.from_environment() as control:
        found = control.get(f"/api/v1/aliases/{name}/sampling")
    place = place_of(bytes.fromhex(found["salt"]), request_id) / 2**64
    arms = [{**arm, "chosen": place < arm["inclusion"]} for arm in found["arms"]]
    if as_json:
        emit_json({"alias": name, "request_id": request_id, "place": place, "arms": arms})
    else:
        table(
            ("target", "arm", "sampled at", "chosen"),
            [
                (
                    f"{a['model']}@{a['version']}",
                    a["arm"],
                    f"{a['inclusion']:.2%}",
                    "yes" if a["chosen"] else "no",
                )
                for a in arms
            ],
        )
    if not any(arm["chosen"] for arm in arms):
        raise Refused(f"request {request_id} is chosen on no arm of {name}")


def _rules_of(file: Any) -> list[dict[str, Any]]:
    try:
        found = json.load(file)
    except ValueError as error:
        raise Refused(f"{file.name} is no JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Refused(f"{file.name} is no list of rules")
    return found


def _one(found: dict[str, Any]) -> None:
    say(
        f"{found['alias']} of team {found['team']}, revision {found['revision']}; {percent(found['rate_bp'])} of its largest arm"
    )
    say(
        f"set {moment(found['updated_at'])} by {found['updated_by']}: {found.get('reason') or 'no reason given'}"
    )
    table(
        ("target", "arm", "sampled at"),
        [(f"{a['model']}@{a['version']}", a["arm"], f"{a['inclusion']:.2%}") for a in found["arms"]],
    )
    say()
    table(
        ("what", "is"),
        [(written(each), _DONE[each["action"]]) for each in found["rules"]],
        empty="No rules: numbers are kept, text is not.",
    )
    for each in found["problems"]:
        say(f"{each['worker']}: {each['problem']}")


_DONE = {"keep": "kept", "drop": "dropped", "hash": "hashed", "redact": "redacted"}


for _verb in (files, delete_subject, deletions):
    sample.add_command(_verb)
