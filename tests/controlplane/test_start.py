"""Starting: seeds, declared pools, the first key, and what is refused."""

import threading
from pathlib import Path

import pytest

from gateway.controlplane.access.service import create_first_admin
from gateway.controlplane.plane import ControlPlane, StartRefused
from gateway.settings import PoolSettings
from tests.controlplane.harness import POLICIES, POOLS, SECRET, Running, running, serve


def test_an_empty_database_gets_the_rules_of_the_policies_folder(own_url: str) -> None:
    """Once: rules that were changed since are not brought back by the next start."""
    with running(own_url) as plane:
        policy = plane.admin.get("/api/v1/policy").json()
        assert ["user:admin", "role:admin", "*"] in policy["roles"]
        assert (policy["revision"], policy["updated_by"]) == (1, "settings")
        seeded = plane.admin.get("/api/v1/audit", params={"object": "policy"}).json()["rows"][0]
        assert (seeded["verb"], seeded["actor"]) == ("policy.seed", "settings")
        gone = {"remove": {"roles": [["user:sre", "role:reader", "*"]]}}
        plane.admin.post("/api/v1/policy/rows", json=gone).raise_for_status()
    with running(own_url) as plane:
        policy = plane.admin.get("/api/v1/policy").json()
        assert ["user:sre", "role:reader", "*"] not in policy["roles"]
        assert policy["revision"] == 2


def test_a_second_start_changes_nothing(own_url: str) -> None:
    """Restarting is no change: no version, no audit row."""
    versions = []
    for _ in range(2):
        control = ControlPlane(own_url, SECRET, POLICIES, POOLS)
        assert control.open()
        assert control.open()
        assert control.publisher.published is not None
        versions.append(control.publisher.published.version)
        control.close()
    assert versions[0] == versions[1]


def test_an_installation_is_its_database(own_url: str, tmp_path: Path) -> None:
    """Its id stays over restarts and is random, so that an empty database is never taken for the one it replaces."""
    found = []
    for url in (own_url, own_url, f"sqlite:///{tmp_path / 'another.db'}"):
        control = ControlPlane(url, SECRET, POLICIES, POOLS)
        assert control.open()
        assert control.publisher.published is not None
        found.append(control.publisher.published.document.installation)
        control.close()
    assert found[0] == found[1] != found[2]
    assert all(len(bytes.fromhex(each)) == 16 for each in found)


def test_replicas_that_start_together_seed_once(own_url: str) -> None:
    """The others find the rules there."""
    planes = [ControlPlane(own_url, SECRET, POLICIES, POOLS) for _ in range(4)]
    threads = [threading.Thread(target=plane.open) for plane in planes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    documents = {plane.publisher.published.encoded for plane in planes if plane.publisher.published}
    assert len(documents) == 1
    assert all(plane.publisher.published for plane in planes)
    for plane in planes:
        plane.close()


def test_rules_that_do_not_hold_refuse_the_start_with_every_problem(tmp_path: Path) -> None:
    """The model, the rules and the cases together, each with its file and line."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "model.conf").write_text((POLICIES / "model.conf").read_text().replace("!some", "some"))
    (folder / "rules.csv").write_text("p, app:x, d, o, infer, permit\nq, nothing\n")
    with pytest.raises(StartRefused) as refused:
        ControlPlane(
            f"sqlite:///{tmp_path / 'maas.db'}",
            SECRET,
            folder,
            {"bad": PoolSettings("triton", ("file:///x",))},
        ).open()
    text = "\n".join(refused.value.problems)
    for words in ("model.conf", "rules.csv: line 1", "rules.csv: line 2", "pool bad"):
        assert words in text, text


def test_rules_that_break_their_cases_refuse_the_start(tmp_path: Path) -> None:
    """Decisions that must hold are held before the first request."""
    folder = tmp_path / "policies"
    folder.mkdir()
    for name in ("model.conf", "cases.csv"):
        (folder / name).write_text((POLICIES / name).read_text())
    (folder / "rules.csv").write_text("p, user:admin, *, *, *, allow\n")
    with pytest.raises(StartRefused, match=r"cases\.csv: line"):
        ControlPlane(f"sqlite:///{tmp_path / 'maas.db'}", SECRET, folder).open()
    (folder / "cases.csv").unlink()
    assert ControlPlane(f"sqlite:///{tmp_path / 'maas.db'}", SECRET, folder).open()


def test_rules_that_leave_nobody_in_charge_refuse_the_start(tmp_path: Path) -> None:
    """Such a policy could never be changed again."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "model.conf").write_text((POLICIES / "model.conf").read_text())
    (folder / "rules.csv").write_text("p, app:x, d, o, infer, allow\n")
    with pytest.raises(StartRefused, match="nobody may admin @policy"):
        ControlPlane(f"sqlite:///{tmp_path / 'maas.db'}", SECRET, folder).open()


def test_a_database_of_another_kind_refuses_the_start(tmp_path: Path) -> None:
    """In words for the settings file."""
    with pytest.raises(StartRefused, match=r"database\.url"):
        ControlPlane("mysql://x/y", SECRET, POLICIES)


def test_pools_of_the_settings_follow_the_settings(own_url: str) -> None:
    """Made, changed, and free for the API when they no longer stand there; each time with an audit row."""
    first = ControlPlane(own_url, SECRET, POLICIES, {"p": PoolSettings("embedded")})
    assert first.open()
    first.close()
    second = {"p": PoolSettings("triton", ("http://a:1",)), "q": PoolSettings("embedded")}
    control = ControlPlane(own_url, SECRET, POLICIES, second)
    assert control.open()
    assert control.publisher.published is not None
    assert {(pool.name, pool.engine) for pool in control.publisher.published.document.pools} == {
        ("p", "triton"),
        ("q", "embedded"),
    }
    control.close()
    control = ControlPlane(own_url, SECRET, POLICIES, {})
    assert control.open()
    with serve(control) as url:
        plane = Running(url, control)
        body = {"engine": "embedded"}
        freed = plane.admin.put("/api/v1/pools/p", json=body, headers={"If-Match": "*"})
        assert freed.status_code == 200
        verbs = [row["verb"] for row in plane.admin.get("/api/v1/audit?object=p").json()["rows"]]
        assert verbs == ["pool.set", "pool.undeclare", "pool.set", "pool.set"]
        plane.close()


def test_the_first_admin_gets_one_key(own_url: str) -> None:
    """On an empty database; not a second one while the first is good, and another when all are revoked."""
    key = create_first_admin(own_url, SECRET)
    assert key is not None
    assert create_first_admin(own_url, SECRET) is None
    with running(own_url) as plane, plane.client(key) as client:
        assert client.get("/api/v1/whoami").json()["principal"] == "user:admin"
        for each in client.get("/api/v1/keys").json()["keys"]:
            assert client.delete(f"/api/v1/keys/{each['id']}").status_code == 204
        assert client.get("/api/v1/whoami").status_code == 401
        again = create_first_admin(own_url, SECRET)
        assert again not in (None, key)
        plane.control.publisher.refresh()
        assert (
            plane.anyone.get("/api/v1/whoami", headers={"X-API-Key": again or ""}).json()["principal"]
            == "user:admin"
        )
