"""Every setting and its default: one frozen object, of which parts get what they need."""

import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import msgspec

from gateway.collector import Traces
from gateway.issuers import Issuer

Role = Literal["all", "data", "control"]
_PASSWORD = re.compile(r"://[^:/@]*:(.+)@")


class SettingsError(Exception):
    """The settings cannot be used; `problems` has one line for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Inference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The inference port and its limits. Sizes in bytes, times in seconds.

    `grpc_port` 0: no gRPC. `ops_port` has health and metrics of a process with role data, which has no control port.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int = 8081
    ops_port: int = 8082
    max_body_bytes: int = 64 * 1024 * 1024
    max_header_bytes: int = 64 * 1024
    max_headers: int = 100
    max_connections: int = 10_000
    head_timeout_s: float = 10.0
    body_min_bytes_per_s: int = 1024
    idle_timeout_s: float = 75.0
    deadline_s: float = 30.0
    max_deadline_s: float = 300.0
    drain_notice_s: float = 5.0
    drain_limit_s: float = 30.0
    orphan_limit_s: float = 300.0


class AdmissionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many calls of a model version one host has in flight, and who waits for how long (seconds) when that is full.

    `queue_length` is each tenant's. Who has been `alone` with a version for so long is not held back for its latency's sake.
    """

    enabled: bool = True
    initial_limit: int = 64
    min_limit: int = 4
    max_limit: int = 10_000
    queue_length: int = 50
    queue_wait_s: float = 1.0
    alone_s: float = 300.0


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The control port; `url` is where a data plane finds its control plane (default: this host's own port)."""

    host: str = "127.0.0.1"
    port: int = 8090
    url: str | None = None


class Database(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SQLAlchemy URL of the control plane's database; by default SQLite in the data folder."""

    url: str | None = None


class PoolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pool declared in the settings; it can then be changed only there.

    `grpc_endpoints`, one for each endpoint (`grpc://HOST:PORT`): where they speak gRPC, if not on the port behind.
    """

    engine: Literal["triton", "embedded"] = "triton"
    endpoints: tuple[str, ...] = ()
    grpc_endpoints: tuple[str, ...] = ()


class Embedded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The embedded engine: its model repository, its worker threads, and whether it runs models that are Python code."""

    model_repository: Path | None = None
    threads: int = 2
    python_models: bool = False


class Upstream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the data plane talks to Triton. Times in seconds, sizes in bytes; `max_message_bytes` are of a reply over gRPC.

    `model_repository`: where this host sees the folder that the servers load from, None where it does not. Every
    `files_check_s` the files of registered versions are looked at, there and in the embedded engine's.
    """

    connect_timeout_s: float = 2.0
    probe_interval_s: float = 1.0
    probe_timeout_s: float = 1.0
    max_idle_connections: int = 1024
    idle_connection_s: float = 60.0
    max_reply_header_bytes: int = 64 * 1024
    max_message_bytes: int = 64 * 1024 * 1024
    model_repository: Path | None = None
    files_check_s: float = 30.0


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How workers share quotas. `redis_url`: where they count together; None: each counts its own share of each limit.

    `workers` are how many share at least, over all hosts; of this host's own it need not be told. `wait_s`: a store that
    has not answered for so many seconds is away.
    """

    redis_url: str | None = None
    workers: int = 1
    wait_s: float = 0.25


class SequenceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many sequences are open at once on this host, and where they are remembered. Seconds.

    `most_of_each` principal, rounded up to 64. `idle_s`: where the model's own time-out is not known. `redis_url`: the hosts
    that share it go by the same sequences; None: each host by its own.
    """

    most: int = 65_536
    most_of_each: int = 1024
    idle_s: float = 60.0
    redis_url: str | None = None
    wait_s: float = 0.25


class Logs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`access`: a file path, `-` for standard output, or empty for none (default: logs/access.jsonl in the data folder).

    `format` and `level` are of the process's own log, on standard error.
    """

    access: str | None = None
    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Samples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where masked samples go, and how much of them. Sizes in bytes, times in seconds; the queue is each worker's.

    `url`: a folder or an fsspec URL (default: samples in the data folder). `max_bytes` of a request, and of a reply.
    """

    url: str | None = None
    max_bytes: int = 256 * 1024
    queue_rows: int = 10_000
    queue_bytes: int = 64 * 1024 * 1024
    file_rows: int = 5_000
    file_s: float = 60.0
    stop_limit_s: float = 5.0
    retention_days: int = 30


class Policies(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Folder with model.conf, rules.csv and cases.csv; the rules seed an empty database."""

    folder: Path = Path("policies")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a gateway process is told at its start."""

    data_dir: Path = Path("maas-data")
    role: Role = "all"
    workers: int = 1
    secret: str | None = None
    inference: Inference = Inference()
    admission: AdmissionSettings = AdmissionSettings()
    control: Control = Control()
    database: Database = Database()
    upstream: Upstream = Upstream()
    embedded: Embedded = Embedded()
    pools: dict[str, PoolSettings] = {}
    issuers: dict[str, Issuer] = {}
    policies: Policies = Policies()
    quota: Quota = Quota()
    sequences: SequenceSettings = SequenceSettings()
    logs: Logs = Logs()
    samples: Samples = Samples()
    traces: Traces = Traces()

    @property
    def database_url(self) -> str:
        """The database's SQLAlchemy URL."""
        return self.database.url or f"sqlite:///{self.data_dir.resolve() / 'maas.db'}"

    @property
    def control_url(self) -> str:
        """Where the data plane reaches the control plane."""
        return self.control.url or f"http://127.0.0.1:{self.control.port}"

    @property
    def access_log(self) -> str:
        """Where the access log goes; empty for nowhere."""
        default = str(self.data_dir / "logs" / "access.jsonl")
        return default if self.logs.access is None else self.logs.access

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every credential that stands in these settings: no log may show one."""
        password = _PASSWORD.search(self.database_url)
        found = [self.secret, password and password[1], password and unquote(password[1])]
        return tuple(text for text in (*found, *self.traces.header_values.values()) if text)

    @property
    def samples_url(self) -> str:
        """Where samples are kept: a folder, or a URL that fsspec opens."""
        return self.samples.url or str(self.data_dir.resolve() / "samples")
