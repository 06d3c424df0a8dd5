"""The commented settings file that `maas init` writes: every setting, what it means, its default."""

from pathlib import Path
from typing import Any

import msgspec

from gateway.settings import Settings

_HEAD = """\
# Settings of a maas gateway. Everything here is optional: what is commented out shows the default.
# An environment variable wins over this file: MAAS_INFERENCE__PORT=9000 sets port of [inference].
# `maas serve` reads this file, `maas doctor` checks it.
"""

_MEANING = {
    "data_dir": "The gateway's folder: its secret, the snapshot, the default database and logs.",
    "role": "all (both planes in one process), data (inference only) or control (API only).",
    "workers": "Processes that serve inference behind the one port: at most one for each core. One needs no supervisor;\n"
    "several share quotas only through Redis.",
    "secret": "The installation's secret, the same on every host, at least 32 characters. Better given as MAAS_SECRET.\n"
    "Default: made at the first start and kept in the file `secret` of the data folder, readable by its owner only.",
    "inference": "The inference port and its limits: sizes in bytes, times in seconds.",
    "inference.host": "The address to listen on; 0.0.0.0 for every address of this host.",
    "inference.port": "HTTP; 0 for a free one.",
    "inference.grpc_port": "gRPC; 0: none, and some 15 MiB less for each worker.",
    "inference.ops_port": "Health and metrics of a process with role data, which has no control port.",
    "inference.max_body_bytes": "The largest request body, compressed or not.",
    "inference.max_header_bytes": "All header fields of a request together.",
    "inference.max_headers": "The number of header fields.",
    "inference.max_connections": "Connections open at once; more are refused.",
    "inference.head_timeout_s": "How long a request's header may take to arrive.",
    "inference.body_min_bytes_per_s": "A body that arrives more slowly than this is given up.",
    "inference.idle_timeout_s": "How long a connection may stay open between requests.",
    "inference.deadline_s": "How long a request may take when its caller names no time.",
    "inference.max_deadline_s": "The longest time that a caller may name.",
    "inference.drain_notice_s": "After SIGTERM: how long to go on accepting while saying not ready.",
    "inference.drain_limit_s": "After SIGTERM: how long requests under way may take to finish.",
    "inference.orphan_limit_s": "With several workers: how long they serve on when their supervisor is gone and no new one comes.",
    "admission": "Calls of one model version in flight, through all workers of a host, and who waits when there is no room.",
    "admission.enabled": "false lets every call through at once; the model servers' own queues then decide.",
    "admission.initial_limit": "Calls of a version in flight at first; the limit then follows what the servers can take.",
    "admission.min_limit": "It never goes below this.",
    "admission.max_limit": "Nor above this; the same as min_limit and initial_limit fixes it.",
    "admission.queue_length": "Calls of one principal that may wait for a version; more are refused (503).",
    "admission.queue_wait_s": "How long a call may wait, in seconds; then it is refused (503).",
    "admission.alone_s": "A principal that no other one has shared a version with for so long is not held back for the sake of\n"
    "latency, only where the servers themselves refuse. 0: it always is.",
    "control": "The control plane: API, metrics, health.",
    "control.host": "The address to listen on.",
    "control.port": "HTTP; 0 for a free one.",
    "control.url": "Where a data plane finds its control plane. Default: the control port of this host.",
    "database": "Where the control plane keeps everything.",
    "database.url": "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME. Default: SQLite in the data folder.",
    "upstream": "How the gateway talks to Triton: times in seconds.",
    "upstream.connect_timeout_s": "How long a connection may take to come up.",
    "upstream.probe_interval_s": "How often each endpoint is asked whether it is ready.",
    "upstream.probe_timeout_s": "How long such an answer may take.",
    "upstream.max_idle_connections": "Idle connections kept to each endpoint.",
    "upstream.idle_connection_s": "An idle connection is closed after so long.",
    "upstream.max_reply_header_bytes": "All header fields of a reply together.",
    "upstream.max_message_bytes": "A reply over gRPC, which is held whole.",
    "upstream.model_repository": "Where this host sees the folder that the Triton servers load from, read only: then versions whose files\n"
    "are not those that were registered are flagged. Default: none, and then that cannot be seen.",
    "upstream.files_check_s": "How often those files, and the embedded engine's, are looked at.",
    "embedded": "The embedded engine (onnxruntime, in the gateway's own process), for machines without Triton.",
    "embedded.model_repository": "A folder in Triton's layout. Default: none, and then no embedded engine.",
    "embedded.threads": "How many inferences run at once.",
    "embedded.python_models": "Also run models of Triton's Python backend. Their code then may do all that the gateway may: only for folders that nobody else writes to.",
    "policies": "The access rules of a fresh installation.",
    "policies.folder": "Holds model.conf, rules.csv and cases.csv; the rules are read once, into an empty database.",
    "quota": "How workers share quotas (`maas quota set`).",
    "quota.redis_url": "redis://:PASSWORD@HOST:6379/0, rediss://... or unix:///PATH: where they count together. Better given as\n"
    "MAAS_QUOTA__REDIS_URL. Default: none; a single worker counts exactly, each of several takes its share of each limit.",
    "quota.workers": "How many workers share them at least, over all hosts: each takes that part of a limit while Redis is away.",
    "quota.wait_s": "A Redis that has not answered for so many seconds is away, until it answers again.",
    "sequences": "Sequences of requests (`sequence_id`), each of which stays on one version and one server.",
    "sequences.most": "How many may be open on this host at once.",
    "sequences.most_of_each": "How many of one principal, counted in steps of 64; more are refused (429).",
    "sequences.idle_s": "One that is left alone for so long is forgotten, where the model's configuration does not say how long\n"
    "(an ensemble's does not).",
    "sequences.redis_url": "redis://:PASSWORD@HOST:6379/0, rediss://... or unix:///PATH: what several hosts go by together. Better\n"
    "given as MAAS_SEQUENCES__REDIS_URL. Default: none; each host remembers those that come through it.",
    "sequences.wait_s": "How long Redis may take to say where a sequence is; then its request is refused (503).",
    "samples": "Masked samples of aliases that are sampled (`maas sample set`); each worker's own queue and files. Bytes, seconds.",
    "samples.url": "A folder, or an object store's URL that fsspec opens (install its driver, such as s3fs, beside maas).\n"
    "Default: samples in the data folder.",
    "samples.max_bytes": "Of a larger request or reply a sample keeps that it was, and not what it held.",
    "samples.queue_rows": "Samples that may wait to be written; more are dropped, and counted by reason.",
    "samples.queue_bytes": "How much memory those may take. While a file is made of them, up to five times as much.",
    "samples.file_rows": "A file is written once so many samples wait for it ...",
    "samples.file_s": "... or the first of them has waited for so long.",
    "samples.stop_limit_s": "After SIGTERM: how long writing the rest may take.",
    "samples.retention_days": "Samples of days further back are removed; 0 keeps all.",
    "logs": "What the gateway writes about itself.",
    "logs.access": "One JSON line a request: a file, - for standard output, or empty for none.\n"
    "Default: logs/access.jsonl in the data folder.",
    "logs.format": "The process's own log, on standard error: text, or json for one object a line.",
    "logs.level": "debug, info, warning or error.",
    "traces": "OpenTelemetry spans of requests, sent to a collector over OTLP/HTTP.",
    "traces.endpoint": "The collector, such as http://127.0.0.1:4318; empty for no traces.",
    "traces.sample_ratio": "The part of requests that is traced where the caller keeps no trace; where it does, it decides.",
    "traces.most_per_s": "Requests traced a second at most: of those that are chosen here, and again of those whose callers ask.",
    "traces.service_name": "The name that the spans go under (service.name).",
    "traces.resource": "More attributes of this process: NAME=VALUE,NAME=VALUE.",
    "traces.headers": "Header fields for the collector: NAME=VALUE,NAME=VALUE. A credential is better given as MAAS_TRACES__HEADERS.",
    "traces.timeout_s": "How long one batch may take, with all its tries.",
}
_EXAMPLES = {
    "secret": "at least 32 characters from a good random source",
    "control.url": "http://10.0.0.1:8090",
    "database.url": "postgresql://maas@10.0.0.2/maas",
    "embedded.model_repository": "model_repository",
    "upstream.model_repository": "/models",
    "sequences.redis_url": "redis://10.0.0.3:6379/1",
    "quota.redis_url": "redis://10.0.0.3:6379/0",
    "logs.access": "-",
    "samples.url": "s3://bucket/samples",
}
"""What stands behind a setting whose default is nothing."""

_POOLS = """
# Pools of Triton servers can be declared here, and are then changed only here; others are made with `maas pool set`.
# [pools.gpu]
# engine = "triton"
# endpoints = ["http://10.0.0.5:8000", "http://10.0.0.6:8000"]
"""

_ISSUERS = """
# Issuers of tokens (OpenID Connect) that are accepted beside keys; see docs/tokens.md. A table for each.
# [issuers.company]
# The `iss` of its tokens, very exactly; its discovery document tells where its keys are, unless jwks_url does.
# issuer = "https://id.example.com/realms/company"
# jwks_url = "https://id.example.com/realms/company/protocol/openid-connect/certs"
# What its tokens for this gateway have as `aud`: one of these.
# audience = ["maas"]
# Whom a token speaks for: app: or user: and a name in which {claim} stands for a claim's text.
# principal = "user:{preferred_username}"
# RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA.
# algorithms = ["RS256", "ES256"]
# How far clocks may differ; how often keys are fetched; how long the last good ones are used, in seconds.
# leeway_s = 30.0
# refresh_s = 300.0
# keep_s = 604800.0
# Roles from claims, beside those of the policy: who has the value in the claim has the role in the team (* for every).
# [[issuers.company.roles]]
# claim = "groups"
# value = "ml-vision-consumers"
# role = "role:consumer"
# team = "vision"
"""

_NAMED = frozenset({"pools", "issuers"})
"""Tables whose names are free: shown by an example."""


def settings_text(chosen: dict[str, Any] | None = None) -> str:
    """The file's text. `chosen` gives settings by their dotted names that are written in force, not commented out."""
    chosen = chosen or {}
    lines = [_HEAD]
    tables = []
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.default, msgspec.Struct):
            tables.append((field.name, field.default))
        elif field.name not in _NAMED:
            lines += _entry(field.name, field.default, chosen)
    for name, default in tables:
        lines += [f"\n# {_MEANING[name]}", f"[{name}]"]
        for key in default.__struct_fields__:
            lines += _entry(f"{name}.{key}", getattr(default, key), chosen)
    return "\n".join(lines) + "\n" + _POOLS + _ISSUERS


def _entry(name: str, default: object, chosen: dict[str, Any]) -> list[str]:
    value = chosen.get(name, _EXAMPLES[name] if default is None else default)
    key = name.rpartition(".")[2]
    comments = [f"# {line}" for line in _MEANING[name].splitlines()]
    return [*comments, f"{'' if name in chosen else '# '}{key} = {_toml(value)}"]


def _toml(value: object) -> str:
    """A value in TOML. Its basic strings are those of JSON, DEL aside (TOML 1.0)."""
    if isinstance(value, Path):
        value = str(value)
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
