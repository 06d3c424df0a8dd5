"""Models and pools as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from gateway.artefacts.record import ModelDescription, Risk, VersionRecord
from gateway.controlplane.fields import Digest, Reason

Endpoints = Annotated[list[str], msgspec.Meta(max_length=256)]


class VersionIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version to register; its digest never changes afterwards, nor does what is once known of it.

    What is null in `record` is not known (yet), or stays as it is known.
    """

    version: int
    digest: Digest
    record: VersionRecord | None = None


class PutModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Registers a model, or adds versions to it. `team` and `pool` are required for a new one.

    A `description` replaces the one that stands; without one, that stays.
    """

    team: str | None = None
    pool: str | None = None
    description: ModelDescription | None = None
    versions: Annotated[list[VersionIn], msgspec.Meta(max_length=1000)] = msgspec.field(default_factory=list)
    reason: Reason | None = None


class Breaking(msgspec.Struct, frozen=True):
    """Earlier versions whose callers a version breaks, and by which differences of its signature."""

    versions: list[int]
    differences: list[str]


class BrokenCaller(msgspec.Struct, frozen=True):
    """Who called earlier versions within the last days, by name or through an alias that sends traffic there."""

    principal: str
    calls: int
    last_at: datetime
    aliases: list[str]


class VersionView(msgspec.Struct, frozen=True):
    """A registered version. `recorded`: more is known of it than its digest.

    `callers` are those that it would break; null where that is not for the caller to know. `hosts_with_other_files` are the hosts
    whose workers say that its files there are not those that were registered.
    """

    version: int
    digest: str
    created_at: datetime
    created_by: str
    recorded: bool
    breaking: list[Breaking]
    callers: list[BrokenCaller] | None
    hosts_with_other_files: list[str]


class ModelView(msgspec.Struct, frozen=True):
    """A model with its versions, lowest first. `description` is null where nobody gave one."""

    name: str
    team: str
    pool: str
    description: ModelDescription | None
    versions: list[VersionView]
    revision: int
    updated_at: datetime
    updated_by: str


class VersionRecordView(msgspec.Struct, frozen=True):
    """All that is known of one version. `record` is null where nobody gave one; `revision` is the model's."""

    model: str
    team: str
    pool: str
    description: ModelDescription | None
    version: VersionView
    record: VersionRecord | None
    recorded_at: datetime | None
    recorded_by: str | None
    revision: int


class NodeView(msgspec.Struct, frozen=True):
    """A version, a model whichever its version, or something elsewhere (`model` null). `registered`: it is here to be seen."""

    name: str
    model: str | None
    version: int | None
    registered: bool


class EdgeView(msgspec.Struct, frozen=True):
    """`made` was made from `base`; both are names of nodes."""

    base: str
    made: str
    relation: str


class LineageView(msgspec.Struct, frozen=True):
    """All that the versions `of` were made from, and all that was made from them. Not `complete`: there is more."""

    of: list[str]
    nodes: list[NodeView]
    edges: list[EdgeView]
    complete: bool


class VersionLine(msgspec.Struct, frozen=True):
    """A version in a list. `breaks`: its signature breaks callers of an earlier version."""

    version: int
    digest: str
    created_at: datetime
    created_by: str
    breaks: bool


class ModelLine(msgspec.Struct, frozen=True):
    """A model in a list, with its versions, lowest first."""

    name: str
    team: str
    pool: str
    risk: Risk
    licence: str | None
    versions: list[VersionLine]
    revision: int
    updated_at: datetime
    updated_by: str


class ModelList(msgspec.Struct, frozen=True):
    """The models that the caller may see, by name."""

    models: list[ModelLine]


class PutPool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pool of Triton servers (`http://HOST:PORT` each), or of the embedded engine, which has no endpoints.

    `grpc_endpoints`, one for each endpoint in the same order (`grpc://HOST:PORT`), say where they speak gRPC; without any,
    each does on the port behind its own, as Triton does unless told otherwise.
    """

    engine: Literal["triton", "embedded"]
    endpoints: Endpoints = msgspec.field(default_factory=list)
    grpc_endpoints: Endpoints = msgspec.field(default_factory=list)
    reason: Reason | None = None


class PoolView(msgspec.Struct, frozen=True):
    """A pool; a `declared` one stands in the settings file and is changed only there."""

    name: str
    engine: str
    endpoints: list[str]
    grpc_endpoints: list[str]
    declared: bool
    revision: int
    updated_at: datetime
    updated_by: str


class PoolList(msgspec.Struct, frozen=True):
    """All pools, by name."""

    pools: list[PoolView]
