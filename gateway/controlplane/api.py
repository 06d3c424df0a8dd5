"""Assembles the HTTP face of the control plane."""

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Response, Router, get
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.enums import OpenAPIMediaType
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Reference, SecurityScheme

from gateway.controlplane.access import api as access
from gateway.controlplane.adapters import api as adapters
from gateway.controlplane.aliases import api as aliases
from gateway.controlplane.audit import api as audit
from gateway.controlplane.deprecations import api as deprecations
from gateway.controlplane.edge import api as edge
from gateway.controlplane.edge.asgi import surround
from gateway.controlplane.edge.openapi import with_problems
from gateway.controlplane.plane import ControlPlane, StartRefused
from gateway.controlplane.quotas import api as quotas
from gateway.controlplane.registry import api as registry
from gateway.controlplane.samples import api as samples
from gateway.controlplane.snapshots import api as snapshots
from gateway.controlplane.usage import api as usage
from gateway.controlplane.workers import api as workers
from gateway.errors import GatewayError

log = logging.getLogger(__name__)

MOST_BODY_BYTES = 4 * 1024 * 1024
"""Ten thousand rules and as many roles take about one."""

OPEN_AGAIN_S = 1.0
THREADS = 32

_DESCRIPTION = """Aliases, models, pools, quotas, usage, keys, the policy and the audit of a maas gateway.
Errors are problem documents (RFC 9457); whatever can be overwritten has an ETag and takes If-Match."""


def create_app(control: NamedDependency[ControlPlane]) -> Litestar:
    """The ASGI application. It opens the control plane if nobody did, and keeps trying while the database is away."""
    principals = Router(
        "/api/v1",
        guards=[edge.require_caller],
        route_handlers=[
            *aliases.ROUTES,
            *adapters.ROUTES,
            *registry.ROUTES,
            *samples.ROUTES,
            *deprecations.ROUTES,
            *access.ROUTES,
            *quotas.ROUTES,
            *usage.ROUTES,
            *audit.ROUTES,
            *snapshots.ROUTES,
            *workers.ROUTES,
        ],
    )
    installation = Router("/api/v1", route_handlers=[*snapshots.WORKER_ROUTES, *workers.WORKER_ROUTES])
    app = Litestar(
        route_handlers=[principals, installation, live, ready, metrics],
        state=State({"control": control}),
        dependencies={"caller": Provide(edge.provide_caller), "control": Provide(edge.provide_control)},
        dto=edge.StrictBody,
        return_dto=None,
        exception_handlers={
            GatewayError: edge.answer_error,
            HTTPException: edge.answer_error,
            Exception: edge.answer_error,
        },
        lifespan=[_following(control)],
        request_max_body_size=MOST_BODY_BYTES,
        openapi_config=_openapi(),
        logging_config=None,
        debug=False,
    )
    # Litestar's own middleware runs behind its router, and never for what no route takes.
    app.asgi_handler = surround(app.asgi_handler)  # type: ignore[arg-type, assignment]
    return app


@get("/health/live", tags=["health"], security=[{}], sync_to_thread=False)
def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@get("/health/ready", tags=["health"], security=[{}], sync_to_thread=False)
def ready(control: NamedDependency[ControlPlane]) -> Response[dict[str, Any]]:
    """Whether changes can be made: the database answers and a snapshot is published. Else 503.

    Where this host's data plane is several workers, one of them must be ready too."""
    published, refusal = control.publisher.published, control.publisher.refusal
    document: dict[str, Any] = {
        "status": "ready" if control.ready else "not ready",
        "database": "answers" if control.database_answers else "does not answer",
        "snapshot": published.version if published else 0,
        "refused": {"version": refusal.version, "problems": len(refusal.problems)} if refusal else None,
    }
    if control.serving is not None:
        document["workers"] = control.serving()
    return Response(document, status_code=200 if control.ready else 503)


@get("/metrics", include_in_schema=False, sync_to_thread=True)
def metrics(control: NamedDependency[ControlPlane], accept: edge.Accept = "") -> Response[bytes]:
    """All metrics of this host, as Prometheus text or OpenMetrics."""
    body, content_type = control.metrics(accept)
    # Litestar adds the character set to text by itself.
    bare = content_type.removesuffix("; charset=utf-8") if content_type.startswith("text/") else content_type
    return Response(body, media_type=bare)


def _following(control: NamedDependency[ControlPlane]) -> Any:
    @asynccontextmanager
    async def following(_: Litestar) -> AsyncIterator[None]:
        # Requests wait for the database in these; a machine's few default threads would soon all be waiting.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "control"))
        tasks = [asyncio.create_task(_follow(control))]
        if control.issuers is not None:
            tasks.append(asyncio.create_task(control.issuers.run()))
        try:
            yield
        finally:
            control.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(control.close)

    return following


async def _follow(control: NamedDependency[ControlPlane]) -> None:
    while True:
        try:
            if await asyncio.to_thread(control.open):
                break
        except StartRefused as error:
            for problem in error.problems:
                log.error("the control plane cannot start: %s", problem)
        except Exception:
            log.exception("the control plane could not be opened")
        await asyncio.sleep(OPEN_AGAIN_S)
    await control.publisher.follow()


class _Rendered(JsonRenderPlugin):
    def render(self, request: Any, openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, with_problems(openapi_schema))


def _openapi() -> OpenAPIConfig:
    schemes: dict[str, SecurityScheme | Reference] = {
        "key": SecurityScheme(
            type="http", scheme="bearer", description="An API key, or a token (JWT) of a declared issuer."
        ),
        "keyHeader": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header"),
        "worker": SecurityScheme(
            type="http", scheme="bearer", description="The token of the data-plane workers."
        ),
    }
    return OpenAPIConfig(
        title="maas control plane",
        version="1",
        description=_DESCRIPTION,
        use_handler_docstrings=True,
        components=Components(security_schemes=schemes),
        security=[{"key": []}, {"keyHeader": []}],
        path="/schema",
        render_plugins=[_Rendered(path=["/openapi.json", "/"], media_type=OpenAPIMediaType.OPENAPI_JSON)],
    )
