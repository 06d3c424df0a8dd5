"""The database dies: what goes on, what is refused, and that it comes back by itself."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.controlplane import plane as plane_module
from gateway.controlplane.edge import asgi
from gateway.controlplane.plane import ControlPlane
from tests.controlplane.harness import POLICIES, POOLS, SECRET, Running, running, serve, targets
from tests.db.servers import Missing, Postgres, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One server for all who kill it; each test leaves it running."""
    try:
        found = Postgres()
    except Missing as error:
        pytest.skip(str(error))
    found.start()
    yield found
    found.stop()


def test_killing_postgresql_refuses_changes_and_nothing_that_the_snapshot_answers(
    server: Postgres,
) -> None:
    """503 with Retry-After for changes and for reads of the database; the snapshot, rights and keys go on.

    After its restart everything works again without a restart of the control plane, and nothing was lost.
    """
    with running(server.fresh_database()) as plane:
        plane.model()
        alias, lead = plane.alias(), plane.lead
        body = {"targets": targets((1, 9_000), (2, 1_000))}
        lead.put(f"/api/v1/aliases/{alias}", json=body, headers={"If-Match": "*"}).raise_for_status()
        published = plane.worker.get("/api/v1/snapshot").content
        server.kill()

        other = {"targets": targets((2, 10_000))}
        for _ in range(3):
            refused = lead.put(f"/api/v1/aliases/{alias}", json=other, headers={"If-Match": "*"})
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) >= 1
            assert refused.json()["code"] == "unavailable"
        assert lead.get(f"/api/v1/aliases/{alias}").status_code == 503
        assert lead.get("/api/v1/whoami").status_code == 200
        assert plane.anyone.get("/api/v1/whoami").status_code == 401
        question = {"subject": "user:lead", "action": "flip", "alias": alias}
        assert lead.post("/api/v1/policy/check", json=question).json() == {"allowed": True}
        assert plane.worker.get("/api/v1/snapshot").content == published
        assert plane.anyone.get("/health/live").status_code == 200
        wait_until(lambda: plane.anyone.get("/health/ready").status_code == 503, "not ready", 5)
        assert plane.anyone.get("/health/ready").json()["database"] == "does not answer"

        server.start()
        wait_until(lambda: plane.anyone.get("/health/ready").status_code == 200, "ready again", 10)
        shown = lead.get(f"/api/v1/aliases/{alias}")
        assert [t["weight"] for t in shown.json()["targets"]] == [9_000, 1_000]
        assert lead.put(f"/api/v1/aliases/{alias}", json=other, headers={"If-Match": "*"}).status_code == 200


def test_a_control_plane_starts_without_its_database_and_finds_it_later(server: Postgres) -> None:
    """It says so, refuses with 503, and opens when the database is there."""
    url = server.fresh_database()
    server.kill()
    control = ControlPlane(url, SECRET, POLICIES, POOLS)
    assert not control.open()
    with serve(control) as address:
        plane = Running(address, control)
        assert plane.anyone.get("/health/ready").status_code == 503
        assert plane.worker.get("/api/v1/snapshot").status_code == 204
        key = "maas_" + "0" * 8
        assert plane.anyone.get("/api/v1/whoami", headers={"X-API-Key": key}).status_code == 503
        server.start()
        wait_until(lambda: plane.anyone.get("/health/ready").status_code == 200, "ready", 10)
        assert plane.admin.get("/api/v1/whoami").status_code == 200
        plane.close()


def test_a_hanging_postgresql_does_not_hang_the_callers(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped server keeps connections open and answers nothing: 503 in bounded time, polls and rights go on."""
    with running(server.fresh_database()) as plane:
        plane.model()
        alias = plane.alias()
        lead = plane.lead
        monkeypatch.setattr(asgi, "ANSWER_WITHIN_S", 0.5)
        monkeypatch.setattr(plane_module, "_STALE_S", 0.7)
        try:
            server.pause()
            with ThreadPoolExecutor(8) as threads:
                replies = list(threads.map(lambda _: lead.get(f"/api/v1/aliases/{alias}"), range(8)))
            assert [each.status_code for each in replies] == [503] * 8
            assert all("Retry-After" in each.headers for each in replies)
            assert lead.get("/api/v1/whoami").status_code == 200
            assert plane.worker.get("/api/v1/snapshot").status_code == 200
            wait_until(lambda: plane.anyone.get("/health/ready").status_code == 503, "not ready", 5)
        finally:
            server.resume()
        wait_until(lambda: lead.get(f"/api/v1/aliases/{alias}").status_code == 200, "answers again", 10)
