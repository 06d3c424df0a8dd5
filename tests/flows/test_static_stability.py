"""Inference does not need the control plane: with it, or its database, gone for good, everything goes on as decided."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.contract.harness import Gateway, Key, Operator, install, wait_until
from tests.db.servers import Missing, Postgres
from tests.flows.conftest import DIGITS, EMBEDDED, TEAM, Caller, Load, Pair, start_triton
from tests.patience import in_time

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

REST_LIMIT_MIB = 80
REFUSED_WITHIN_S = 10.0
GONE_WITHIN_S = 4.0
"""Two seconds of courtesy to idle connections, and as much for a busy machine."""


class Planes(NamedTuple):
    """A data plane and a control plane in processes of their own, the latter on a PostgreSQL of its own."""

    data: Gateway
    control: Gateway
    postgres: Postgres
    app: Key
    revoked: Key


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planes]:
    """All of it, as it was before anything was killed."""
    try:
        postgres = Postgres()
    except Missing as error:
        pytest.skip(str(error))
    try:
        postgres.start()
        installation = install(tmp_path_factory.mktemp("planes"), postgres.fresh_database())
        with Gateway(installation, role="control") as control, control.operator() as operator:
            app, revoked = stand_up(operator)
            with Gateway(installation, EMBEDDED, role="data", control_url=control.control_url) as data:
                yield Planes(data, control, postgres, app, revoked)
    finally:
        postgres.stop()


@pytest.fixture
def planes(standing: Planes) -> Planes:
    """All of it alive, 70 % of `digits` on version 1 and 30 % on version 2."""
    if not standing.postgres.answers():
        standing.postgres.start()
    for gateway in (standing.control, standing.data):
        if not gateway.running:
            gateway.start()
    with standing.control.operator() as operator:
        wait_until(lambda: control_answers(operator), "the control plane answers", 20)
        operator.alias("digits", "digits@1=7000 digits@2=3000", reason="as it was")
        with Caller(standing.data.inference, standing.app) as caller:
            arms = {"digits/1", "digits/2"}
            # Among twenty users, one time in a thousand nobody would be on version 2.
            wait_until(lambda: set(caller.arms("digits", 100).values()) == arms, "so it is served", 20)
    assert settled(standing.data, standing.app, standing.revoked)
    return standing


def stand_up(operator: Operator) -> tuple[Key, Key]:
    """`digits` with a canary, an app that may call it, and a key that was revoked."""
    operator.pool("here")
    operator.model(DIGITS, team=TEAM, pool="here")
    operator.alias("digits", "digits@1=7000 digits@2=3000", team=TEAM, reason="the first")
    operator.role("app:shop", "consumer", TEAM)
    app, revoked = operator.key("app:shop"), operator.key("app:shop")
    assert operator.delete(f"/keys/{revoked.id}").is_success
    return app, revoked


def settled(gateway: Gateway, app: Key, revoked: Key) -> bool:
    with Caller(gateway.inference, app) as caller, Caller(gateway.inference, revoked) as refused:
        return caller.infer("digits").status == 200 and refused.infer("digits").status == 401


def change(operator: Operator, etag: str, targets: list[tuple[int, int]]) -> httpx.Response:
    rows = [{"model": "digits", "version": version, "weight": weight} for version, weight in targets]
    return operator.put("/aliases/digits", json={"targets": rows}, headers={"If-Match": etag})


def control_answers(operator: Operator) -> bool:
    try:
        return operator.get("/aliases/digits").is_success
    except httpx.TransportError:
        return False


def serves(caller: Caller, served_by: str) -> bool:
    return caller.infer("digits").served_by == served_by


def test_the_control_plane_dies_under_load(planes: Planes) -> None:
    """SIGKILL for the control plane: no inference fails. Back again, it knows what it knew, and changes are live in 1 s."""
    with Caller(planes.data.inference, planes.app) as caller:
        arms = caller.arms("digits", 200)
        with Load(planes.data.inference, planes.app, "digits") as load:
            load.go_on(50)
            planes.control.kill()
            load.go_on(200)
            assert caller.arms("digits", 200) == arms
            planes.control.start()
            with planes.control.operator() as operator:
                wait_until(lambda: control_answers(operator), "the control plane answers")
                etag = operator.get("/aliases/digits").headers["ETag"]
                # The data plane asks again within 2 s when its control plane was away.
                assert change(operator, etag, [(3, 10_000)]).status_code == 200
                wait_until(lambda: caller.infer("digits").served_by == "digits/3", "the change is live", 3)

                def flip() -> float:
                    took = 0.0
                    for version in (1, 3):
                        operator.alias("digits", f"digits@{version}")
                        wanted = f"digits/{version}"
                        took = max(took, wait_until(partial(serves, caller, wanted), "and the next one"))
                    return took

                in_time(flip, 1.0)
            load.go_on(50)
    assert not load.failures


def test_the_database_dies_under_load(planes: Planes) -> None:
    """SIGKILL for PostgreSQL: no inference fails, changes are refused with 503 and when to come back; nothing that was
    answered with success is lost, and nothing that was refused is done.
    """
    with (
        planes.control.operator() as operator,
        Caller(planes.data.inference, planes.app) as caller,
        Load(planes.data.inference, planes.app, "digits") as load,
    ):
        for weight in range(100, 600, 100):
            operator.alias("digits", f"digits@1={10_000 - weight} digits@2={weight}", reason=f"step {weight}")
        known = operator.get("/aliases/digits")
        planes.postgres.kill()

        def attempt() -> float:
            began = time.monotonic()
            refused = change(operator, known.headers["ETag"], [(3, 10_000)])
            took = time.monotonic() - began
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) >= 1
            assert refused.headers["Content-Type"] == "application/problem+json"
            return took

        in_time(attempt, REFUSED_WITHIN_S, tries=3)
        assert operator.get("/aliases/digits").status_code == 503
        assert httpx.get(f"{planes.control.control_url}/health/live", timeout=60).status_code == 200
        load.go_on(200)
        planes.postgres.start()
        wait_until(lambda: control_answers(operator), "the control plane has its database again", 20)
        assert operator.get("/aliases/digits").json() == known.json()
        history = operator.get("/aliases/digits/history").json()["revisions"]
        assert [each["reason"] for each in history[:5]] == [f"step {w}" for w in range(500, 0, -100)]
        assert change(operator, known.headers["ETag"], [(2, 10_000)]).status_code == 200
        wait_until(lambda: caller.infer("digits").served_by == "digits/2", "the change is live", 3)
        load.go_on(50)
    assert not load.failures
    assert "digits/3" not in {outcome.served_by for outcome in load.outcomes}


def test_the_data_plane_starts_alone(planes: Planes) -> None:
    """With the control plane and the database gone, a data plane that was killed starts and serves what it served:
    the same arms, the same keys, the same refusals.
    """
    with Caller(planes.data.inference, planes.app) as caller:
        arms = caller.arms("digits", 200)
    planes.control.kill()
    planes.postgres.kill()
    planes.data.kill()
    planes.data.start()
    assert settled(planes.data, planes.app, planes.revoked)
    with Caller(planes.data.inference, planes.app) as caller:
        assert caller.arms("digits", 200) == arms
        assert caller.infer("nobody").status == 404
    planes.postgres.start()
    planes.control.start()
    with planes.control.operator() as operator, Caller(planes.data.inference, planes.app) as caller:
        wait_until(lambda: control_answers(operator), "the control plane answers", 20)
        operator.alias("digits", "digits@3")
        wait_until(lambda: caller.infer("digits").served_by == "digits/3", "the change is live", 4)


def test_the_control_plane_starts_before_its_database(planes: Planes) -> None:
    """Started without its database the control plane says so, refuses with 503, and is well once the database is."""
    planes.control.kill()
    planes.postgres.kill()
    planes.control.start()
    with planes.control.operator() as operator:
        assert operator.get("/aliases/digits").status_code == 503
        assert httpx.get(f"{planes.control.control_url}/health/ready", timeout=60).status_code == 503
        planes.postgres.start()
        wait_until(lambda: control_answers(operator), "the control plane has its database", 20)
        ready = f"{planes.control.control_url}/health/ready"
        wait_until(lambda: httpx.get(ready, timeout=60).status_code == 200, "it is ready")


def test_one_process_with_sqlite(tmp_path: Path) -> None:
    """Both planes in one process: killed under load and started again while its database is locked, it serves from disk,
    refuses changes with 503, and makes them again once the lock is gone.
    """
    gateway = Gateway(install(tmp_path), EMBEDDED)
    with gateway:
        with gateway.operator() as operator:
            app, revoked = stand_up(operator)
        wait_until(lambda: settled(gateway, app, revoked), "the gateway serves what was decided")
        with Caller(gateway.inference, app) as caller:
            arms = caller.arms("digits", 200)
        with Load(gateway.inference, app, "digits") as load:
            load.go_on(50)
            gateway.kill()
        assert {outcome.status for outcome in load.failures} <= {0}
        database = sqlite3.connect(gateway.installation.data_dir / "maas.db", isolation_level=None)
        database.execute("PRAGMA journal_mode")
        database.execute("BEGIN EXCLUSIVE")
        gateway.start()
        with Load(gateway.inference, app, "digits") as load, Caller(gateway.inference, app) as caller:
            assert settled(gateway, app, revoked)
            assert caller.arms("digits", 200) == arms
            with gateway.operator() as operator:
                refused = change(operator, '"1"', [(3, 10_000)])
                assert refused.status_code == 503
                assert int(refused.headers["Retry-After"]) >= 1
                database.execute("ROLLBACK")
                database.close()
                wait_until(lambda: control_answers(operator), "the database is free again")
                operator.alias("digits", "digits@3")
                wait_until(lambda: caller.infer("digits").served_by == "digits/3", "the change is live", 3)
            load.go_on(20)
        assert not load.failures


def test_a_worker_is_small_at_rest(
    planes: Planes, repositories: Pair, record_property: Callable[[str, object], None]
) -> None:
    """A data-plane worker in front of a real Triton takes less than 80 MiB, at rest and after a thousand calls."""
    row = list(range(16))
    inputs = [{"name": f"INPUT{n}", "shape": [1, 16], "datatype": "INT32", "data": row} for n in (0, 1)]
    body = json.dumps({"inputs": inputs}).encode()
    worker = Gateway(planes.data.installation, role="data", control_url=planes.control.control_url)
    with start_triton(repositories.here, load=["add_sub"]) as triton, planes.control.operator() as operator:
        operator.pool("real", triton.http_url)
        operator.model(repositories.here / "add_sub", team=TEAM, pool="real")
        operator.alias("sums", "add_sub@1", team=TEAM)
        with worker, Caller(worker.inference, planes.app) as caller:
            wait_until(lambda: caller.infer("sums", body).status == 200, "the worker serves")
            at_rest = resident_mib(worker.pid)
            outcomes = [caller.infer("sums", body) for _ in range(1000)]
            after = resident_mib(worker.pid)
    assert [one for one in outcomes if one.status != 200] == []
    record_property("resident_mib", f"{at_rest:.1f} at rest, {after:.1f} after 1000 calls")
    print(f"{at_rest:.1f} MiB at rest, {after:.1f} MiB after 1000 calls")
    assert at_rest < REST_LIMIT_MIB
    assert after < REST_LIMIT_MIB


def test_who_is_asked_to_go_goes(tmp_path: Path) -> None:
    """On SIGTERM a gateway finishes what it has and ends with status 0, without waiting for those who wait for it."""
    gateway = Gateway(install(tmp_path), EMBEDDED)
    with gateway:
        with gateway.operator() as operator:
            app, revoked = stand_up(operator)
        wait_until(lambda: settled(gateway, app, revoked), "the gateway serves")

        def attempt() -> float:
            if not gateway.running:
                gateway.start()
                wait_until(lambda: settled(gateway, app, revoked), "the gateway serves")
            began = time.monotonic()
            assert gateway.stop() == 0
            return time.monotonic() - began

        in_time(attempt, GONE_WITHIN_S, tries=5)
    assert "Traceback" not in gateway.log.read_text()


def resident_mib(pid: int) -> float:
    """VmRSS of a process and of all that it has started, in MiB."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20 + sum(map(resident_mib, children))
