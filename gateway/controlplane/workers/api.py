"""Routes of the workers."""

from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from sqlalchemy.orm import Session

from gateway.controlplane.edge.api import require_worker
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.plane import ControlPlane
from gateway.controlplane.samples import deletions
from gateway.controlplane.workers import service
from gateway.controlplane.workers.schemas import WorkerList
from gateway.reports import Report, ReportAnswer, SampleDeletion


@get("/workers", tags=["workers"], sync_to_thread=True)
def list_workers(caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]) -> WorkerList:
    """What each worker of the last hour reported, and how long ago."""
    with control.read() as session:
        return service.list_workers(session, caller)


@post(
    "/workers/{worker:str}/report",
    tags=["workers"],
    guards=[require_worker],
    status_code=200,
    sync_to_thread=True,
    security=[{"worker": []}],
)
def report(
    worker: FromPath[str], data: JSONBody[Report], control: NamedDependency[ControlPlane]
) -> Response[ReportAnswer | None]:
    """A worker's own state and the keys that it saw used. 204 where there is nothing to tell it."""
    control.workers.heard(worker, data.inference_url)
    if data.usage is not None:
        control.callers.heard(data.usage.rows)
    shared = control.callers.shared()

    def take(session: Session) -> list[SampleDeletion]:
        service.take_report(session, worker, data)
        return deletions.unknown_to(session, data.samples)

    unknown = control.database.write(take)
    if not unknown and not shared:
        return Response(None, status_code=204)
    return Response(ReportAnswer(unknown, shared))


@delete(
    "/workers/{worker:str}",
    tags=["workers"],
    guards=[require_worker],
    sync_to_thread=True,
    security=[{"worker": []}],
)
def forget(worker: FromPath[str], control: NamedDependency[ControlPlane]) -> None:
    """A worker's last word, after its last report: it has ended, and nobody need miss it."""
    control.workers.heard(worker, None)
    control.database.write(lambda session: service.forget_worker(session, worker))


ROUTES = [list_workers]
WORKER_ROUTES = [report, forget]
