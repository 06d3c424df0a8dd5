"""`maas model register`: reads a folder, says what is wrong with it, and sends its record."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gateway.artefacts.record import VersionRecord
from gateway.artefacts.signature import Signature, disagreements
from gateway.cli import arguments
from gateway.cli.breaking import breaking_words
from gateway.cli.client import Control
from gateway.cli.output import Refused, emit_json, json_option, note, say

if TYPE_CHECKING:
    from gateway.cli.registering.folder import FoundVersion, ModelFolder

Known = Mapping[str, Any]


@click.command(
    epilog="""\b
Examples:
  maas model register model_repository/digits --team vision --pool gpu
  maas model register model_repository/digits --dry-run"""
)
@click.argument("path", type=click.Path(path_type=Path), metavar="PATH")
@click.option("--team", type=arguments.name, help="The team that owns the model (needed for a new one).")
@click.option("--pool", type=arguments.name, help="The pool that serves it (needed for a new one).")
@click.option("--reason", help="Why; kept in the audit.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would stand then, change nothing.")
@json_option
def register(
    path: Path, team: str | None, pool: str | None, reason: str | None, dry_run: bool, as_json: bool
) -> None:
    """Register a model folder in Triton's layout: its name is the model's, its numbered folders are the versions.

    What its model.yaml says is recorded; without one, that is not known. A version that is registered already must have
    the files that it had then; new ones are added. The same again changes nothing.
    """
    from gateway.cli.registering.folder import read_model_folder

    folder = read_model_folder(path)
    address = f"/api/v1/models/{folder.name}"
    with Control.from_environment() as control:
        known, etag = control.standing(address)
        if known is None and (team is None or pool is None):
            raise Refused(
                f"model {folder.name} is new here; name its owner and its servers with --team and --pool"
            )
        body = registration(control, folder, known)
        body |= {name: value for name, value in (("team", team), ("pool", pool), ("reason", reason)) if value}
        params = {"dry_run": "true"} if dry_run else {}
        done = control.put(address, body, etag, **params)
    changed = known is None or done["revision"] != known["revision"]
    if as_json:
        emit_json({**done, "changed": changed, "dry_run": dry_run})
        return
    _tell(done, known, folder, changed, dry_run)


def registration(control: Control, folder: "ModelFolder", known: Known | None) -> dict[str, Any]:
    """The body that registers a folder beside what is `known` of the model already, without team, pool and reason.

    Raises `Refused` for a new version about which the folder contradicts itself, and for a registered one with other files.
    """
    standing = {each["version"]: each for each in (known or {}).get("versions", [])}
    _check(folder, standing)
    body: dict[str, Any] = {
        "versions": [
            {
                "version": number,
                "digest": version.digest,
                "record": msgspec.to_builtins(
                    version.record
                    if number not in standing
                    else _kept_signature(control, folder.name, number, version)
                ),
            }
            for number, version in sorted(folder.versions.items())
        ]
    }
    if folder.description is not None:
        body["description"] = msgspec.to_builtins(folder.description)
    return body


def _check(folder: "ModelFolder", standing: Mapping[int, Known]) -> None:
    differences = []
    for number, version in sorted(folder.versions.items()):
        registered = standing.get(number)
        if registered is None:
            differences += [f"version {number}: {each}" for each in version.differences]
        elif registered["digest"] != version.digest:
            raise Refused(
                f"version {number} of {folder.name} is registered with other files; a version never changes, "
                f"so give the new files a new number"
            )
    if differences:
        raise Refused(f"model {folder.name} cannot be registered: {'; '.join(differences)}")


def _kept_signature(control: Control, model: str, number: int, version: "FoundVersion") -> VersionRecord:
    """The record of a version that is registered already, with no other signature than that it has.

    A folder has one configuration, which moves on with its newer versions; what was registered of an older one stays.
    """
    recorded = control.get(f"/api/v1/models/{model}/versions/{number}")["record"] or {}
    now = version.record.signature
    if recorded.get("signature") is None:
        # Not known yet: it may be now, unless the folder contradicts itself about it.
        return msgspec.structs.replace(version.record, signature=None if version.differences else now)
    then = msgspec.convert(recorded["signature"], Signature)
    if now is not None and now != then:
        words = disagreements("the record", then.inputs, "the folder", now.inputs, "input")
        words += disagreements("the record", then.outputs, "the folder", now.outputs, "output")
        note(f"warning: version {number} keeps the signature that it was registered with: {'; '.join(words)}")
    return msgspec.structs.replace(version.record, signature=None)


def _tell(
    done: dict[str, Any], known: Known | None, folder: "ModelFolder", changed: bool, dry_run: bool
) -> None:
    before = {each["version"] for each in (known or {}).get("versions", [])}
    numbers = ", ".join(str(each["version"]) for each in done["versions"])
    say(f"Model {done['name']} of team {done['team']}, in pool {done['pool']}: versions {numbers}")
    for each in done["versions"]:
        found = folder.versions.get(each["version"])
        if each["version"] in before or found is None:
            continue
        files = found.record.files or []
        size = sum(file.size_bytes for file in files)
        say(f"  version {each['version']} is new: {len(files)} files, {size} bytes, {each['digest']}")
        unknown = _unknown(found.record)
        if unknown:
            say(f"    not known: {', '.join(unknown)}")
        for line in breaking_words(done["name"], each):
            note(f"warning: {line}")
    if done["description"] is None:
        say("  no model.yaml: description, stakeholders, licence, intended use and risk are not known")
    if dry_run:
        say("Nothing was changed: this was a dry run.")
    elif not changed:
        say("Nothing has changed since it was registered.")


def _unknown(record: VersionRecord) -> list[str]:
    return [
        name.replace("_", " ") for name in VersionRecord.__struct_fields__ if getattr(record, name) is None
    ]
