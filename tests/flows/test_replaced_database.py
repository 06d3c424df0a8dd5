"""The database is gone, and an empty one stands in its place: nobody is locked out by that."""

import shutil
from pathlib import Path

import httpx
import pytest

from tests.contract.harness import Gateway, Key, install, wait_until
from tests.flows.conftest import DIGITS, EMBEDDED, TEAM, Caller, Load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DATABASE = ("maas.db", "maas.db-wal", "maas.db-shm")


def refusals(gateway: Gateway) -> float:
    """`maas_snapshot_refused_total` of the data plane."""
    lines = httpx.get(f"{gateway.control_url}/metrics", trust_env=False, timeout=60).text.splitlines()
    named = 'maas_snapshot_refused_total{plane="data"}'
    return sum(float(line.split()[-1]) for line in lines if line.startswith(named))


def served(gateway: Gateway, key: Key) -> tuple[int, str]:
    """Status and server of one inference."""
    with Caller(gateway.inference, key) as caller:
        outcome = caller.infer("digits")
        return outcome.status, outcome.served_by


def remove_database(data: Path) -> None:
    """Delete the SQLite file with what stands beside it."""
    for name in DATABASE:
        (data / name).unlink(missing_ok=True)


def test_an_empty_database_locks_nobody_out(tmp_path: Path) -> None:
    """Deleted between two runs, the database is made anew, and inference goes on with the keys and aliases that were;
    brought back from a backup, it decides again; replaced on purpose, it decides once the snapshots are removed.
    """
    gateway = Gateway(install(tmp_path / "maas"), EMBEDDED)
    data, backup = gateway.installation.data_dir, tmp_path / "backup"
    backup.mkdir()
    with gateway, gateway.operator() as operator:
        operator.pool("here")
        operator.model(DIGITS, team=TEAM, pool="here")
        operator.alias("digits", "digits@1", team=TEAM)
        operator.role("app:shop", "consumer", TEAM)
        app = operator.key("app:shop")
        wait_until(lambda: served(gateway, app) == (200, "digits/1"), "the gateway serves")

        assert gateway.stop() == 0
        for name in DATABASE:
            if (data / name).exists():
                shutil.move(data / name, backup / name)
        gateway.start()
        wait_until(lambda: refusals(gateway) == 1, "the new database is noticed")
        with Load(gateway.inference, app, "digits") as load:
            load.go_on(50)
        assert not load.failures
        assert operator.get("/aliases").status_code == 401
        assert "remove DATA/snapshots and restart" in gateway.log.read_text()

        assert gateway.stop() == 0
        remove_database(data)
        shutil.copytree(backup, data, dirs_exist_ok=True)
        gateway.start()
        operator.alias("digits", "digits@2")
        wait_until(lambda: served(gateway, app) == (200, "digits/2"), "the change is live", 4)
        assert refusals(gateway) == 0

        assert gateway.stop() == 0
        remove_database(data)
        shutil.rmtree(data / "snapshots")
        gateway.start()
        assert served(gateway, app) == (401, "")
