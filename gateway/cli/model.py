"""`maas model`: the models that aliases may send traffic to, and what is recorded of them."""

from typing import Any, get_args

import click

from gateway.artefacts.record import Risk
from gateway.cli import arguments
from gateway.cli.arguments import ModelSpec, TargetSpec
from gateway.cli.client import Control
from gateway.cli.lineage import lineage
from gateway.cli.model_record import show_model, show_version
from gateway.cli.output import (
    confirm,
    emit_json,
    force_option,
    forced,
    json_option,
    say,
    table,
)
from gateway.cli.registering.command import register


@click.group()
def model() -> None:
    """Models: named artefacts with an owner team and numbered, immutable versions."""


model.add_command(register)
model.add_command(lineage)


@model.command("list")
@click.option("--team", type=arguments.name, help="Only those of a team.")
@click.option("--risk", type=click.Choice(get_args(Risk), case_sensitive=False), help="Only those of a risk.")
@click.option("--licence", metavar="SPDX", help="Only those under a licence, as in Apache-2.0.")
@click.option("--text", help="Only those with a text in their name, description, use or stakeholders.")
@json_option
def list_models(
    team: str | None, risk: str | None, licence: str | None, text: str | None, as_json: bool
) -> None:
    """List the models that you may see."""
    wanted = {"team": team, "risk": risk, "licence": licence, "q": text}
    with Control.from_environment() as control:
        params = {name: value for name, value in wanted.items() if value is not None}
        found = control.get("/api/v1/models", **params)["models"]
    if as_json:
        emit_json(found)
    else:
        table(
            ("model", "team", "pool", "risk", "licence", "versions"),
            [
                (
                    m["name"],
                    m["team"],
                    m["pool"],
                    m["risk"],
                    m["licence"],
                    " ".join(map(_number, m["versions"])),
                )
                for m in found
            ],
            empty="There is no such model that you may see."
            if params
            else "There is no model that you may see.",
        )


def _number(version: dict[str, Any]) -> str:
    return f"{version['version']}{'!' if version['breaks'] else ''}"


@model.command()
@click.argument("spec", type=arguments.model_or_version, metavar="MODEL[@VERSION]")
@json_option
def show(spec: ModelSpec, as_json: bool) -> None:
    """Show what is recorded of a model, with its versions, or of one version: files, signature, origin."""
    path = f"/api/v1/models/{spec.model}"
    with Control.from_environment() as control:
        found = control.get(path if spec.version is None else f"{path}/versions/{spec.version}")
    if as_json:
        emit_json(found)
    elif spec.version is None:
        show_model(found)
    else:
        show_version(found)


@model.command(
    epilog="""\b
Example:
  maas model remove digits@1 --reason "replaced by version 2" """,
)
@click.argument("spec", type=arguments.version, metavar="MODEL@VERSION")
@force_option
@click.option("--reason", help="Why; kept in the audit.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@json_option
def remove(spec: TargetSpec, force: bool, reason: str | None, yes: bool, as_json: bool) -> None:
    """Forget a version. Its files stay where Triton reads them.

    Refused while an alias targets it, and while somebody else pinned it within eight days, unless with --force.
    """
    what = f"{spec.model}@{spec.version}"
    with Control.from_environment() as control:
        _, etag = control.get_with_etag(f"/api/v1/models/{spec.model}")
        confirm(f"Forget {what}? Whoever names the version will get 404.", yes)
        address = f"/api/v1/models/{spec.model}/versions/{spec.version}"
        control.delete(address, etag, **forced(force, reason))
    if as_json:
        emit_json({"removed": what})
    else:
        say(f"Version {what} is gone.")
