"""What holds for every request: ids, strict paths and bodies, problem documents, OpenAPI, health and metrics."""

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.controlplane.workers import live
from gateway.strict_json import MOST_PROBLEMS
from tests.controlplane.harness import Running, targets


def raw(plane: Running, head: bytes) -> bytes:
    """The status line of what is sent as it stands."""
    parts = urlsplit(plane.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), 5) as sock:
        sock.sendall(head)
        return sock.recv(4096).partition(b"\r\n")[0]


def test_every_reply_has_a_request_id_and_problems_repeat_it(plane: Running) -> None:
    """So that a caller's report finds the audit row and the log line."""
    ids = set()
    for reply in (
        plane.lead.get("/api/v1/aliases"),
        plane.lead.get("/api/v1/aliases/none"),
        plane.lead.get("/nowhere"),
        plane.anyone.get("/api/v1/aliases", headers={"X-Request-Id": "forged"}),
    ):
        request_id = reply.headers["X-Request-Id"]
        assert len(request_id) == 32
        ids.add(request_id)
        if reply.is_error:
            assert reply.headers["Content-Type"] == "application/problem+json"
            document = reply.json()
            assert document["instance"] == f"urn:maas:request:{request_id}"
            assert document["status"] == reply.status_code
            assert {"type", "title", "detail", "code", "error"} <= document.keys()
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/aliases/..%2f..%2fadmin", 400),
        ("/api/v1/aliases/%252f", 400),
        ("/api/v1/aliases/a%00", 400),
        ("/api/v1/aliases/%0d%0aX:", 400),
        ("/api/v1/aliases/digit%73", 400),
        ("//api/v1/aliases", 404),
        ("/api//v1/aliases", 404),
        ("/api/./v1/aliases", 404),
        ("/api/v1/../v1/aliases", 404),
        ("/api/v1/aliases;x", 404),
        ("/API/v1/aliases", 404),
        ("/api/v1/aliases/a\\b", 404),
        ("/api/v1/nothing", 404),
    ],
)
def test_paths_are_taken_literally(plane: Running, path: str, status: int) -> None:
    """No escape, no other spelling, no redirect."""
    key = plane.key("user:admin")
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    assert raw(plane, head.encode()).split()[1] == str(status).encode()


def test_a_method_that_a_path_does_not_take_is_405_with_those_it_takes(plane: Running) -> None:
    """As RFC 9110 section 15.5.6 has it."""
    refused = plane.admin.patch("/api/v1/policy")
    assert refused.status_code == 405
    assert {"GET", "PUT"} <= {each.strip() for each in refused.headers["Allow"].split(",")}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"targets": [], "targets": []}', 400),
        (b'{"targets": [], "reason": "\\ud800"}', 400),
        (b'{"\\udfff": 1}', 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b"9" * 5000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b'{"targets": [], "colour": 1}', 422),
        (b'{"targets": {}}', 422),
        (b'{"targets": [], "reason": "a\\u0000b"}', 422),
        (b'{"targets": [], "reason": "' + b"x" * 1001 + b'"}', 422),
        (b'{"targets": [' + b"1," * 300_000 + b"1]}", 422),
        (b" " * (5 << 20), 413),
    ],
    ids=lambda value: str(value[:24]) if isinstance(value, bytes) else None,
)
def test_a_bad_body_is_refused(plane: Running, body: bytes, status: int) -> None:
    """What does not read: 400; what does not fit: 422; what is too long: 413. The next request is answered."""
    name = plane.fresh()
    refused = plane.lead.put(
        f"/api/v1/aliases/{name}", content=body, headers={"Content-Type": "application/json"}
    )
    assert refused.status_code == status, refused.text
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert len(refused.json().get("problems", [])) <= MOST_PROBLEMS
    assert plane.lead.get(f"/api/v1/aliases/{name}").status_code == 404


def test_a_body_is_not_looked_at_before_the_credential(plane: Running) -> None:
    """A stranger from outside cannot make the control plane parse anything."""
    reply = plane.anyone.put("/api/v1/aliases/x", content=b"{")
    assert reply.status_code == 401


def test_openapi_describes_the_routes_as_they_are(plane: Running) -> None:
    """At /schema and /schema/openapi.json, without a key; bodies, security and problems included."""
    document = plane.anyone.get("/schema/openapi.json").json()
    assert plane.anyone.get("/schema").json() == document
    assert document["openapi"].startswith("3.1")
    for path, method in (
        ("/api/v1/aliases/{alias}", "put"),
        ("/api/v1/aliases/{alias}/rollback", "post"),
        ("/api/v1/models/{model}", "put"),
        ("/api/v1/policy/rows", "post"),
    ):
        operation = document["paths"][path][method]
        assert "application/json" in operation["requestBody"]["content"]
        refused = operation["responses"]["default"]["content"]["application/problem+json"]
        assert refused["schema"]["$ref"].endswith("/Problem")
        assert "If-Match" in [each["name"] for each in operation["parameters"]]
    assert set(document["components"]["securitySchemes"]) == {"key", "keyHeader", "worker"}
    assert document["paths"]["/api/v1/snapshot"]["get"]["security"] == [{"worker": []}]
    _references(document, document)


def _references(document: dict[str, Any], part: Any) -> None:
    """Every reference leads somewhere."""
    if isinstance(part, dict):
        target = part.get("$ref")
        if isinstance(target, str):
            found: Any = document
            for step in target.removeprefix("#/").split("/"):
                found = found[step]
        for each in part.values():
            _references(document, each)
    elif isinstance(part, list):
        for each in part:
            _references(document, each)


def test_health_and_metrics_need_no_key(plane: Running) -> None:
    """Probes and Prometheus have none."""
    assert plane.anyone.get("/health/live").json() == {"status": "live"}
    ready = plane.anyone.get("/health/ready")
    assert (ready.status_code, ready.json()["database"]) == (200, "answers")
    plain = plane.anyone.get("/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert 'maas_control_requests_total{method="GET",status="200"}' in plain.text
    wanted = {"Accept": "application/openmetrics-text; version=1.0.0"}
    assert plane.anyone.get("/metrics", headers=wanted).text.endswith("# EOF\n")


def test_a_worker_reports_and_is_listed(plane: Running) -> None:
    """Its state, its age, and the last use of the keys it saw; nothing of it makes a snapshot."""
    key = plane.admin.post("/api/v1/keys", json={"principal": "app:storefront"}).json()
    published = plane.control.publisher.published
    used = 1_700_000_000.5
    report = {
        "host": "node-1",
        "pid": 4711,
        "role": "data",
        "snapshot_version": 7,
        "started_at": 1_700_000_000.0,
        "endpoints": [
            {
                "pool": "p",
                "url": "http://a:1",
                "ready": True,
                "since": 1_700_000_001.0,
                "versions": [["digits", 1]],
                "detail": None,
            },
            {
                "pool": "p",
                "url": "http://b:1",
                "ready": True,
                "since": 1_700_000_001.0,
                "versions": None,
                "detail": "does not tell its versions",
            },
        ],
        "inference_url": "http://node-1:8080",
        "keys_used": {key["id"]: used, "unknown1": used, "bad\x00": used},
    }
    worker = plane.fresh("node")
    assert plane.worker.post(f"/api/v1/workers/{worker}/report", json=report).is_success
    older = report | {"keys_used": {key["id"]: 1_600_000_000}, "snapshot_version": 8}
    assert plane.worker.post(f"/api/v1/workers/{worker}/report", json=older).is_success
    assert plane.control.publisher.published is published
    found = next(
        w for w in plane.as_("user:sre").get("/api/v1/workers").json()["workers"] if w["worker"] == worker
    )
    assert found["snapshot_version"] == 8
    assert found["endpoints"] == report["endpoints"]
    assert found["inference_url"] == "http://node-1:8080"
    assert 0 <= found["age_s"] < 5
    shown = next(k for k in plane.admin.get("/api/v1/keys").json()["keys"] if k["id"] == key["id"])
    assert shown["last_used_at"] == "2023-11-14T22:13:20.500000Z"
    assert plane.lead.get("/api/v1/workers").status_code == 403


def test_a_worker_that_ends_is_forgotten(plane: Running) -> None:
    """Its last word, which only a worker can say and may say twice; those that say nothing are listed for an hour."""
    body = {"host": "n", "pid": 1, "role": "data", "snapshot_version": 1, "started_at": 1.0}

    def listed() -> set[str]:
        found = plane.as_("user:sre").get("/api/v1/workers").json()["workers"]
        return {each["worker"] for each in found} & {ends, stays}

    ends, stays = plane.fresh("node"), plane.fresh("node")
    for worker in (ends, stays):
        assert plane.worker.post(f"/api/v1/workers/{worker}/report", json=body).is_success
    assert plane.admin.delete(f"/api/v1/workers/{ends}").status_code == 401
    assert listed() == {ends, stays}
    for _ in range(2):
        assert plane.worker.delete(f"/api/v1/workers/{ends}").status_code == 204
    assert listed() == {stays}


def test_whoami_names_a_worker_that_takes_requests(plane: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same one while it lives, another when it goes or falls silent, and none rather than one that is gone."""
    monkeypatch.setattr(live, "LIVE_S", 60.0)
    plane.control.workers = live.LiveWorkers()

    def report(worker: str, url: str | None) -> None:
        body = {"host": "h", "pid": 1, "role": "data", "snapshot_version": 1, "started_at": 1.0}
        body |= {} if url is None else {"inference_url": url}
        assert plane.worker.post(f"/api/v1/workers/{worker}/report", json=body).is_success

    def told() -> Any:
        return plane.as_("app:stranger").get("/api/v1/whoami").json()["inference_url"]

    assert told() is None
    for worker, url in (("one", "http://one:1"), ("two", "http://two:2"), ("one", "http://one:1")):
        report(worker, url)
        assert told() == "http://one:1"
    report("one", None)
    assert told() == "http://two:2"
    monkeypatch.setattr(live, "LIVE_S", 0.0)
    assert told() is None


def test_a_bad_report_is_refused(plane: Running) -> None:
    """Whoever has the token may still be broken."""
    good: dict[str, Any] = {"host": "h", "pid": 1, "role": "data", "snapshot_version": 1, "started_at": 1.0}
    for bad in (
        {"pid": -1},
        {"pid": 2**70},
        {"role": "king"},
        {"host": "a\x00"},
        {"snapshot_version": "1"},
        {"keys_used": {"a": "b"}},
        {"endpoints": [{"pool": "p"}]},
        {"inference_url": "http://a\n"},
        {"inference_url": 8080},
    ):
        assert plane.worker.post("/api/v1/workers/w/report", json=good | bad).status_code == 422, bad
    for literal in ("NaN", "1e999"):
        body = json.dumps(good).replace("1.0", literal)
        assert plane.worker.post("/api/v1/workers/w/report", content=body).status_code == 422
    assert plane.worker.post("/api/v1/workers/.w/report", json=good).status_code == 422
    far = good | {"keys_used": {"a": 1e300, "b": -5.0}}
    assert plane.worker.post("/api/v1/workers/w/report", json=far).is_success


def test_a_name_is_shown_as_it_was_given(plane: Running) -> None:
    """HTML and formulas in a reason are data here; who shows them escapes them."""
    name = plane.fresh()
    reason = "<script>alert(1)</script> =cmd() \u202e \U0001f600"
    body = {"team": "vision", "targets": targets((1, 10_000)), "reason": reason}
    made = plane.lead.put(f"/api/v1/aliases/{name}", json=body)
    assert made.json()["reason"] == reason
    assert made.headers["X-Content-Type-Options"] == "nosniff"
    assert plane.admin.get("/api/v1/audit", params={"object": name}).json()["rows"][0]["reason"] == reason
