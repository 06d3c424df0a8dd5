"""`maas model`: the models that aliases may send traffic to."""

from pathlib import Path
from typing import Any

import click

from gateway.cli import arguments
from gateway.cli.arguments import TargetSpec
from gateway.cli.client import Control
from gateway.cli.output import (
    Refused,
    confirm,
    emit_json,
    force_option,
    forced,
    json_option,
    say,
    table,
)


@click.group()
def model() -> None:
    """Models: named artefacts with an owner team and numbered, immutable versions."""


@model.command(
    epilog="""\b
Example:
  maas model register model_repository/digits --team vision --pool gpu"""
)
@click.argument("path", type=click.Path(path_type=Path), metavar="PATH")
@click.option("--team", type=arguments.name, help="The team that owns the model (needed for a new one).")
@click.option("--pool", type=arguments.name, help="The pool that serves it (needed for a new one).")
@click.option("--reason", help="Why; kept in the audit.")
@json_option
def register(path: Path, team: str | None, pool: str | None, reason: str | None, as_json: bool) -> None:
    """Register a model folder in Triton's layout: its name is the model's, its numbered folders are the versions.

    A version that is registered already must have the files that it had then; new ones are added.
    """
    from gateway.cli.artefacts import read_model_folder

    folder = read_model_folder(path)
    address = f"/api/v1/models/{folder.name}"
    with Control.from_environment() as control:
        known, etag = control.standing(address)
        if known is None and (team is None or pool is None):
            raise Refused(
                f"model {folder.name} is new here; name its owner and its servers with --team and --pool"
            )
        versions = {v["version"]: v["digest"] for v in (known or {}).get("versions", [])}
        for version, digest in folder.digests.items():
            if versions.setdefault(version, digest) != digest:
                raise Refused(
                    f"version {version} of {folder.name} is registered with other files; a version never changes, "
                    f"so give the new files a new number"
                )
        change: dict[str, Any] = {
            "team": team or (known or {})["team"],
            "pool": pool or (known or {})["pool"],
            "versions": [{"version": v, "digest": d} for v, d in sorted(versions.items())],
        }
        if reason is not None:
            change["reason"] = reason
        done = control.put(address, change, etag)
    if as_json:
        emit_json(done)
    else:
        numbers = ", ".join(str(v["version"]) for v in done["versions"])
        say(f"Model {done['name']} of team {done['team']}, in pool {done['pool']}: versions {numbers}")


@model.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the models that you may see."""
    with Control.from_environment() as control:
        found = control.get("/api/v1/models")["models"]
    if as_json:
        emit_json(found)
    else:
        table(
            ("model", "team", "pool", "versions"),
            [
                (m["name"], m["team"], m["pool"], " ".join(str(v["version"]) for v in m["versions"]))
                for m in found
            ],
            empty="There is no model that you may see.",
        )


@model.command()
@click.argument("name", type=arguments.name, metavar="MODEL")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one model and the digest of each version."""
    with Control.from_environment() as control:
        found = control.get(f"/api/v1/models/{name}")
    if as_json:
        emit_json(found)
    else:
        say(f"{found['name']} of team {found['team']}, served by pool {found['pool']}")
        table(("version", "digest"), [(v["version"], v["digest"]) for v in found["versions"]])


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
