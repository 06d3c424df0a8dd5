"""The snapshot: published at once, fetched by long poll, never poisoned."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from gateway.controlplane.plane import ControlPlane
from gateway.controlplane.snapshots import publisher
from gateway.db.models import Table
from gateway.observe.metrics import SNAPSHOT_REFUSED
from gateway.policy.rows import decider
from gateway.secret import key_digest
from gateway.snapshot.compile import compile_snapshot
from gateway.snapshot.document import SnapshotDocument, decode
from tests.controlplane.harness import POLICIES, POOLS, SECRET, Running, running, targets
from tests.db.servers import wait_until
from tests.patience import in_time


def fetch(plane: Running, after: int = 0, wait: float = 0) -> Any:
    return plane.worker.get("/api/v1/snapshot", params={"after": after, "wait": wait})


def document(plane: Running) -> SnapshotDocument:
    return decode(fetch(plane).content)


def test_a_snapshot_holds_what_was_set(plane: Running) -> None:
    """Aliases, models, pools, usable keys and the policy; and it compiles."""
    alias = plane.alias((1, 9_000), (2, 1_000))
    key = plane.key("app:storefront")
    reply = fetch(plane)
    assert reply.headers["Content-Type"] == "application/octet-stream"
    snapshot = compile_snapshot(decode(reply.content), decider)
    assert [t.weight_bp for t in snapshot.aliases[alias].targets] == [9_000, 1_000]
    principal = snapshot.keys[key_digest(plane.control.digest_key, key.encode())]
    assert principal.id == "app:storefront"
    assert snapshot.decide("app:storefront", "vision", alias, "infer")
    assert "declared" in snapshot.pools


def test_a_change_reaches_a_waiting_worker_at_once(plane: Running) -> None:
    """Well under a second from the change's commit to the worker's reply."""
    name = plane.alias()
    version = document(plane).version
    waits: list[float] = []

    def poll(after: int) -> tuple[Any, float]:
        return fetch(plane, after, 10), time.monotonic()

    with ThreadPoolExecutor(1) as thread:
        for weight in range(100, 1100, 100):
            waiting = thread.submit(poll, version)
            time.sleep(0.05)
            assert not waiting.done()
            body = {"targets": targets((1, 10_000 - weight), (2, weight))}
            began = time.monotonic()
            plane.lead.put(f"/api/v1/aliases/{name}", json=body, headers={"If-Match": "*"}).raise_for_status()
            reply, at = waiting.result()
            waits.append(at - began)
            found = decode(reply.content)
            assert found.version > version
            version = found.version
            alias = next(each for each in found.aliases if each.name == name)
            assert alias.targets[1].weight_bp == weight
            # A busy machine delays one or another.
            if sum(wait < 0.5 for wait in waits) == 2:
                break
    assert sum(wait < 0.5 for wait in waits) == 2, waits


def test_without_a_change_the_poll_ends_empty(plane: Running) -> None:
    """204 after the wait, and 200 at once for a version that is not this one, also for a higher one."""
    version = document(plane).version

    def attempt() -> float:
        began = time.monotonic()
        assert fetch(plane, version, 0.2).status_code == 204
        took = time.monotonic() - began
        assert took > 0.15
        return took

    in_time(attempt, 2)
    assert fetch(plane, version + 5, 10).status_code == 200
    for query in (
        {"wait": 31},
        {"wait": -1},
        {"wait": "nan"},
        {"after": -1},
        {"after": "x"},
        {"after": 2**64},
    ):
        assert plane.worker.get("/api/v1/snapshot", params=query).status_code == 400, query


def test_the_same_version_of_another_installation_is_another_snapshot(plane: Running) -> None:
    """A worker that says of which installation its version is learns at once when the database is another one."""
    found = document(plane)
    for installation, status in ((found.installation, 204), ("ff" * 16, 200), ("", 200)):
        query: dict[str, str | int] = {"after": found.version, "installation": installation}
        assert plane.worker.get("/api/v1/snapshot", params=query).status_code == status


def test_waiting_workers_hold_no_threads(plane: Running) -> None:
    """Sixty workers wait, more than there are threads, and the API goes on answering as fast as before."""
    version = document(plane).version
    with (
        ThreadPoolExecutor(60) as threads,
        httpx.Client(
            verify=False,
            base_url=plane.url,
            headers=plane.worker.headers,
            limits=httpx.Limits(max_connections=200),
        ) as client,
    ):
        waiting = [
            threads.submit(client.get, "/api/v1/snapshot", params={"after": version, "wait": 20}, timeout=60)
            for _ in range(60)
        ]
        time.sleep(0.3)

        def attempt() -> float:
            began = time.monotonic()
            assert plane.lead.get("/api/v1/aliases").status_code == 200
            return time.monotonic() - began

        in_time(attempt, 1.0)
        plane.alias()
        assert [each.result().status_code for each in waiting] == [200] * 60


def test_the_snapshot_is_for_workers_only(plane: Running) -> None:
    """A principal's key opens it not, and the workers' token opens nothing else."""
    assert plane.admin.get("/api/v1/snapshot").status_code == 401
    assert plane.anyone.get("/api/v1/snapshot").status_code == 401
    assert plane.worker.get("/api/v1/aliases").status_code == 401
    report = {"host": "h", "pid": 1, "role": "data", "snapshot_version": 1, "started_at": 1.0}
    assert plane.admin.post("/api/v1/workers/w/report", json=report).status_code == 401


def test_versions_rise_by_one_with_each_change_and_not_without(plane: Running) -> None:
    """A refused or idle request publishes nothing."""
    name = plane.alias()
    version = document(plane).version
    plane.lead.put(
        f"/api/v1/aliases/{name}", json={"targets": targets((1, 10_000))}, headers={"If-Match": "*"}
    )
    plane.lead.put(f"/api/v1/aliases/{name}", json={"targets": targets((1, 1))}, headers={"If-Match": "*"})
    assert document(plane).version == version
    plane.lead.put(
        f"/api/v1/aliases/{name}", json={"targets": targets((2, 10_000))}, headers={"If-Match": "*"}
    )
    assert document(plane).version == version + 1


POISON = {
    "weights that are not whole": "UPDATE alias_targets SET weight_bp = 9999",
    "a blank team": "UPDATE aliases SET team = ''",
    "a blank salt": "UPDATE aliases SET salt = ''",
    "slices that overlap": "UPDATE aliases SET slices = '[[0, 10000, 0], [5000, 10000, 0]]'",
    "slices of another shape": """UPDATE aliases SET slices = '{"a": 1}'""",
    "slices that are no JSON numbers": """UPDATE aliases SET slices = '[["0", "10000", "0"]]'""",
    "slices that are null": "UPDATE aliases SET slices = 'null'",
    "an alias without targets": "DELETE FROM alias_targets",
    "an engine that is none": "UPDATE pools SET engine = 'torch'",
    "endpoints that are none": """UPDATE pools SET engine = 'triton', endpoints = '["http://169.254.169.254"]'""",
    "endpoints that are a text": "UPDATE pools SET endpoints = '7'",
    "a blank model team": "UPDATE models SET team = ' '",
    "a version of zero": "INSERT INTO model_versions SELECT name, 0, '', updated_at, updated_by FROM models",
    "a blank principal": "UPDATE api_keys SET principal = ''",
    "a digest that is none": "UPDATE api_keys SET digest = 'x' WHERE id = (SELECT min(id) FROM api_keys)",
    "an unknown effect": "UPDATE policy_grants SET effect = 'permit' WHERE id = (SELECT min(id) FROM policy_grants)",
    "a blank subject": "UPDATE policy_grants SET subject = '' WHERE id = (SELECT min(id) FROM policy_grants)",
    "a role for everybody": "UPDATE policy_roles SET subject = '*' WHERE id = (SELECT min(id) FROM policy_roles)",
    "every rule twice, but for a space": (
        "INSERT INTO policy_grants (id, subject, domain, object, action, effect)"
        " SELECT id + 1000, subject || ' ', domain, object, action, effect FROM policy_grants"
    ),
}


def test_poisoned_rows_are_never_published(own_plane: Running) -> None:
    """Whatever is written straight into the database, the last good snapshot stays, and somebody is told.

    When the rows are whole again, they are published.
    """
    plane = own_plane
    plane.alias()
    sre = plane.as_("user:sre")
    for what, statement in POISON.items():
        good = fetch(plane).content
        refused = SNAPSHOT_REFUSED.labels("control")._value.get()
        backup = _tables(plane)
        _write(plane, statement, "UPDATE state SET version = version + 1")
        plane.control.publisher.refresh()
        assert fetch(plane).content == good, what
        assert SNAPSHOT_REFUSED.labels("control")._value.get() == refused + 1, what
        status = sre.get("/api/v1/snapshot/status").json()
        assert status["refused"]["problems"], what
        health = plane.anyone.get("/health/ready")
        assert health.status_code == 200
        assert health.json()["refused"]["problems"] >= 1
        _restore(plane, backup)
        plane.control.publisher.refresh()
        assert decode(fetch(plane).content).version > decode(good).version, what
        assert plane.control.publisher.refusal is None


def test_the_repair_of_a_refused_state_is_found_without_another_change(
    own_plane: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who repairs rows by hand need not know of the version row."""
    monkeypatch.setattr(publisher, "REFUSED_AGAIN_S", 0.2)
    plane = own_plane
    plane.alias()
    _write(plane, "UPDATE aliases SET team = ''", "UPDATE state SET version = version + 1")
    wait_until(lambda: plane.control.publisher.refusal is not None, "the state is refused", 3)
    _write(plane, "UPDATE aliases SET team = 'vision'")
    wait_until(lambda: plane.control.publisher.refusal is None, "the repair is published", 8)


def test_a_change_of_one_replica_is_live_on_the_other(own_plane: Running, own_url: str) -> None:
    """Within a second, without a word between them."""
    plane = own_plane
    with running(own_url) as replica:
        assert replica.control.publisher.published is not None

        def attempt() -> float:
            name = plane.alias()
            began = time.monotonic()
            wait_until(
                lambda: name in [each.name for each in document(replica).aliases], "the replica has it"
            )
            return time.monotonic() - began

        in_time(attempt, 1.0)
        one, other = fetch(plane).content, fetch(replica).content
        assert one == other


def test_a_state_whose_policy_cannot_be_compiled_stops_nothing_that_is_served(own_url: str) -> None:
    """A fault in the compiler itself is a refusal too, and the next good compile publishes."""
    broken = threading.Event()

    def compile_policy(entry: Any) -> Any:
        if broken.is_set():
            raise ValueError("out of order")
        return decider(entry)

    control = ControlPlane(own_url, SECRET, POLICIES, POOLS, compile_policy=compile_policy)
    assert control.open()
    published = control.publisher.published
    broken.set()
    _write_to(
        control,
        "UPDATE state SET version = version + 1",
        "DELETE FROM policy_roles WHERE domain = 'language'",
    )
    control.publisher.refresh()
    assert control.publisher.published is published
    assert control.publisher.refusal is not None
    assert control.publisher.refusal.problems == ("policy: out of order",)
    control.close()


def _write(plane: Running, *statements: str) -> None:
    _write_to(plane.control, *statements)


def _write_to(control: ControlPlane, *statements: str) -> None:
    control.database.write(lambda session: [session.execute(text(each)) for each in statements])


TABLES = (
    "pools",
    "models",
    "model_versions",
    "aliases",
    "alias_targets",
    "api_keys",
    "policy_grants",
    "policy_roles",
)


def _tables(plane: Running) -> dict[str, list[dict[str, Any]]]:
    with plane.control.read() as session:
        return {
            name: [dict(row._mapping) for row in session.execute(Table.metadata.tables[name].select())]
            for name in TABLES
        }


def _restore(plane: Running, backup: dict[str, list[dict[str, Any]]]) -> None:
    def verb(session: Session) -> None:
        for name in reversed(TABLES):
            session.execute(Table.metadata.tables[name].delete())
        for name in TABLES:
            session.execute(Table.metadata.tables[name].insert(), backup[name])
        session.execute(text("UPDATE state SET version = version + 1"))

    plane.control.database.write(verb)


@pytest.mark.parametrize("path", ["/api/v1/snapshot", "/api/v1/workers/w/report"])
def test_a_wrong_worker_token_is_refused(plane: Running, path: str) -> None:
    """Of any length and alphabet."""
    for token in ("x", "0" * 64, "é"):
        headers = {"Authorization": f"Bearer {token}".encode("latin-1")}
        method = "GET" if path.endswith("snapshot") else "POST"
        assert plane.anyone.request(method, path, headers=headers).status_code == 401  # type: ignore[arg-type]
