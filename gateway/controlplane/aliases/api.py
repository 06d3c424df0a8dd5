"""Routes of the aliases."""

from typing import Annotated

from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from gateway.controlplane.aliases import service, views
from gateway.controlplane.aliases.schemas import AliasList, AliasView, History, PutAlias, RollbackAlias
from gateway.controlplane.change import Change
from gateway.controlplane.edge.api import Force, IfMatch, IfNoneMatch, Limit, ReasonQuery, tagged
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.controlplane.plane import ControlPlane

TAGS = ["aliases"]


@get("/aliases", tags=TAGS, sync_to_thread=True)
def list_aliases(
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    team: FromQuery[str | None] = None,
    part: Annotated[str | None, QueryParameter(name="q", description="Part of the name.")] = None,
) -> AliasList:
    """The aliases that the caller may see."""
    with control.read() as session:
        return views.list_aliases(session, caller, team=team, part=part)


@get("/aliases/{alias:str}", tags=TAGS, sync_to_thread=True)
def show_alias(
    alias: FromPath[str], caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> Response[AliasView]:
    """One alias, with its ETag."""
    with control.read() as session:
        return tagged(views.show_alias(session, caller, alias))


@put("/aliases/{alias:str}", tags=TAGS, sync_to_thread=True)
def put_alias(
    alias: FromPath[str],
    data: JSONBody[PutAlias],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[AliasView]:
    """Create an alias or set its targets. Live on every worker within a second; identical targets change nothing."""

    def verb(change: Change) -> tuple[AliasView, bool]:
        row, created = service.put_alias(change, caller, alias, data, Preconditions(if_match, if_none_match))
        return views.alias_view(change.session, row), created

    view, created = control.change(caller, verb)
    return tagged(view, created=created)


@delete("/aliases/{alias:str}", tags=TAGS, sync_to_thread=True)
def delete_alias(
    alias: FromPath[str],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    reason: ReasonQuery = None,
    force: Force = False,
) -> None:
    """Delete an alias that nobody calls any more. Its history stays, and a rollback brings it back, with no end announced."""

    def verb(change: Change) -> None:
        service.delete_alias(change, caller, alias, Preconditions(if_match), reason, force=force)

    control.change(caller, verb)


@get("/aliases/{alias:str}/history", tags=TAGS, sync_to_thread=True)
def alias_history(
    alias: FromPath[str],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    limit: Limit = 50,
) -> History:
    """Who changed the alias, when, from what, to what and why; newest first."""
    with control.read() as session:
        return views.history(session, caller, alias, limit)


@post("/aliases/{alias:str}/rollback", tags=TAGS, status_code=200, sync_to_thread=True)
def rollback_alias(
    alias: FromPath[str],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    data: JSONBody[RollbackAlias | None] = None,
    if_match: IfMatch = None,
) -> Response[AliasView]:
    """Restore an earlier revision, with every caller back in the bucket's arm it had then."""

    def verb(change: Change) -> AliasView:
        body = data or RollbackAlias()
        row = service.rollback_alias(change, caller, alias, body, Preconditions(if_match))
        return views.alias_view(change.session, row)

    return tagged(control.change(caller, verb))


ROUTES = [list_aliases, show_alias, put_alias, delete_alias, alias_history, rollback_alias]
