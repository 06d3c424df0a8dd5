"""Routes of models and pools."""

from typing import Annotated

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from gateway.artefacts.record import Risk
from gateway.controlplane.change import Change
from gateway.controlplane.edge.api import DryRun, Force, IfMatch, IfNoneMatch, ReasonQuery, tagged
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.controlplane.plane import ControlPlane
from gateway.controlplane.registry import graph, models, pools, views
from gateway.controlplane.registry.schemas import (
    LineageView,
    ModelList,
    ModelView,
    PoolList,
    PoolView,
    PutModel,
    PutPool,
    VersionRecordView,
)

MODELS = ["models"]
POOLS = ["pools"]


@get("/models", tags=MODELS, sync_to_thread=True)
def list_models(
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    team: FromQuery[str | None] = None,
    risk: FromQuery[Risk | None] = None,
    licence: FromQuery[str | None] = None,
    text: Annotated[
        str | None, QueryParameter(name="q", description="Part of the name, the description, or a person's.")
    ] = None,
) -> ModelList:
    """The models that the caller may see."""
    with control.read() as session:
        return views.list_models(session, caller, team=team, risk=risk, licence=licence, text=text)


@get("/models/{model:str}", tags=MODELS, sync_to_thread=True)
def show_model(
    model: FromPath[str], caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> Response[ModelView]:
    """One model with its versions, and its ETag."""
    with control.read() as session:
        return tagged(views.show_model(session, caller, model))


@put("/models/{model:str}", tags=MODELS, sync_to_thread=True)
def put_model(
    model: FromPath[str],
    data: JSONBody[PutModel],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
    dry_run: DryRun = False,
) -> Response[ModelView]:
    """Register a model, add versions, or say more of it; versions that are not named stay.

    Moving it to another pool and changing its description need If-Match."""

    def verb(change: Change) -> tuple[ModelView, bool]:
        return models.put_model(change, caller, model, data, Preconditions(if_match, if_none_match))

    if dry_run:
        return Response(control.rehearse(caller, verb)[0])
    view, created = control.change(caller, verb)
    return tagged(view, created=created)


@get("/models/{model:str}/versions/{version:int}", tags=MODELS, sync_to_thread=True)
def show_version(
    model: FromPath[str],
    version: FromPath[int],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
) -> Response[VersionRecordView]:
    """All that is known of one version, with the model's ETag."""
    with control.read() as session:
        return tagged(views.show_version(session, caller, model, version))


@get("/models/{model:str}/lineage", tags=MODELS, sync_to_thread=True)
def show_model_lineage(
    model: FromPath[str], caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> LineageView:
    """What a model's versions were made from, and what was made from them."""
    with control.read() as session:
        return graph.lineage(session, caller, model, None)


@get("/models/{model:str}/versions/{version:int}/lineage", tags=MODELS, sync_to_thread=True)
def show_version_lineage(
    model: FromPath[str],
    version: FromPath[int],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
) -> LineageView:
    """What a version was made from, and what was made from it."""
    with control.read() as session:
        return graph.lineage(session, caller, model, version)


@delete("/models/{model:str}/versions/{version:int}", tags=MODELS, sync_to_thread=True)
def remove_version(
    model: FromPath[str],
    version: FromPath[int],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    reason: ReasonQuery = None,
    force: Force = False,
) -> None:
    """Forget a version that no alias targets and nobody names any more."""

    def verb(change: Change) -> None:
        preconditions = Preconditions(if_match)
        models.remove_version(change, caller, model, version, preconditions, reason, force=force)

    control.change(caller, verb)


@get("/pools", tags=POOLS, sync_to_thread=True)
def list_pools(caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]) -> PoolList:
    """All pools."""
    with control.read() as session:
        return pools.list_pools(session, caller)


@get("/pools/{pool:str}", tags=POOLS, sync_to_thread=True)
def show_pool(
    pool: FromPath[str], caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> Response[PoolView]:
    """One pool, with its ETag."""
    with control.read() as session:
        return tagged(pools.show_pool(session, caller, pool))


@put("/pools/{pool:str}", tags=POOLS, sync_to_thread=True)
def put_pool(
    pool: FromPath[str],
    data: JSONBody[PutPool],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[PoolView]:
    """Make a pool or replace its endpoints. Pools of the settings file are refused."""

    def verb(change: Change) -> tuple[PoolView, bool]:
        return pools.put_pool(change, caller, pool, data, Preconditions(if_match, if_none_match))

    view, created = control.change(caller, verb)
    return tagged(view, created=created)


@delete("/pools/{pool:str}", tags=POOLS, sync_to_thread=True)
def delete_pool(
    pool: FromPath[str],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    reason: ReasonQuery = None,
) -> None:
    """Delete a pool that serves no model."""

    def verb(change: Change) -> None:
        pools.delete_pool(change, caller, pool, Preconditions(if_match), reason)

    control.change(caller, verb)


ROUTES = [
    list_models,
    show_model,
    put_model,
    show_version,
    show_model_lineage,
    show_version_lineage,
    remove_version,
    list_pools,
    show_pool,
    put_pool,
    delete_pool,
]
