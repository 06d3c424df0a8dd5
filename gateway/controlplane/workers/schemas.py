"""Workers as the API shows them."""

from datetime import datetime

import msgspec

from gateway.reports import ChangedFiles, EndpointReport, SampleReport


class WorkerView(msgspec.Struct, frozen=True):
    """A worker's last report and its age in seconds."""

    worker: str
    host: str
    pid: int
    role: str
    snapshot_version: int
    started_at: float
    reported_at: datetime
    age_s: float
    inference_url: str | None
    endpoints: list[EndpointReport]
    samples: SampleReport | None
    quota_workers: int | None
    changed_files: list[ChangedFiles]


class WorkerList(msgspec.Struct, frozen=True):
    """The workers that reported within the last hour, by name."""

    workers: list[WorkerView]
