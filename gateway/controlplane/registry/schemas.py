"""Models and pools as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from gateway.controlplane.fields import Digest, Reason

Endpoints = Annotated[list[str], msgspec.Meta(max_length=256)]


class VersionIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version to register; its digest never changes afterwards."""

    version: int
    digest: Digest


class PutModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Registers a model, or adds versions to it. `team` and `pool` are required for a new one."""

    team: str | None = None
    pool: str | None = None
    versions: Annotated[list[VersionIn], msgspec.Meta(max_length=1000)] = msgspec.field(default_factory=list)
    reason: Reason | None = None


class VersionView(msgspec.Struct, frozen=True):
    """A registered version."""

    version: int
    digest: str
    created_at: datetime
    created_by: str


class ModelView(msgspec.Struct, frozen=True):
    """A model with its versions, lowest first."""

    name: str
    team: str
    pool: str
    versions: list[VersionView]
    revision: int
    updated_at: datetime
    updated_by: str


class ModelList(msgspec.Struct, frozen=True):
    """The models that the caller may see, by name."""

    models: list[ModelView]


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
