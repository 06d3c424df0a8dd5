"""Turns a document into the `Snapshot` that requests are served from: look-ups only, everything computed before.

A document with any fault is refused whole, so that a bad row in a database can never reach the data plane.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.snapshot.adapters import Adapter
from gateway.snapshot.deprecation import compile_deprecation
from gateway.snapshot.document import (
    AliasEntry,
    ModelEntry,
    PolicyEntry,
    QuotaEntry,
    SamplingEntry,
    SnapshotDocument,
    SnapshotInvalid,
)
from gateway.snapshot.problems import find_problems
from gateway.types import (
    Action,
    Alias,
    Arm,
    Permit,
    Pool,
    Principal,
    Roles,
    Target,
)


class Decide(Protocol):
    """Decides whether a principal may do something; raises only when the decision itself is at fault."""

    def __call__(self, principal: str, team: str, alias: str, action: str, roles: Roles = (), /) -> bool:
        """Allowed or not; `roles` are those that the principal has beside the policy's rows."""


class Snapshot:
    """The immutable, compiled state that one worker serves from.

    `permits` remembers decisions by (principal, key, roles, alias, action) for as long as this snapshot lives, `versions` the
    targets that `target_of` has made.
    """

    __slots__ = (
        "adapters",
        "aliases",
        "created_at",
        "decide",
        "installation",
        "key_ids",
        "keys",
        "models",
        "permits",
        "pools",
        "quotas",
        "sampling",
        "version",
        "versions",
    )

    def __init__(  # noqa: PLR0913 - a snapshot has so many parts
        self,
        version: int,
        created_at: float,
        installation: str,
        aliases: dict[str, Alias],
        keys: dict[bytes, Principal],
        pools: dict[str, Pool],
        decide: Decide,
        quotas: tuple[QuotaEntry, ...] = (),
        sampling: dict[str, SamplingEntry] | None = None,
        adapters: dict[str, Adapter] | None = None,
        models: dict[str, ModelEntry] | None = None,
    ) -> None:
        self.version = version
        self.created_at = created_at
        self.installation = installation
        self.aliases = aliases
        self.keys = keys
        self.key_ids = frozenset(principal.key_id for principal in keys.values())
        self.pools = pools
        self.decide = decide
        self.quotas = quotas
        self.sampling = sampling or {}
        self.adapters = adapters or {}
        self.models = models or {}
        self.versions: dict[tuple[str, int], Target] = {}
        self.permits: dict[tuple[str, str, Roles, str, Action], Permit] = {}

    def target_of(self, model: str, version: int) -> Target | None:
        """A registered version, whatever alias leads to it; None where there is none. The same object each time."""
        found = self.versions.get((model, version))
        if found is None and model in self.models and version in self.models[model].versions:
            found = self.versions[model, version] = _target(model, version, 0, "stable", self.models)
        return found


def compile_snapshot(document: SnapshotDocument, compile_policy: Callable[[PolicyEntry], Decide]) -> Snapshot:
    """Validate and compile. Raises `SnapshotInvalid` with every fault found.

    `compile_policy` turns the policy's rows into a decision function and raises `ValueError` for rows it refuses.
    """
    problems = find_problems(document)
    decide: Decide | None = None
    try:
        decide = compile_policy(document.policy)
    except ValueError as error:
        problems.append(f"policy: {error}")
    if problems or decide is None:
        raise SnapshotInvalid(problems)
    models = {model.name: model for model in document.models}
    return Snapshot(
        document.version,
        document.created_at,
        document.installation,
        {entry.name: _alias(entry, models) for entry in document.aliases},
        {
            bytes.fromhex(key.digest): Principal(key.principal, key.id, key.expires_at)
            for key in document.keys
        },
        {
            pool.name: Pool(pool.name, pool.engine, pool.endpoints, pool.grpc_endpoints)
            for pool in document.pools
        },
        decide,
        document.quotas,
        {entry.name: entry.sampling for entry in document.aliases if entry.sampling is not None},
        {entry.name: entry.adapter for entry in document.aliases if entry.adapter is not None},
        models,
    )


def empty_snapshot() -> Snapshot:
    """What a worker serves before its first snapshot: nothing, to nobody."""
    return Snapshot(0, 0.0, "", {}, {}, {}, lambda *_: False)


def _alias(entry: AliasEntry, models: dict[str, ModelEntry]) -> Alias:
    targets = tuple(
        _target(row.model, row.version, row.weight_bp, "candidate" if index else "stable", models)
        for index, row in enumerate(entry.targets)
    )
    live: dict[int, Target] = {}
    for target in targets:
        live.setdefault(target.version, target)
    stable = models[targets[0].model]
    pinnable = {version: _target(stable.name, version, 0, "stable", models) for version in stable.versions}
    return Alias(
        entry.name,
        entry.team,
        bytes.fromhex(entry.salt),
        entry.sticky,
        targets,
        tuple(piece.end for piece in entry.slices),
        tuple(targets[piece.target] for piece in entry.slices),
        live,
        pinnable,
        None if entry.deprecation is None else compile_deprecation(entry.deprecation),
        entry.sampling is not None,
    )


def _target(name: str, version: int, weight_bp: int, arm: Arm, models: dict[str, ModelEntry]) -> Target:
    model = models[name]
    path = f"/v2/models/{name}/versions/{version}".encode()
    deprecation = next(
        (compile_deprecation(each.deprecation) for each in model.deprecations if each.version == version),
        None,
    )
    return Target(name, version, weight_bp, arm, model.pool, path, f"{name}/{version}".encode(), deprecation)
