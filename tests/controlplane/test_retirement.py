"""The end of an alias or a version: not from under those who still call it."""

from typing import Any

import httpx

from tests.controlplane.harness import Running, targets
from tests.controlplane.test_callers import called


def delete(plane: Running, alias: str, principal: str = "user:lead", **params: Any) -> httpx.Response:
    """Delete an alias."""
    etag = plane.as_(principal).get(f"/api/v1/aliases/{alias}").headers["ETag"]
    return plane.as_(principal).delete(f"/api/v1/aliases/{alias}", params=params, headers={"If-Match": etag})


def newest(plane: Running, obj: str) -> dict[str, Any]:
    """The newest audit row of an object."""
    row: dict[str, Any] = plane.admin.get("/api/v1/audit", params={"object": obj}).json()["rows"][0]
    return row


def test_an_alias_does_not_go_from_under_its_callers(plane: Running) -> None:
    """Whoever called within eight days is named, and nothing changes; those who stopped before do not hold it up."""
    alias = plane.alias()
    called(plane, alias, "app:late", {7: 12})
    called(plane, alias, "app:busy", {0: 3, 1: 4})
    called(plane, alias, "app:stopped", {9: 5})
    plane.lead.put(f"/api/v1/aliases/{alias}/deprecation", json={}).raise_for_status()
    refused = delete(plane, alias)
    assert refused.status_code == 409
    problem = refused.json()
    assert problem["callers"] == ["app:busy", "app:late"]
    assert "app:busy: 7 calls within 8 days, the last one at 20" in problem["problems"][0]
    assert "app:busy, app:late" in problem["detail"]
    assert plane.lead.get(f"/api/v1/aliases/{alias}/deprecation").status_code == 200


def test_force_takes_a_reason_and_names_who_was_cut_off(plane: Running) -> None:
    """The audit has the callers, the reason and the announcement that ended; a rollback brings an alias without one."""
    alias = plane.alias()
    called(plane, alias, "app:busy", {0: 3})
    plane.lead.put(f"/api/v1/aliases/{alias}/deprecation", json={"info_url": "https://x.example"})
    note = f"/api/v1/aliases/{alias}/deprecation/callers/app:busy/note"
    plane.lead.put(note, json={"text": "ask bo"}).raise_for_status()
    for reason in ({}, {"reason": " "}):
        refused = delete(plane, alias, force=True, **reason)
        assert refused.status_code == 422
        assert "reason" in refused.json()["problems"][0]
    assert delete(plane, alias, force=True, reason="it leaks").status_code == 204
    row = newest(plane, f"alias:{alias}")
    assert (row["verb"], row["reason"], row["after"]) == ("alias.delete", "it leaks", None)
    assert row["before"]["cut_off"] == ["app:busy"]
    assert row["before"]["deprecation"]["info_url"] == "https://x.example"
    assert plane.lead.post(f"/api/v1/aliases/{alias}/rollback", json={}).status_code == 200
    assert plane.lead.get(f"/api/v1/aliases/{alias}").json()["deprecation"] is None
    assert plane.lead.get(f"/api/v1/aliases/{alias}/deprecation").status_code == 404
    (caller,) = plane.lead.get(f"/api/v1/aliases/{alias}/deprecation/callers").json()["callers"]
    assert caller["note"] is None


def test_an_alias_that_nobody_else_calls_just_goes(plane: Running) -> None:
    """One's own trial calls hold up nobody, and the audit names nobody."""
    alias = plane.alias()
    called(plane, alias, "user:lead", {0: 3})
    assert delete(plane, alias).status_code == 204
    assert "cut_off" not in newest(plane, f"alias:{alias}")["before"]
    other = plane.alias()
    called(plane, other, "user:lead", {0: 3})
    assert delete(plane, other, "user:admin").status_code == 409


def test_a_successor_does_not_go_either(plane: Running) -> None:
    """Callers are being sent to it."""
    old, new = plane.alias(), plane.alias()
    plane.lead.put(f"/api/v1/aliases/{old}/deprecation", json={"successor": new}).raise_for_status()
    refused = delete(plane, new)
    assert refused.status_code == 409
    assert f"is the successor of alias {old}" in refused.json()["detail"]
    assert delete(plane, old).status_code == 204
    assert delete(plane, new).status_code == 204


def test_a_new_alias_inherits_no_end(plane: Running) -> None:
    """Neither the announcement nor the notes of one that had its name."""
    alias = plane.alias()
    plane.lead.put(f"/api/v1/aliases/{alias}/deprecation", json={}).raise_for_status()
    assert delete(plane, alias).status_code == 204
    body = {"team": "vision", "targets": targets((1, 10_000))}
    made = plane.lead.put(f"/api/v1/aliases/{alias}", json=body)
    assert (made.status_code, made.json()["deprecation"]) == (201, None)


def test_a_version_does_not_go_from_under_who_names_it(plane: Running) -> None:
    """Calls that came through an alias which has moved on do not hold it up, pinned ones do."""
    model = plane.model(plane.fresh("model"))
    path = f"/api/v1/models/{model}/versions/1"
    called(plane, "some-alias", "app:routed", {0: 3}, model=model)
    called(plane, "some-alias", "app:pinned", {0: 3}, model=model, pinned=2)
    plane.lead.put(f"{path}/deprecation", json={}).raise_for_status()
    refused = plane.lead.delete(path)
    assert refused.status_code == 409
    assert refused.json()["callers"] == ["app:pinned"]
    forced = plane.lead.delete(path, params={"force": True, "reason": "licence ran out"})
    assert forced.status_code == 204
    row = newest(plane, f"model:{model}")
    assert (row["verb"], row["before"]["cut_off"]) == ("model.remove-version", ["app:pinned"])
    body = {"versions": [{"version": 1, "digest": f"sha256:{1:064x}"}]}
    assert plane.lead.put(f"/api/v1/models/{model}", json=body).status_code == 200
    assert plane.lead.get(f"{path}/deprecation").status_code == 404
