"""What versions were made from: a graph of records, without circles."""

from collections.abc import Iterator, Mapping

import msgspec
from sqlalchemy.orm import Session

from gateway.artefacts.record import BaseModel, VersionRecord
from gateway.controlplane.registry import store
from gateway.db.models import BaseRow
from gateway.types import MAX_VERSION, NAME

MOST_NODES = 10_000
"""As many are looked at for a circle; a graph of more has none that anybody could follow."""


class Node(msgspec.Struct, frozen=True):
    """A version, all versions of a model (`version` None), or something that is registered nowhere (`model` None)."""

    name: str
    model: str | None = None
    version: int | None = None


def node_of(name: str) -> Node:
    """What a base model's name means: `MODEL@VERSION`, `MODEL`, or any other text for what is elsewhere."""
    model, at, number = name.rpartition("@")
    if at and NAME.fullmatch(model) and number.isascii() and number.isdecimal() and number[0] != "0":
        version = int(number) if len(number) < 20 else 0
        return Node(name, model, version) if 1 <= version <= MAX_VERSION else Node(name)
    return Node(name, name) if NAME.fullmatch(name) else Node(name)


def version_node(model: str, version: int) -> Node:
    """A version of a model."""
    return Node(f"{model}@{version}", model, version)


def base_rows(model: str, version: int, record: VersionRecord) -> list[BaseRow]:
    """What a record says that its version was made from."""
    found = []
    for each in record.base_models or ():
        node = node_of(each.model)
        found.append(
            BaseRow(
                model=model,
                version=version,
                base=each.model,
                relation=each.relation,
                base_model=node.model,
                base_version=node.version,
            )
        )
    return found


def circles(session: Session, model: str, records: Mapping[int, VersionRecord]) -> list[str]:
    """The circles that the records would close, one line each that names the way around."""
    found = []
    fresh = {version: record.base_models or [] for version, record in records.items()}
    for version in records:
        way = _way_back(session, version_node(model, version), model, fresh)
        if way:
            found.append(f"version {version}: it would be made from itself: {' < '.join(way)}")
    return found


def _way_back(
    session: Session, start: Node, model: str, fresh: Mapping[int, list[BaseModel]]
) -> list[str] | None:
    """The names on a way from `start` along base models back to it, None where there is none."""
    ways = [[start]]
    seen = {start}
    while ways and len(seen) < MOST_NODES:
        way = ways.pop()
        for base in _bases(session, way[-1], model, fresh):
            if base == start or (base.model == start.model and base.version is None):
                return [each.name for each in (*way, base)]
            if base not in seen and base.model is not None:
                seen.add(base)
                ways.append([*way, base])
    return None


def _bases(session: Session, node: Node, model: str, fresh: Mapping[int, list[BaseModel]]) -> Iterator[Node]:
    if node.model is None:
        return
    if node.model == model:
        for version, base_models in fresh.items():
            if node.version in (None, version):
                yield from (node_of(each.model) for each in base_models)
    for row in store.bases(session, node.model, node.version):
        if row.model != model or row.version not in fresh:
            yield Node(row.base, row.base_model, row.base_version)
