"""Routes of what retires: the same below an alias and below a version of a model."""

from typing import Annotated

from litestar import Response, Router, delete, get, put
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from gateway.controlplane.change import Change
from gateway.controlplane.deprecations import callers, notes, service
from gateway.controlplane.deprecations.schemas import (
    CallerList,
    DeprecationList,
    DeprecationView,
    NoteView,
    PutDeprecation,
    PutNote,
)
from gateway.controlplane.deprecations.subject import AliasSubject, Subject, VersionSubject
from gateway.controlplane.edge.api import IfMatch, IfNoneMatch, Limit, ReasonQuery, tagged
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.controlplane.plane import ControlPlane

TAGS = ["deprecations"]

Days = Annotated[
    int,
    QueryParameter(
        ge=1, le=callers.MOST_DAYS, description="Whole days before today; a trend takes fourteen."
    ),
]


async def provide_alias(alias: FromPath[str]) -> Subject:
    """The alias of the path."""
    return AliasSubject(alias)


async def provide_version(model: FromPath[str], version: FromPath[int]) -> Subject:
    """The version of the path."""
    return VersionSubject(model, version)


@get("/deprecations", tags=TAGS, sync_to_thread=True)
def list_deprecations(
    caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> DeprecationList:
    """Everything that retires and that the caller may see, the next sunset first, with how many still call it."""
    with control.read() as session:
        return service.list_deprecations(session, caller)


@get("/", tags=TAGS, sync_to_thread=True)
def show_deprecation(
    subject: NamedDependency[Subject], caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> Response[DeprecationView]:
    """The announced end, with its ETag, and what callers are told of it."""
    with control.read() as session:
        return tagged(service.show_deprecation(session, caller, subject))


@put("/", tags=TAGS, sync_to_thread=True)
def put_deprecation(
    subject: NamedDependency[Subject],
    data: JSONBody[PutDeprecation],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[DeprecationView]:
    """Announce the end, or replace the announcement whole. Callers hear of it within a second, with every reply."""

    def verb(change: Change) -> tuple[DeprecationView, bool]:
        preconditions = Preconditions(if_match, if_none_match)
        return service.put_deprecation(change, caller, subject, data, preconditions)

    view, created = control.change(caller, verb)
    return tagged(view, created=created)


@delete("/", tags=TAGS, sync_to_thread=True)
def withdraw_deprecation(
    subject: NamedDependency[Subject],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    reason: ReasonQuery = None,
) -> None:
    """Take the announcement back."""

    def verb(change: Change) -> None:
        service.withdraw_deprecation(change, caller, subject, Preconditions(if_match), reason)

    control.change(caller, verb)


@get("/callers", tags=TAGS, sync_to_thread=True)
def list_callers(
    subject: NamedDependency[Subject],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    days: Days = callers.DEFAULT_DAYS,
    limit: Limit = 1000,
) -> CallerList:
    """Who still calls, how often, whether it is falling, and what is noted of them. Also before an end is announced."""
    with control.read() as session:
        return callers.list_callers(session, caller, subject, days, limit)


@put("/callers/{principal:str}/note", tags=TAGS, sync_to_thread=True)
def put_note(
    subject: NamedDependency[Subject],
    principal: FromPath[str],
    data: JSONBody[PutNote],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[NoteView]:
    """Note whom to ask about a consumer, who need not have called yet."""

    def verb(change: Change) -> tuple[NoteView, bool]:
        preconditions = Preconditions(if_match, if_none_match)
        return notes.put_note(change, caller, subject, principal, data, preconditions)

    view, created = control.change(caller, verb)
    return tagged(view, created=created)


@delete("/callers/{principal:str}/note", tags=TAGS, sync_to_thread=True)
def delete_note(
    subject: NamedDependency[Subject],
    principal: FromPath[str],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
    reason: ReasonQuery = None,
) -> None:
    """Take the note away."""

    def verb(change: Change) -> None:
        notes.delete_note(change, caller, subject, principal, Preconditions(if_match), reason)

    control.change(caller, verb)


_OF_A_SUBJECT: list[ControllerRouterHandler] = [
    show_deprecation,
    put_deprecation,
    withdraw_deprecation,
    list_callers,
    put_note,
    delete_note,
]

ROUTES: list[ControllerRouterHandler] = [
    list_deprecations,
    Router(
        "/aliases/{alias:str}/deprecation",
        route_handlers=_OF_A_SUBJECT,
        dependencies={"subject": Provide(provide_alias)},
    ),
    Router(
        "/models/{model:str}/versions/{version:int}/deprecation",
        route_handlers=_OF_A_SUBJECT,
        dependencies={"subject": Provide(provide_version)},
    ),
]
