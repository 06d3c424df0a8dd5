"""Routes of the quota policies."""

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gateway.controlplane.change import Change
from gateway.controlplane.edge.api import IfMatch, IfNoneMatch, ReasonQuery, tagged
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.controlplane.plane import ControlPlane
from gateway.controlplane.quotas import service
from gateway.controlplane.quotas.schemas import PutQuota, QuotaList, QuotaView

TAGS = ["quotas"]


@get("/quotas", tags=TAGS, sync_to_thread=True)
def list_quotas(caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]) -> QuotaList:
    """The quota policies that the caller may see."""
    with control.read() as session:
        return service.list_quotas(session, caller)


@get("/quotas/{quota:str}", tags=TAGS, sync_to_thread=True)
def show_quota(
    quota: FromPath[str], caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> Response[QuotaView]:
    """One quota policy, with its ETag."""
    with control.read() as session:
        return tagged(service.show_quota(session, caller, quota))


@put("/quotas/{quota:str}", tags=TAGS, sync_to_thread=True)
def put_quota(
    quota: FromPath[str],
    data: JSONBody[PutQuota],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[QuotaView]:
    """Make a quota policy or replace it. Live on every worker within a second; what was used stays used."""

    def verb(change: Change) -> tuple[QuotaView, bool]:
        return service.put_quota(change, caller, quota, data, Preconditions(if_match, if_none_match))

    view, created = control.change(caller, verb)
    return tagged(view, created=created)


@delete("/quotas/{quota:str}", tags=TAGS, sync_to_thread=True)
def delete_quota(
    quota: FromPath[str],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    reason: ReasonQuery = None,
) -> None:
    """Delete a quota policy."""

    def verb(change: Change) -> None:
        service.delete_quota(change, caller, quota, Preconditions(if_match), reason)

    control.change(caller, verb)


ROUTES = [list_quotas, show_quota, put_quota, delete_quota]
