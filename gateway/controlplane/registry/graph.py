"""Lineage as a graph: what versions were made from and what was made from them, as far as a caller may see."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from gateway.controlplane import owned
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.registry import store
from gateway.controlplane.registry.lineage import MOST_NODES, Node, version_node
from gateway.controlplane.registry.schemas import EdgeView, LineageView, NodeView
from gateway.db.models import ModelRow
from gateway.errors import GatewayError, Kind


def lineage(session: Session, caller: Caller, model: str, version: int | None) -> LineageView:
    """What a version (with None: each version of a model) was made from, and what was made from it, at any distance.

    Models that the caller may not see are named where a record that they may see names them, and nowhere else; what they
    were made from is not told. Raises NOT_FOUND.
    """
    row = owned.seen_model(session, caller, model)
    numbers = [each.version for each in row.versions]
    if version is not None and version not in numbers:
        raise GatewayError(Kind.NOT_FOUND, f"Model {model} has no version {version}.")
    starts = [version_node(model, each) for each in sorted(numbers) if version in (None, each)]
    seen = _Seen(session, caller)
    edges = [*_ancestors(session, starts, seen), *_descendants(session, starts, seen)]
    nodes = dict.fromkeys(starts)
    for _, base, made in edges:
        nodes |= {base: None, made: None}
    return LineageView(
        of=[each.name for each in starts],
        nodes=[NodeView(each.name, each.model, each.version, seen.registered(each)) for each in nodes],
        edges=list(dict.fromkeys(edge for edge, _, _ in edges)),
        complete=len(nodes) < MOST_NODES,
    )


class _Seen:
    """Which models there are for a caller, with their versions; each asked for once."""

    def __init__(self, session: Session, caller: Caller) -> None:
        self._session = session
        self._caller = caller
        self._versions: dict[str, frozenset[int] | None] = {}

    def versions(self, model: str) -> frozenset[int] | None:
        """The model's versions; None for one that is not registered, or not for the caller to see."""
        if model not in self._versions:
            row = self._session.get(ModelRow, model)
            visible = row is not None and owned.may_see_model(self._caller, row)
            self._versions[model] = frozenset(v.version for v in row.versions) if row and visible else None
        return self._versions[model]

    def registered(self, node: Node) -> bool:
        """Whether the node is a version, or a model, that the caller may see."""
        versions = None if node.model is None else self.versions(node.model)
        return versions is not None and (node.version is None or node.version in versions)


Edge = tuple[EdgeView, Node, Node]


def _ancestors(session: Session, starts: Sequence[Node], seen: _Seen) -> list[Edge]:
    found: list[Edge] = []
    known, left = set(starts), list(starts)
    while left and len(known) < MOST_NODES:
        made = left.pop(0)
        if made.model is None or made.version is None or not seen.registered(made):
            continue
        for row in store.bases(session, made.model, made.version):
            base = Node(row.base, row.base_model, row.base_version)
            found.append((EdgeView(base.name, made.name, row.relation), base, made))
            if base not in known:
                known.add(base)
                left.append(base)
    return found


def _descendants(session: Session, starts: Sequence[Node], seen: _Seen) -> list[Edge]:
    found: list[Edge] = []
    known, left = set(starts), list(starts)
    while left and len(known) < MOST_NODES:
        base = left.pop(0)
        assert base.model is not None
        assert base.version is not None
        for row in store.made_from(session, base.model, base.version):
            made = version_node(row.model, row.version)
            if not seen.registered(made):
                continue
            found.append((EdgeView(base.name, made.name, row.relation), base, made))
            if made not in known:
                known.add(made)
                left.append(made)
    return found
