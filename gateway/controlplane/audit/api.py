"""Routes of the audit."""

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from gateway.controlplane.audit import service
from gateway.controlplane.audit.schemas import AuditList
from gateway.controlplane.edge.api import Limit
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.plane import ControlPlane


@get("/audit", tags=["audit"], sync_to_thread=True)
def list_audit(
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    limit: Limit = 100,
    before: Annotated[
        int | None, QueryParameter(ge=1, le=2**63 - 1, description="Only rows with a lower id.")
    ] = None,
    obj: Annotated[
        str | None,
        QueryParameter(
            name="object", pattern=r"^[A-Za-z0-9:._@-]{1,200}$", description="`alias:digits`, or `digits`."
        ),
    ] = None,
    actor: Annotated[str | None, QueryParameter(pattern=r"^[A-Za-z0-9:._@-]{1,200}$")] = None,
) -> AuditList:
    """Who changed what, newest first."""
    with control.read() as session:
        return service.list_rows(session, caller, limit=limit, before=before, obj=obj, actor=actor)


ROUTES = [list_audit]
