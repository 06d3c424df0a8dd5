"""What the routes of all features share: who calls, strict bodies, and errors in the one form."""

import hmac
import logging
from collections.abc import Generator
from typing import Annotated, Any, Protocol, TypeVar

from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.dto import AbstractDTO
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Reference, Schema
from litestar.params import HeaderParameter, QueryParameter
from litestar.routes import HTTPRoute
from litestar.typing import FieldDefinition

from gateway.controlplane.edge.asgi import REQUEST_ID
from gateway.controlplane.edge.caller import Caller, authenticate, bearer_token
from gateway.controlplane.edge.preconditions import etag
from gateway.controlplane.plane import ControlPlane
from gateway.errors import HTTP_STATUS, GatewayError, Kind, Source
from gateway.problem import CONTENT_TYPE, problem_body, retry_after
from gateway.strict_json import decode_body

log = logging.getLogger(__name__)

Connection = ASGIConnection[Any, Any, Any, Any]
HttpRequest = Request[Any, Any, Any]

IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", description="The ETag that the caller has seen; required to overwrite."),
]
IfNoneMatch = Annotated[
    str | None, HeaderParameter(name="If-None-Match", description="`*`: only where there is nothing yet.")
]
ReasonQuery = Annotated[
    str | None,
    QueryParameter(
        max_length=1000,
        pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$",
        description="Why, for the audit.",
    ),
]
Force = Annotated[
    bool,
    QueryParameter(
        description="Although it is still called: its callers are cut off, and named in the audit. Takes a reason."
    ),
]
DryRun = Annotated[
    bool,
    QueryParameter(description="Check all of it and answer what would stand then; change nothing."),
]
Accept = Annotated[str, HeaderParameter(name="Accept")]
Limit = Annotated[int, QueryParameter(ge=1, le=1000)]

_KINDS = {status: kind for kind, (status, _) in HTTP_STATUS.items()}
_CALLER = "maas_caller"


class Revised(Protocol):
    """What has a revision, which is its ETag."""

    @property
    def revision(self) -> int:
        """Rises with each change."""


View = TypeVar("View", bound=Revised)


def tagged(view: View, *, created: bool = False) -> Response[View]:
    """The reply that shows `view` with its ETag: 201 where the request created it."""
    return Response(view, status_code=201 if created else 200, headers={"ETag": etag(view.revision)})


class StrictBody(AbstractDTO[Any]):
    """Decodes every body by `decode_body`, whatever the route takes; the OpenAPI document shows the type itself."""

    def decode_bytes(self, value: bytes) -> Any:
        """The body as the type of the route's `data`."""
        field = self.asgi_connection.route_handler.parsed_data_field
        return decode_body(value, field.annotation)

    @classmethod
    def create_for_field_definition(cls, *_: Any, **__: Any) -> None:
        """Nothing is generated: the types are decoded as they stand."""

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        """The type's own schema."""
        found: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return found

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:
        """No fields of its own."""
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        """None are nested."""
        return False


def control_of(connection: Connection) -> ControlPlane:
    """The control plane behind the application."""
    control: ControlPlane = connection.app.state.control
    return control


def require_caller(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: a principal's key or token. The caller is then there for the route."""
    control = control_of(connection)
    published = control.publisher.published
    snapshot = published.snapshot if published else None
    tokens = None if control.issuers is None else control.issuers.tokens
    principal = authenticate(connection.scope["headers"], control.digest_key, snapshot, tokens)
    assert snapshot is not None
    connection.scope[_CALLER] = Caller(principal, connection.scope[REQUEST_ID], snapshot)  # type: ignore[literal-required]


def require_worker(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: the token that all workers of this installation share."""
    token = bearer_token(connection.scope["headers"])
    if not hmac.compare_digest(token.encode(), control_of(connection).worker_token.encode()):
        raise GatewayError(Kind.UNAUTHENTICATED, "The worker token is not that of this installation.")


async def provide_caller(request: HttpRequest) -> Caller:
    """The caller whom the guard let in."""
    caller: Caller = request.scope[_CALLER]  # type: ignore[literal-required]
    return caller


async def provide_control(request: HttpRequest) -> ControlPlane:
    """The control plane."""
    return control_of(request)


def answer_error(request: HttpRequest, error: Exception) -> Response[bytes]:
    """The problem document of whatever went wrong."""
    known = _known(error)
    request_id = str(request.scope.get(REQUEST_ID, "-"))
    if known is None:
        log.error("request %s failed", request_id, exc_info=error, extra={"request_id": request_id})
        known = GatewayError(
            Kind.INTERNAL,
            "The control plane failed; its log tells why, by this request's id.",
            source=Source.GATEWAY,
        )
    status, body = problem_body(known, request_id)
    headers = {"Retry-After": after} if (after := retry_after(known)) else {}
    if known.kind is Kind.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = 'Bearer realm="maas"'
    if known.kind is Kind.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return Response(body, status_code=status, media_type=CONTENT_TYPE, headers=headers)


def _methods(request: HttpRequest) -> set[str]:
    """The methods that the path takes (RFC 9110 section 15.5.6)."""
    steps = request.scope["path"].strip("/").split("/")
    found: set[str] = set()
    for route in request.app.routes:
        parts = route.path_components
        alike = len(parts) == len(steps) and all(
            part == step or not isinstance(part, str) for part, step in zip(parts, steps, strict=True)
        )
        if alike and isinstance(route, HTTPRoute):
            found |= set(route.methods)
    return found


def _known(error: Exception) -> GatewayError | None:
    if isinstance(error, GatewayError):
        return error
    if not isinstance(error, HTTPException) or error.status_code >= 500:
        return None
    kind = _KINDS.get(error.status_code, Kind.BAD_REQUEST)
    if kind is Kind.NOT_FOUND:
        return GatewayError(kind, "There is nothing at this path.")
    if kind is Kind.METHOD_NOT_ALLOWED:
        return GatewayError(kind, "This path does not take that method.")
    problems = tuple(_problem(each) for each in error.extra) if isinstance(error.extra, list) else ()
    return GatewayError(kind, "; ".join(problems) or error.detail, problems=problems)


def _problem(fault: Any) -> str:
    if isinstance(fault, dict):
        return f"{fault.get('key', '?')}: {fault.get('message', 'is not valid')}"
    return str(fault)
