"""Routes of sampling, and of the deletion of samples."""

from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gateway.controlplane.change import Change
from gateway.controlplane.edge.api import IfMatch, IfNoneMatch, Limit, ReasonQuery, tagged
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.controlplane.plane import ControlPlane
from gateway.controlplane.samples import deletions, service
from gateway.controlplane.samples.schemas import (
    DeleteSubject,
    DeletionList,
    DeletionView,
    PutSampling,
    SamplingList,
    SamplingView,
)
from gateway.controlplane.samples.tensors import find_astray

TAGS = ["samples"]


@get("/samplings", tags=TAGS, sync_to_thread=True)
def list_samplings(caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]) -> SamplingList:
    """The aliases that are sampled and that the caller may see."""
    with control.read() as session:
        return service.list_samplings(session, caller)


@get("/aliases/{alias:str}/sampling", tags=TAGS, sync_to_thread=True)
def show_sampling(
    alias: FromPath[str], caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> Response[SamplingView]:
    """How an alias is sampled, with its ETag, and what stands in the way of it."""
    with control.read() as session:
        return tagged(service.show_sampling(session, caller, alias))


@put("/aliases/{alias:str}/sampling", tags=TAGS, sync_to_thread=True)
def put_sampling(
    alias: FromPath[str],
    data: JSONBody[PutSampling],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[SamplingView]:
    """Sample an alias, or replace how it is sampled. Live on every worker within a second."""
    with control.read() as session:
        service.demand_change(session, caller, alias)
    astray = find_astray(caller.snapshot, alias, data.rules, control.model_repository)

    def verb(change: Change) -> tuple[SamplingView, bool]:
        preconditions = Preconditions(if_match, if_none_match)
        return service.put_sampling(change, caller, alias, data, preconditions, astray)

    view, created = control.change(caller, verb)
    return tagged(view, created=created)


@delete("/aliases/{alias:str}/sampling", tags=TAGS, sync_to_thread=True)
def stop_sampling(
    alias: FromPath[str],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    reason: ReasonQuery = None,
) -> None:
    """Keep no more samples of an alias; what was kept stays until it is too old."""

    def verb(change: Change) -> None:
        service.stop_sampling(change, caller, alias, Preconditions(if_match), reason)

    control.change(caller, verb)


@get("/samples/deletions", tags=TAGS, sync_to_thread=True)
def list_deletions(
    caller: NamedDependency[Caller], control: NamedDependency[ControlPlane], limit: Limit = 50
) -> DeletionList:
    """The deletions by subject, newest first, and which workers have not carried them out yet."""
    with control.read() as session:
        return deletions.list_deletions(session, caller, limit)


@post("/samples/deletions", tags=TAGS, status_code=202, sync_to_thread=True)
def delete_subject(
    data: JSONBody[DeleteSubject], caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> DeletionView:
    """Delete everything that was kept of a subject until now. Workers carry it out; the list tells when it is done."""

    def verb(change: Change) -> DeletionView:
        return deletions.delete_subject(change, caller, data, control.pseudonyms)

    return control.change(caller, verb)


ROUTES = [list_samplings, show_sampling, put_sampling, stop_sampling, list_deletions, delete_subject]
