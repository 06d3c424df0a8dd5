"""Every metric of the gateway, defined once. Labels have bounded values: no principal, no request id, no path."""

from collections.abc import Mapping
from typing import Literal

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway.observe.quotas import QuotaTallies
from gateway.observe.steps import Connectings, Counts
from gateway.observe.tally import LABELS, Tallies

CALLS = Tallies()
"""`maas_requests_total` and the durations of requests, of the gateway's part and of the upstream's: inferences, and nothing else."""
REGISTRY.register(CALLS)

READS = Counter(
    "maas_reads_total",
    "Questions about a model answered (metadata, ready, config, stats), by what became of them; they are no inferences.",
    (*LABELS, "operation", "outcome"),
)

QUOTAS = QuotaTallies()
"""`maas_quota_taken_total`, `maas_quota_local_total` and `maas_quota_refused_total`."""
REGISTRY.register(QUOTAS)

AUTHENTICATIONS = Counts(
    "maas_authentications_total",
    "Credentials looked at; several and malformed ones are refused without a look-up.",
    "outcome",
    ("key", "token", "none", "several", "malformed", "unknown", "expired", "token_refused"),
)
AUTHORIZATIONS = Counts(
    "maas_authorizations_total",
    "Requests by what the policy said; failed is a policy that could not decide.",
    "outcome",
    ("allowed", "forbidden", "not_found", "failed"),
)
DECISIONS = Counter(
    "maas_policy_decisions_total", "Decisions that were not remembered from an earlier request."
)
RESOLUTIONS = Counts(
    "maas_resolutions_total",
    "Targets by how they were chosen: the only one, by a bucket of one of three keys, or the version that the caller named.",
    "by",
    ("only", "routing_key", "principal", "request_id", "pinned", "not_live"),
)
UPSTREAM_RETRIES = Counts(
    "maas_upstream_retries_total",
    "Calls that went to another endpoint, by why the first had computed nothing.",
    "reason",
    ("connect", "not_loaded", "refused"),
)
UPSTREAM_CONNECTIONS = Connectings()
for collector in (AUTHENTICATIONS, AUTHORIZATIONS, RESOLUTIONS, UPSTREAM_RETRIES, UPSTREAM_CONNECTIONS):
    REGISTRY.register(collector)

DEADLINES_EXCEEDED = Counter(
    "maas_deadlines_exceeded_total",
    "Calls cut off at their deadline: before the upstream had them, before its reply began, or within the reply.",
    ("stage",),
)
LOOP_DELAY = Histogram(
    "maas_event_loop_delay_seconds",
    "How late the worker's event loop comes to what it is due: high when the worker has more to do than it can.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
LOG_EVENTS = Counter("maas_log_events_total", "Events in the process's own log.", ("level",))
BUILD = Gauge("maas_build_info", "1, for the release that runs.", ("version",))

QUOTA_STORE_CONNECTED = Gauge(
    "maas_quota_store_connected",
    "1 while quotas are counted together with other workers, 0 while this one counts by its share.",
    ("store",),
)
QUOTA_CALL_SECONDS = Histogram(
    "maas_quota_call_duration_seconds",
    "Calls to the quota store, each of which leases for many requests.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)

SEQUENCES_OPEN = Gauge(
    "maas_sequences_open",
    "Sequences that are open and remembered on this host, through whichever worker they go.",
)
SEQUENCES_LOST = Counter(
    "maas_sequences_lost_total",
    "Requests whose sequence could not go on, by what had become of its place: its version, its endpoint, what was "
    "loaded there, or the worker whose embedded engine had it.",
    ("reason",),
)
SEQUENCES_REFUSED = Counter(
    "maas_sequences_refused_total", "Sequences that found no room, by whose was full.", ("full",)
)

CONNECTIONS = Gauge("maas_connections", "Connections open on the inference port.", ("protocol",))
REFUSED_CONNECTIONS = Counter(
    "maas_connections_refused_total", "Connections refused over the limit.", ("protocol",)
)
REFUSED = Counter(
    "maas_requests_refused_total",
    "Requests refused as they were read: malformed, too large, no such path.",
    ("code",),
)

ENDPOINT_READY = Gauge(
    "maas_endpoint_ready", "1 while the endpoint answers its readiness probe.", ("pool", "endpoint")
)
ENDPOINT_IN_FLIGHT = Gauge("maas_endpoint_in_flight", "Requests now at the endpoint.", ("pool", "endpoint"))
UPSTREAM_FAILURES = Counter(
    "maas_upstream_failures_total", "Failed calls to an endpoint.", ("pool", "endpoint", "reason")
)

_VERSION = ("model", "version")
CONCURRENCY_LIMIT = Gauge("maas_concurrency_limit", "Calls of a version that may be in flight now.", _VERSION)
CONCURRENCY_IN_FLIGHT = Gauge("maas_concurrency_in_flight", "Calls of a version now in flight.", _VERSION)
VERSION_FILES_CHANGED = Gauge(
    "maas_version_files_changed",
    "1 for a version whose files on disk are not those that it is registered with.",
    _VERSION,
)
QUEUE_LENGTH = Gauge("maas_queue_length", "Calls that now wait for a version.", _VERSION)
QUEUE_WAIT = Histogram(
    "maas_queue_wait_seconds",
    "How long calls waited that had to, also those that were shed.",
    _VERSION,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
SHED = Counter(
    "maas_shed_total", "Calls that were turned away because there was no room.", ("reason", "criticality")
)

SNAPSHOT_VERSION = Gauge("maas_snapshot_version", "The snapshot that this worker serves from.")
SNAPSHOT_CREATED = Gauge(
    "maas_snapshot_created_timestamp_seconds", "When that snapshot was written, Unix time."
)
SNAPSHOT_REFUSED = Counter(
    "maas_snapshot_refused_total", "Snapshots that did not validate and were not used.", ("plane",)
)
SNAPSHOT_COMPILE_SECONDS = Histogram(
    "maas_snapshot_compile_duration_seconds", "Time to compile a snapshot.", ("plane",)
)
SUNSET = Gauge(
    "maas_alias_sunset_timestamp_seconds", "When a deprecated alias retires, Unix time.", ("alias",)
)
DEPRECATED_REQUESTS = Counter(
    "maas_deprecated_requests_total",
    "Inferences that were told of a retirement: the alias's, or with a model and a version the named version's.",
    ("alias", "model", "version"),
)
CONTROL_PLANE_CONNECTED = Gauge(
    "maas_control_plane_connected", "1 while the worker's last poll was answered."
)
ACCESS_LOG_DROPPED = Counter("maas_access_log_dropped_total", "Access log lines not written.", ("reason",))
SAMPLES_TAKEN = Counter(
    "maas_samples_taken_total",
    "Samples masked and queued to be written.",
    ("alias", "model", "version", "arm"),
)
SAMPLES_DROPPED = Counter(
    "maas_samples_dropped_total", "Chosen requests of which no sample is kept.", ("reason",)
)
SAMPLES_BARE = Counter(
    "maas_samples_bare_total", "Samples kept without what the request or the reply held.", ("part", "reason")
)
SAMPLES_WRITTEN = Counter("maas_samples_written_total", "Samples written to their store.")
SAMPLE_FILES_WRITTEN = Counter("maas_sample_files_written_total", "Sample files written.")
SAMPLE_WRITES_FAILED = Counter(
    "maas_sample_writes_failed_total",
    "Sample files that could not be written and are tried again.",
    ("reason",),
)
SAMPLES_DELETED = Counter("maas_samples_deleted_total", "Samples deleted by subject.")
SAMPLE_FILES_EXPIRED = Counter(
    "maas_sample_files_expired_total", "Sample files removed since they were too old."
)
SAMPLES_WAITING = Gauge("maas_samples_waiting", "Samples that wait to be written.")
SAMPLES_WAITING_BYTES = Gauge("maas_samples_waiting_bytes", "About how much memory they take.")
SAMPLES_OLDEST_WAITING = Gauge(
    "maas_samples_oldest_waiting_seconds", "How long the oldest of them has waited."
)

SPANS_EXPORTED = Counter("maas_spans_exported_total", "Spans that the collector took.")
SPANS_DROPPED = Counter("maas_spans_dropped_total", "Spans that no collector took.", ("reason",))
TRACES_LIMITED = Counter(
    "maas_traces_limited_total", "Requests not traced, since so many a second are traced already."
)
CONTROL_REQUESTS = Counter(
    "maas_control_requests_total", "Requests to the control plane.", ("method", "status")
)

TOKENS_VERIFIED = Counter(
    "maas_tokens_verified_total", "Tokens verified; those seen before are not counted again.", ("issuer",)
)
TOKENS_REFUSED = Counter(
    "maas_tokens_refused_total",
    "Tokens refused, by issuer (empty: none of ours) and reason.",
    ("issuer", "reason"),
)
ISSUER_KEYS = Gauge("maas_issuer_keys", "Keys that the issuer's tokens are verified with.", ("issuer",))
ISSUER_KEYS_FETCHED = Gauge(
    "maas_issuer_keys_fetched_timestamp_seconds", "When those keys were fetched, Unix time.", ("issuer",)
)
ISSUER_REFRESH_FAILURES = Counter(
    "maas_issuer_refresh_failures_total", "Fetches of an issuer's keys that brought none of use.", ("issuer",)
)


WORKERS = Gauge("maas_workers", "Worker processes of this host by what they do.", ("state",))
WORKER_ANSWERED = Gauge(
    "maas_worker_answered",
    "1 when the worker gave its metrics for this scrape, 0 when older ones stand.",
    ("worker",),
)
WORKER_CONNECTIONS = Gauge("maas_worker_connections", "Connections that the worker holds.", ("worker",))
WORKER_RESTARTS = Counter(
    "maas_worker_restarts_total", "Workers that ended unasked and were started again.", ("worker",)
)

GAUGES: Mapping[str, Literal["sum", "min", "max", "worker", "supervisor"]] = {
    "maas_alias_sunset_timestamp_seconds": "max",
    "maas_build_info": "max",
    "maas_concurrency_in_flight": "sum",
    "maas_concurrency_limit": "max",
    "maas_connections": "sum",
    "maas_control_plane_connected": "min",
    "maas_endpoint_in_flight": "sum",
    "maas_endpoint_ready": "min",
    "maas_issuer_keys": "min",
    "maas_issuer_keys_fetched_timestamp_seconds": "min",
    "maas_queue_length": "sum",
    "maas_quota_store_connected": "min",
    "maas_samples_oldest_waiting_seconds": "max",
    "maas_samples_waiting": "sum",
    "maas_samples_waiting_bytes": "sum",
    "maas_sequences_open": "max",
    "maas_snapshot_created_timestamp_seconds": "min",
    "maas_snapshot_version": "min",
    "maas_version_files_changed": "max",
    "maas_worker_answered": "supervisor",
    "maas_worker_connections": "supervisor",
    "maas_workers": "supervisor",
}
"""How the gauges of several workers become one: their sum, least or greatest. `worker`: each stands under its number.
`supervisor`: that process alone has it."""


def render(accept: str = "", collector: Collector = REGISTRY) -> tuple[bytes, str]:
    """The metrics (by default all of this process) and their content type: OpenMetrics when asked for, else Prometheus text."""
    encode, content_type = choose_encoder(accept)
    return encode(collector), content_type
