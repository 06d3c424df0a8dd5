"""`maas alias adapter`: how an alias is called by way of the OpenAI API."""

import json
from collections.abc import Mapping
from typing import Any

import click

from gateway.cli import arguments
from gateway.cli.client import Control
from gateway.cli.output import confirm, emit_json, json_option, moment, note, say, table

_alias = click.argument("name", type=arguments.name, metavar="ALIAS")
_reason = click.option("--reason", help="Why; kept in the audit.")
_yes = click.option("--yes", is_flag=True, help="Do it without asking.")


@click.group()
def adapter() -> None:
    """Adapters: how the OpenAI API calls an alias's model."""


def _names(_: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str | None]:
    """`WHAT=NAME` by what it is; without a name, the model has no such tensor."""
    found: dict[str, str | None] = {}
    for text in given:
        what, equals, name = text.partition("=")
        if not equals or not what:
            raise click.BadParameter(f"{text!r} is not WHAT=NAME", param=option)
        found[what] = name or None
    return found


def _fields(_: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """`NAME=VALUE`: numbers, true and false as JSON has them, all else is text."""
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param=option)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


@adapter.command(
    "set",
    epilog="""\b
WHAT of a model that generates text is, of its inputs: text, max_tokens, temperature, top_p, presence_penalty,
frequency_penalty, stop, seed, stream; of its outputs: text, prompt_tokens, completion_tokens, finish_reason.
Of one that embeds it is text on either side, and of its outputs tokens: how many each text has.

\b
Examples:
  maas alias adapter set tiny-lm --kind generate --template chat.jinja
  maas alias adapter set llama --kind generate --max-tokens 8192 --input stop= --field exclude_input_in_output=true
  maas alias adapter set minilm --kind embeddings --input text=TEXT --output text=EMBEDDING""",
)
@_alias
@click.option(
    "--kind", type=click.Choice(["generate", "embeddings"]), required=True, help="What the model does."
)
@click.option(
    "--template", type=click.File(encoding="utf-8"), metavar="FILE", help="The chat template, in Jinja."
)
@click.option("--max-tokens", type=click.IntRange(min=1), help="What a request may ask for at most.")
@click.option("--default-tokens", type=click.IntRange(min=1), help="What a chat gets that does not say.")
@click.option(
    "--input",
    "inputs",
    metavar="WHAT=NAME",
    multiple=True,
    callback=_names,
    help="The model's name for an input; WHAT= where it has none.",
)
@click.option(
    "--output",
    "outputs",
    metavar="WHAT=NAME",
    multiple=True,
    callback=_names,
    help="The model's name for an output; WHAT= where it has none.",
)
@click.option(
    "--field",
    "fields",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_fields,
    help="What is sent with every request as it is.",
)
@click.option(
    "--rank", type=click.IntRange(1, 2), help="Dimensions of the texts to be embedded: [n], or [n, 1]."
)
@_reason
@_yes
@json_option
def set_adapter(name: str, kind: str, reason: str | None, yes: bool, as_json: bool, **options: Any) -> None:
    """Have an alias be called by way of the OpenAI API, or change how. What is not given has its default."""
    wanted = _generate(**options) if kind == "generate" else _embeddings(**options)
    path = f"/api/v1/aliases/{name}/adapter"
    with Control.from_environment() as control:
        current, etag = control.standing(path)
        if current is not None:
            note(f"now   {_told(current['adapter'])}")
            note(f"then  {_told(wanted)}")
            confirm(f"Change how alias {name} is called?", yes)
        body: dict[str, Any] = {"adapter": wanted} | ({} if reason is None else {"reason": reason})
        done = control.put(path, body, etag)
    if as_json:
        emit_json(done)
    else:
        say(f"{name}: {_told(done['adapter'])} (revision {done['revision']})")


@adapter.command()
@_alias
@json_option
def show(name: str, as_json: bool) -> None:
    """Show how an alias is called by way of the OpenAI API."""
    with Control.from_environment() as control:
        found = control.get(f"/api/v1/aliases/{name}/adapter")
    if as_json:
        emit_json(found)
        return
    say(f"{found['alias']} of team {found['team']}, revision {found['revision']}; {found['adapter']['kind']}")
    say(
        f"set {moment(found['updated_at'])} by {found['updated_by']}: {found.get('reason') or 'no reason given'}"
    )
    rows = [(field, _written(value)) for field, value in found["adapter"].items() if field != "kind"]
    table(("what", "is"), rows, empty="All of it as by default.")


@adapter.command()
@_alias
@_reason
@_yes
@json_option
def remove(name: str, reason: str | None, yes: bool, as_json: bool) -> None:
    """Have an alias be called by way of the OpenAI API no more. Its other callers notice nothing."""
    path = f"/api/v1/aliases/{name}/adapter"
    with Control.from_environment() as control:
        _, etag = control.get_with_etag(path)
        confirm(
            f"Take the adapter of alias {name} away? Who calls it by way of the OpenAI API gets 400.", yes
        )
        control.delete(path, etag, **({} if reason is None else {"reason": reason}))
    if as_json:
        emit_json({"removed": name})
    else:
        say(f"Alias {name} has no adapter any more.")


def _generate(
    template: Any,
    max_tokens: int | None,
    default_tokens: int | None,
    inputs: Mapping[str, str | None],
    outputs: Mapping[str, str | None],
    fields: Mapping[str, Any],
    rank: int | None,
) -> dict[str, Any]:
    if rank is not None:
        raise click.UsageError("--rank says nothing of a model that generates text")
    given = {
        "template": None if template is None else template.read(),
        "most_tokens": max_tokens,
        "default_tokens": default_tokens,
        "inputs": inputs or None,
        "outputs": outputs or None,
        "fields": fields or None,
    }
    return _given("generate", given)


def _embeddings(
    inputs: Mapping[str, str | None], outputs: Mapping[str, str | None], rank: int | None, **others: Any
) -> dict[str, Any]:
    if any(others.values()) or inputs.keys() - {"text"} or outputs.keys() - {"text", "tokens"}:
        raise click.UsageError(
            "of a model that embeds, only --rank, --input text=NAME, --output text=NAME and --output tokens=NAME say anything"
        )
    return _given(
        "embeddings",
        {
            "input": inputs.get("text"),
            "output": outputs.get("text"),
            "tokens": outputs.get("tokens"),
            "rank": rank,
        },
    )


def _given(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": kind} | {field: value for field, value in fields.items() if value is not None}


def _told(wanted: Mapping[str, Any]) -> str:
    others = [f"{field} {_written(value)}" for field, value in wanted.items() if field != "kind"]
    return "; ".join([wanted["kind"], *others])


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={'' if each is None else _plain(each)}" for name, each in value.items())
    return _plain(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
