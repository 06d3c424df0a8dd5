"""What the doctor looks at in the data plane's workers: this host's processes, and what all workers last reported."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.cli.client import Control
from gateway.cli.doctor.findings import Finding, broken, ok, warning
from gateway.cli.output import Refused
from gateway.settings import Settings
from gateway.snapshot.document import SnapshotDocument

_SILENT_S = 5.0

Report = Mapping[str, Any]


def look_at_processes(settings: Settings) -> Iterator[Finding]:
    """Whether the workers that the settings ask for run on this host, and have a core each."""
    if settings.role == "control" or settings.workers == 1:
        return
    cores = len(os.sched_getaffinity(0))
    if settings.workers > cores:
        found = f"workers = {settings.workers}, and {cores} cores"
        yield warning("workers", found, f"set workers to {cores} at most: more gain nothing and take memory")
    told = _told(settings.data_dir / f"gateway-{settings.role}.json")
    if told is None:
        return  # the ports say whether a gateway runs
    running = {number: pid for number, pid in told.get("workers", {}).items() if _runs(pid)}
    if not _runs(told["pid"]):
        if running:
            found = f"{len(running)} left of {settings.workers}: their supervisor has died"
            todo = f"start it: maas serve; without one they end after {settings.inference.orphan_limit_s:g} s"
            yield warning("workers", found, todo)
        return
    found = f"{len(running)} of {settings.workers} run under process {told['pid']}"
    if "workers" not in told:
        found = f"process {told['pid']} serves alone, workers = {settings.workers}"
        yield warning("workers", found, "restart it: the number of workers is read at the start")
    elif len(running) < settings.workers:
        yield warning("workers", found, "it starts them again; its log says why they end")
    else:
        pids = ", ".join(
            f"{number} ({pid})" for number, pid in sorted(running.items(), key=lambda each: int(each[0]))
        )
        yield ok("workers", f"{found}: {pids}")


def look_at_workers(settings: Settings, newest: SnapshotDocument | None) -> Iterator[Finding]:
    """What the data-plane workers last reported, for those whose MAAS_KEY may read that."""
    key = os.environ.get("MAAS_KEY", "").strip()
    if not key or newest is None:
        return
    try:
        with Control(settings.control_url, key, timeout_s=5.0) as control:
            workers = control.get("/api/v1/workers")["workers"]
    except Refused as refused:
        yield warning("workers", refused.message, "set MAAS_KEY to a key that may read @workers")
        return
    yield from judge(workers, newest.version)


def judge(workers: Sequence[Report], published: int) -> Iterator[Finding]:
    """One finding for each worker, those left out in whose place another one has come."""
    if not workers:
        yield warning("workers", "none has reported within the last hour", "start one: maas serve")
    places = {_place(worker) for worker in workers if worker["age_s"] <= _SILENT_S}
    for worker in workers:
        if worker["age_s"] > _SILENT_S:
            if _place(worker) not in places:
                found = f"{worker['worker']} was last heard of {worker['age_s']:.0f} s ago"
                todo = "if it should run, start it; one that was killed is forgotten after an hour"
                yield warning("workers", found, todo)
            continue
        for each in worker.get("changed_files", ()):
            found = f"{each['model']}@{each['version']} at {worker['host']}: {each['why']}"
            todo = "put the registered files back, or register what is there under a new number"
            yield broken("files", found, todo)
        if worker["snapshot_version"] < published:
            found = (
                f"{worker['worker']} serves snapshot {worker['snapshot_version']}, {published} is published"
            )
            yield broken("workers", found, "its log says why it refuses the newer one")
        else:
            yield ok(
                "workers", f"{worker['worker']} serves snapshot {worker['snapshot_version']}{_seen(worker)}"
            )


def _place(worker: Report) -> tuple[str, str, str]:
    """Host, role and the worker's number, which ends its name: HOST-PID-NUMBER."""
    return worker["host"], worker["role"], worker["worker"].removeprefix(f"{worker['host']}-{worker['pid']}-")


def _seen(worker: Report) -> str:
    """Where a worker takes requests, how many endpoints it sees ready, and which do not tell their versions."""
    found = f" at {worker['inference_url']}" if worker["inference_url"] else ""
    endpoints = worker["endpoints"]
    if endpoints:
        found += f"; {sum(each['ready'] for each in endpoints)} of {len(endpoints)} endpoints ready"
    untold = [each["url"] for each in endpoints if each["ready"] and each["versions"] is None]
    return found + (f", which versions are loaded is not told by {', '.join(untold)}" if untold else "")


def _told(path: Path) -> dict[str, Any] | None:
    """What the gateway of this data folder told of itself; None where none has."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("pid"), int) else None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True
