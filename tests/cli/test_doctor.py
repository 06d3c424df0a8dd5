"""`maas doctor` on installations with something wrong; a sound one that runs is in test_verbs."""

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from redis import Redis as RedisClient

from gateway.cli.doctor import planes, stores, workers
from gateway.cli.doctor.findings import Finding
from gateway.cli.doctor.retiring import judge
from gateway.cli.doctor.serving import look_at_serving
from gateway.cli.main import maas
from gateway.db import session
from gateway.settings import Quota, SequenceSettings, Settings, load_settings
from gateway.snapshot.document import (
    AliasEntry,
    DeprecationEntry,
    ModelEntry,
    PoolEntry,
    SnapshotDocument,
    TargetEntry,
    encode,
)
from gateway.snapshot.split import fresh_slices
from gateway.snapshot.store import SnapshotStore
from loadtests.processes import free_port
from tests.db.servers import Redis

REPOSITORY = Path(__file__).parents[2] / "model_repository"


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A fresh installation that does not run, on ports that nobody uses."""
    assert CliRunner().invoke(maas, ["init", "--dir", str(tmp_path)]).exit_code == 0
    path = tmp_path / "maas.toml"
    text = path.read_text()
    text = text.replace("# port = 8080", f"port = {free_port()}")
    text = text.replace("# port = 8090", f"port = {free_port()}")
    path.write_text(text)
    return path


def findings(config: Path) -> tuple[int, dict[str, Finding]]:
    """The exit status, and the worst finding of each check."""
    result = CliRunner().invoke(maas, ["doctor", "--config", str(config), "--json"])
    found = [Finding(**each) for each in json.loads(result.stdout)]
    order = {"ok": 0, "warning": 1, "broken": 2}
    return result.exit_code, {f.check: f for f in sorted(found, key=lambda f: order[f.severity])}


def document(pools: tuple[PoolEntry, ...]) -> SnapshotDocument:
    """A snapshot whose alias sends everything to digits@1 in the first pool."""
    targets = (TargetEntry("digits", 1, 10_000),)
    return SnapshotDocument(
        version=1,
        created_at=1.8e9,
        installation="a0" * 16,
        aliases=(AliasEntry("digits", "vision", "00" * 16, targets, fresh_slices(targets)),),
        models=(ModelEntry("digits", "vision", pools[0].name, (1,)),),
        pools=pools,
    )


def test_an_installation_that_does_not_run_yet(installation: Path) -> None:
    """Ports are free, the control plane is not there, and nothing to serve from is the one broken thing."""
    status, found = findings(installation)
    assert status == 1
    assert [check for check, finding in found.items() if finding.severity == "broken"] == ["snapshot"]
    assert found["control plane"].todo == "start it: maas serve"
    assert "free" in found["inference.port"].found
    assert found["database"].severity == "ok"


def test_settings_that_do_not_read_are_told_all_at_once(tmp_path: Path) -> None:
    """Every fault is a finding of its own."""
    path = tmp_path / "maas.toml"
    path.write_text('nonsense = 1\n[inference]\nport = "x"\n')
    result = CliRunner().invoke(maas, ["doctor", "--config", str(path)])
    assert result.exit_code == 1
    assert "nonsense" in result.stdout
    assert "inference.port" in result.stdout


def test_a_secret_that_others_may_read_is_broken(installation: Path) -> None:
    """The finding names the file, its mode, and the command that closes it; so do short secrets and open folders."""
    data = load_settings(installation, {}).data_dir
    (data / "secret").chmod(0o644)
    data.chmod(0o777)
    status, found = findings(installation)
    assert status == 1
    assert found["secret"].todo == f"chmod 600 {data / 'secret'}"
    assert found["data folder"].todo == f"chmod 700 {data}"
    (data / "secret").chmod(0o600)
    (data / "secret").write_text("short")
    assert findings(installation)[1]["secret"].severity == "broken"


def test_a_port_that_somebody_else_has_is_broken(installation: Path) -> None:
    """A program that is no maas gateway on our port is told from a gateway that runs."""
    port = load_settings(installation, {}).inference.port
    with socket.create_server(("127.0.0.1", port)):
        _, found = findings(installation)
    assert found["inference.port"].severity == "broken"
    assert "another program" in found["inference.port"].found


def test_a_damaged_snapshot_is_found(installation: Path) -> None:
    """A flipped byte on disk is seen before the restart that would need the file."""
    settings = load_settings(installation, {})
    SnapshotStore(settings.data_dir / "snapshots").save(encode(document((PoolEntry("local", "embedded"),))))
    assert findings(installation)[1]["snapshot"].severity == "ok"
    path = settings.data_dir / "snapshots" / "snapshot"
    path.write_bytes(path.read_bytes().replace(b"vision", b"fusion"))
    found = findings(installation)[1]["snapshot"]
    assert found.severity == "broken"


def test_another_installations_snapshot_is_found(tmp_path: Path) -> None:
    """The finding names what to remove when it is meant; an equal version number does not hide it."""
    settings = load_settings(None, {"MAAS_DATA_DIR": str(tmp_path)})
    kept = document((PoolEntry("local", "embedded"),))
    SnapshotStore(tmp_path / "snapshots").save(encode(kept))
    found, _ = planes.look_at_snapshot(settings, msgspec.structs.replace(kept, installation="ff" * 16))
    assert [finding.severity for finding in found] == ["broken"]
    assert str(tmp_path / "snapshots") in found[0].todo


def test_a_database_of_another_release_is_told(installation: Path) -> None:
    """Tables older than this release's warn, newer ones are broken; the newest step is read from the release itself."""
    settings = load_settings(installation, {})
    newest = planes.newest_migration(Path(session.__file__).parent / "migrations" / "versions")
    database = session.Database(settings.database_url)
    for step, severity in (("0000", "warning"), ("9999", "broken"), (newest, "ok")):
        with database.reading() as reading:
            reading.connection().exec_driver_sql(f"UPDATE alembic_version SET version_num = '{step}'")
            reading.commit()
        assert next(planes.look_at_database(settings)).severity == severity
    database.close()


@pytest.fixture
def server() -> Iterator[str]:
    """Something ready that has version 2 of digits loaded, and nothing else."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(b'[{"name": "digits", "version": "2", "state": "READY"}]')

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with HTTPServer(("127.0.0.1", 0), Ready) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_endpoints_and_their_versions_are_looked_at(server: str) -> None:
    """An endpoint that is down warns while another serves; a version that traffic goes to and nobody has is broken."""
    pool = PoolEntry("gpu", "triton", (server, "http://127.0.0.1:9"))
    found = list(look_at_serving(Settings(), document((pool,))))
    assert [(f.severity, f.check) for f in found] == [
        ("ok", "pool gpu"),
        ("warning", "pool gpu"),
        ("broken", "pool gpu"),
    ]
    assert "digits@1 is not loaded" in found[2].found
    alone = list(
        look_at_serving(Settings(), document((PoolEntry("gpu", "triton", ("http://127.0.0.1:9",)),)))
    )
    assert alone[0].severity == "broken"
    assert "no other endpoint is left" in alone[0].found


def test_the_embedded_engine_without_its_models_is_broken(tmp_path: Path) -> None:
    """No repository, one that is not there, one with a model that does not load: each says what to do."""
    local = document((PoolEntry("local", "embedded"),))
    assert [f.severity for f in look_at_serving(Settings(), local)] == ["broken"]
    good = tmp_path / "good"
    shutil.copytree(REPOSITORY / "digits", good / "digits")
    for folder, severities in ((good, ["ok", "ok"]), (tmp_path / "none", ["broken", "broken"])):
        settings = load_settings(None, {"MAAS_EMBEDDED__MODEL_REPOSITORY": str(folder)})
        assert [f.severity for f in look_at_serving(settings, local)] == severities
    (tmp_path / "digits" / "1").mkdir(parents=True)
    (tmp_path / "digits" / "config.pbtxt").write_text("not a configuration")
    settings = load_settings(None, {"MAAS_EMBEDDED__MODEL_REPOSITORY": str(tmp_path)})
    found = list(look_at_serving(settings, local))
    assert found[0].severity == "warning"
    assert "digits@1" in found[0].found


DAY = 86_400.0
NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("end", "callers", "says"),
    [
        (DeprecationEntry(0.0, NOW + 3 * DAY), 2, "is past its sunset in 3.0 days; 2 still call it"),
        (DeprecationEntry(0.0, NOW + 3 * DAY, after_sunset="gone"), 2, "answers 410 in 3.0 days"),
        (DeprecationEntry(0.0, NOW + 3 * DAY), None, "not known without a MAAS_KEY"),
        (DeprecationEntry(0.0, NOW - DAY), 1, "is past its sunset, and served on"),
        (DeprecationEntry(0.0, NOW - DAY, after_sunset="gone"), 1, "its callers get 410"),
        (DeprecationEntry(0.0, successor="nowhere"), 0, "sends its callers to nowhere"),
        (DeprecationEntry(0.0, NOW + 3 * DAY, "a"), 0, ""),
        (DeprecationEntry(0.0, NOW + 30 * DAY), 9, ""),
        (DeprecationEntry(0.0, NOW - DAY, after_sunset="gone"), None, ""),
    ],
)
def test_ends_that_come_with_callers_left_are_told(
    end: DeprecationEntry, callers: int | None, says: str
) -> None:
    """Soon, or come already; and a successor that is gone. Nothing keeps anybody from being served, so none is broken."""
    (finding,) = judge({"old": end}, {"a", "old"}, {} if callers is None else {"old": callers}, NOW)
    assert finding.severity == ("warning" if says else "ok")
    assert says in finding.found
    assert bool(finding.todo) == bool(says)


def test_the_workers_of_this_host_are_looked_at(tmp_path: Path) -> None:
    """Each of those that the settings ask for runs, or the doctor says how many do."""
    settings = Settings(data_dir=tmp_path, workers=2)

    def severities() -> list[tuple[str, str]]:
        cores = len(os.sched_getaffinity(0))
        found = list(workers.look_at_processes(settings))
        return [(each.severity, each.found) for each in found if f"{cores} cores" not in each.found]

    def tell(**told: object) -> None:
        (tmp_path / "gateway-all.json").write_text(json.dumps({"pid": os.getpid(), "role": "all", **told}))

    gone = subprocess.Popen(["true"])
    gone.wait()
    assert severities() == []
    tell(workers={"1": os.getppid(), "0": os.getpid()})
    assert severities() == [
        ("ok", f"2 of 2 run under process {os.getpid()}: 0 ({os.getpid()}), 1 ({os.getppid()})")
    ]
    tell(workers={"0": os.getpid(), "1": gone.pid})
    assert severities() == [("warning", f"1 of 2 run under process {os.getpid()}")]
    tell()
    assert severities() == [("warning", f"process {os.getpid()} serves alone, workers = 2")]
    tell(pid=gone.pid)
    assert severities() == []
    tell(pid=gone.pid, workers={"0": os.getpid(), "1": gone.pid})
    assert severities() == [("warning", "1 left of 2: their supervisor has died")]
    (tmp_path / "gateway-all.json").write_text("[]")
    assert severities() == []
    many = Settings(data_dir=tmp_path, workers=200)
    assert [each.severity for each in workers.look_at_processes(many)] == ["warning"]
    assert list(workers.look_at_processes(Settings(data_dir=tmp_path))) == []


def test_a_worker_in_whose_place_another_came_is_not_missed() -> None:
    """After a restart the old process' last report is no finding; that of a worker that nobody followed is."""

    def worker(host: str, pid: int, number: int, age_s: float, version: int = 7) -> dict[str, object]:
        return {
            "worker": f"{host}-{pid}-{number}", "host": host, "pid": pid, "role": "data", "age_s": age_s,
            "snapshot_version": version, "inference_url": None, "endpoints": [],
        }  # fmt: skip

    reports = [
        worker("a-1", 10, 0, 1.0),
        worker("a-1", 11, 1, 100.0),
        worker("a-1", 12, 1, 2.0, version=6),
        worker("b", 10, 0, 100.0),
    ]
    assert [(each.severity, each.found) for each in workers.judge(reports, 7)] == [
        ("ok", "a-1-10-0 serves snapshot 7"),
        ("broken", "a-1-12-1 serves snapshot 6, 7 is published"),
        ("warning", "b-10-0 was last heard of 100 s ago"),
    ]
    assert [each.severity for each in workers.judge([], 7)] == ["warning"]


def test_the_store_of_shared_quotas_is_asked(own_redis: Redis) -> None:
    """One that takes what workers ask of it; one that refuses; one that is gone. Each finding says what to do."""

    def look(url: str | None, **settings: Any) -> list[Finding]:
        found = Settings(quota=Quota(redis_url=url), **settings)
        return list(stores.look_at_quota_store(found))

    (good,) = look(own_redis.url)
    assert (good.severity, good.found) == ("ok", f"are counted in the Redis at 127.0.0.1:{own_redis.port}")
    (refused,) = look(own_redis.url.replace("://", "://:a-password@"))
    assert refused.severity == "warning"
    assert "user and password" in refused.todo
    assert "a-password" not in refused.found
    own_redis.kill()
    (gone,) = look(own_redis.url)
    assert gone.severity == "warning"
    assert "does not answer" in gone.found
    assert "start it, or correct quota.redis_url" in gone.todo
    assert look(own_redis.url, role="control") == look(None) == []
    assert [each.severity for each in look(None, workers=2)] == ["ok"]


def test_a_store_that_drops_keys_is_told_of(own_redis: Redis) -> None:
    """It would give away again what was used up, and nobody would notice."""
    found = Settings(
        quota=Quota(redis_url=own_redis.url), sequences=SequenceSettings(redis_url=own_redis.url)
    )
    with RedisClient.from_url(own_redis.url) as client:
        client.config_set("maxmemory-policy", "volatile-lru")
        assert [each.severity for each in stores.look_at_quota_store(found)] == ["ok"], "nothing is full"
        client.config_set("maxmemory", "100mb")
        _, quotas = stores.look_at_quota_store(found)
        _, sequences = stores.look_at_sequence_store(found)
        client.config_set("maxmemory-policy", "noeviction")
        assert [each.severity for each in stores.look_at_quota_store(found)] == ["ok"]
    for each in (quotas, sequences):
        assert each.severity == "warning"
        assert "(volatile-lru)" in each.found
        assert "noeviction" in each.todo


def test_the_store_of_shared_sequences_is_asked(own_redis: Redis) -> None:
    """Without it requests of sequences are refused, so something is broken."""

    def look(url: str | None, **settings: Any) -> list[Finding]:
        found = Settings(sequences=SequenceSettings(redis_url=url), **settings)
        return list(stores.look_at_sequence_store(found))

    (good,) = look(own_redis.url)
    assert (good.severity, good.found) == ("ok", f"are remembered in the Redis at 127.0.0.1:{own_redis.port}")
    own_redis.kill()
    (gone,) = look(own_redis.url)
    assert gone.severity == "broken"
    assert "sequences.redis_url" in gone.todo
    assert look(own_redis.url, role="control") == look(None) == []
