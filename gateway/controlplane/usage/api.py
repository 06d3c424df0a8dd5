"""Routes of the usage."""

from datetime import date
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.plane import ControlPlane
from gateway.controlplane.usage import service
from gateway.controlplane.usage.schemas import UsageReply

FirstDay = Annotated[
    date | None,
    QueryParameter(name="from", description="The first day (UTC); by default six days before the last."),
]
LastDay = Annotated[
    date | None, QueryParameter(name="to", description="The last day (UTC); by default today.")
]
By = Annotated[
    str, QueryParameter(description="Comma-separated dimensions: day, application, alias, model, version.")
]


@get("/usage", tags=["usage"], sync_to_thread=True)
def show_usage(
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    first_day: FirstDay = None,
    last_day: LastDay = None,
    by: By = "day,application,alias",
    application: FromQuery[str | None] = None,
    alias: FromQuery[str | None] = None,
    team: FromQuery[str | None] = None,
) -> UsageReply:
    """Who used what, of the aliases that the caller may read, and the caller's own calls."""
    dimensions = [name.strip() for name in by.split(",") if name.strip()]
    with control.read() as session:
        return service.show_usage(
            session,
            caller,
            by=dimensions,
            first_day=first_day,
            last_day=last_day,
            application=application,
            alias=alias,
            team=team,
        )


ROUTES = [show_usage]
