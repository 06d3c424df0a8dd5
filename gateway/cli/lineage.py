"""`maas model lineage`: what versions were made from, and what was made from them, as a tree."""

from collections.abc import Iterator, Mapping

import click

from gateway.cli import arguments
from gateway.cli.arguments import ModelSpec
from gateway.cli.client import Control
from gateway.cli.output import emit_json, json_option, say

_DEEPEST = 50

Related = Mapping[str, list[tuple[str, str]]]


@click.command(
    epilog="""\b
Examples:
  maas model lineage digits-label@1
  maas model lineage digits"""
)
@click.argument("spec", type=arguments.model_or_version, metavar="MODEL[@VERSION]")
@json_option
def lineage(spec: ModelSpec, as_json: bool) -> None:
    """Show what a version, or each version of a model, was made from, and what was made from it."""
    path = f"/api/v1/models/{spec.model}"
    path = path if spec.version is None else f"{path}/versions/{spec.version}"
    with Control.from_environment() as control:
        found = control.get(f"{path}/lineage")
    if as_json:
        emit_json(found)
        return
    here = {node["name"] for node in found["nodes"] if node["registered"]}
    bases: dict[str, list[tuple[str, str]]] = {}
    made: dict[str, list[tuple[str, str]]] = {}
    for edge in found["edges"]:
        bases.setdefault(edge["made"], []).append((edge["base"], edge["relation"]))
        made.setdefault(edge["base"], []).append((edge["made"], edge["relation"]))
    for name in found["of"]:
        say(name)
        for title, related in (("made from", bases), ("part of", made)):
            lines = list(_tree(name, related, here, 2, {name}))
            say(f"  {title}:{'' if lines else ' nothing that is known'}")
            for line in lines:
                say(line)
    if not found["of"]:
        say(f"Model {spec.model} has no versions.")
    if not found["complete"]:
        say("There is more than is shown.")


def _tree(name: str, related: Related, here: set[str], depth: int, shown: set[str]) -> Iterator[str]:
    """A line for each related one, its own under it; what was shown before is not unfolded again."""
    for other, relation in related.get(name, ()):
        again = other in shown
        notes = [relation, *([] if other in here else ["not registered here"])]
        more = " …" if again and related.get(other) else ""
        yield f"{'  ' * depth}{other} ({', '.join(notes)}){more}"
        if not again and depth < _DEEPEST:
            shown.add(other)
            yield from _tree(other, related, here, depth + 1, shown)
