"""Routes of the snapshot."""

from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from gateway.controlplane.edge.api import require_worker
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.plane import ControlPlane
from gateway.controlplane.snapshots.schemas import RefusalView, SnapshotStatus

MOST_WAIT_S = 30.0


@get(
    "/snapshot",
    tags=["workers"],
    guards=[require_worker],
    media_type="application/octet-stream",
    security=[{"worker": []}],
)
async def next_snapshot(
    control: NamedDependency[ControlPlane],
    after: Annotated[
        int, QueryParameter(ge=0, le=2**63 - 1, description="The version that the worker has.")
    ] = 0,
    installation: Annotated[
        str | None,
        QueryParameter(max_length=64, description="The installation that this version belongs to."),
    ] = None,
    wait: Annotated[
        float, QueryParameter(ge=0.0, le=MOST_WAIT_S, description="Seconds to wait for another.")
    ] = 0.0,
) -> Response[bytes]:
    """The published snapshot as soon as it is another than `after`; 204 when `wait` passes first."""
    published = await control.publisher.wait_for_other(after, wait, installation)
    if published is None:
        return Response(b"", status_code=204)
    return Response(published.encoded, media_type="application/octet-stream")


@get("/snapshot/status", tags=["workers"], sync_to_thread=False)
def snapshot_status(
    caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> SnapshotStatus:
    """The published version, and what was refused since, with every reason."""
    caller.demand("read", "@workers")
    published, refusal = control.publisher.published, control.publisher.refusal
    return SnapshotStatus(
        version=published.version if published else 0,
        created_at=published.document.created_at if published else None,
        refused=RefusalView(refusal.version, refusal.at, list(refusal.problems)) if refusal else None,
    )


ROUTES = [snapshot_status]
WORKER_ROUTES = [next_snapshot]
