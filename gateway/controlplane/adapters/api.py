"""Routes of the adapters."""

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gateway.controlplane.adapters import service
from gateway.controlplane.adapters.schemas import AdapterView, PutAdapter
from gateway.controlplane.change import Change
from gateway.controlplane.edge.api import IfMatch, IfNoneMatch, ReasonQuery, tagged
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.controlplane.plane import ControlPlane

TAGS = ["adapters"]


@get("/aliases/{alias:str}/adapter", tags=TAGS, sync_to_thread=True)
def show_adapter(
    alias: FromPath[str], caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> Response[AdapterView]:
    """How an alias is called by way of the OpenAI API, with its ETag."""
    with control.read() as session:
        return tagged(service.show_adapter(session, caller, alias))


@put("/aliases/{alias:str}/adapter", tags=TAGS, sync_to_thread=True)
def put_adapter(
    alias: FromPath[str],
    data: JSONBody[PutAdapter],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[AdapterView]:
    """Have an alias be called by way of the OpenAI API, or change how. Live on every worker within a second."""
    with control.read() as session:
        service.demand_change(session, caller, alias)
    service.check_adapter(data.adapter)

    def verb(change: Change) -> tuple[AdapterView, bool]:
        return service.put_adapter(change, caller, alias, data, Preconditions(if_match, if_none_match))

    view, created = control.change(caller, verb)
    return tagged(view, created=created)


@delete("/aliases/{alias:str}/adapter", tags=TAGS, sync_to_thread=True)
def remove_adapter(
    alias: FromPath[str],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    reason: ReasonQuery = None,
) -> None:
    """Have an alias be called by way of the OpenAI API no more."""

    def verb(change: Change) -> None:
        service.remove_adapter(change, caller, alias, Preconditions(if_match), reason)

    control.change(caller, verb)


ROUTES = [show_adapter, put_adapter, remove_adapter]
