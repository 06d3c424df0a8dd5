"""The audit: one row for every change, none for a refusal, no gap, no secret."""

import json

from sqlalchemy import select

from gateway.db.models import AuditRow
from tests.controlplane.harness import Running, digest, targets


def test_every_verb_leaves_one_row(own_plane: Running) -> None:
    """Who, what, from what to what, why, and the request it came with; newest first and without a gap."""
    plane = own_plane
    last = plane.admin.get("/api/v1/audit?limit=1").json()["rows"][0]["id"]
    alias = plane.fresh()
    body = {"team": "vision", "targets": targets((1, 10_000)), "reason": "why\nnot"}
    reply = plane.lead.put(f"/api/v1/aliases/{alias}", json=body)
    plane.lead.put(
        f"/api/v1/aliases/{alias}", json={"targets": targets((2, 10_000))}, headers={"If-Match": "*"}
    )
    plane.lead.post(f"/api/v1/aliases/{alias}/rollback")
    plane.lead.delete(f"/api/v1/aliases/{alias}", headers={"If-Match": "*"})
    plane.admin.put("/api/v1/pools/p", json={"engine": "embedded"})
    plane.admin.delete("/api/v1/pools/p")
    version = {"versions": [{"version": 9, "digest": digest(9)}]}
    plane.lead.put("/api/v1/models/digits", json=version)
    plane.lead.delete("/api/v1/models/digits/versions/9")
    key = plane.admin.post("/api/v1/keys", json={"principal": "app:x"}).json()
    plane.admin.delete(f"/api/v1/keys/{key['id']}")
    grant = ["app:x", "d", "o", "infer", "allow"]
    plane.admin.post("/api/v1/policy/rows", json={"add": {"grants": [grant]}})
    # Refused or idle: no row.
    plane.lead.put(f"/api/v1/aliases/{alias}", json={"targets": []})
    plane.admin.delete(f"/api/v1/keys/{key['id']}")
    plane.admin.post("/api/v1/policy/rows", json={"add": {"grants": [grant]}})

    rows = plane.admin.get("/api/v1/audit").json()["rows"]
    made = [
        row
        for row in rows
        if (row["id"] > last and row["verb"] != "key.create") or row["object"].endswith(key["id"])
    ]
    assert [row["verb"] for row in reversed(made)] == [
        "alias.create",
        "alias.set",
        "alias.rollback",
        "alias.delete",
        "pool.set",
        "pool.delete",
        "model.register",
        "model.remove-version",
        "key.create",
        "key.revoke",
        "policy.change",
    ]
    ids = [row["id"] for row in rows]
    assert ids == list(range(ids[0], 0, -1))
    created = next(row for row in rows if row["verb"] == "alias.create")
    assert created["request_id"] == reply.headers["X-Request-Id"]
    assert (created["actor"], created["object"], created["reason"]) == (
        "user:lead",
        f"alias:{alias}",
        "why\nnot",
    )
    assert created["before"] is None
    assert created["after"]["targets"] == [{"model": "digits", "version": 1, "weight_bp": 10_000}]
    policy = next(row for row in rows if row["verb"] == "policy.change")
    assert policy["after"]["grants"] == [grant]


def test_the_audit_is_paged_and_filtered(plane: Running) -> None:
    """By object, by its bare name, by actor; `next` continues where a page ends."""
    alias = plane.alias()
    plane.lead.put(
        f"/api/v1/aliases/{alias}", json={"targets": targets((2, 10_000))}, headers={"If-Match": "*"}
    )
    for name in (alias, f"alias:{alias}"):
        rows = plane.admin.get("/api/v1/audit", params={"object": name}).json()["rows"]
        assert [row["verb"] for row in rows] == ["alias.set", "alias.create"]
    mine = plane.admin.get("/api/v1/audit", params={"object": alias, "actor": "user:lead"}).json()["rows"]
    assert [row["verb"] for row in mine] == ["alias.set"]
    first = plane.admin.get("/api/v1/audit?limit=2").json()
    second = plane.admin.get(f"/api/v1/audit?limit=2&before={first['next']}").json()
    ids = [row["id"] for row in first["rows"] + second["rows"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 4
    assert plane.admin.get("/api/v1/audit?before=1").json() == {"rows": [], "next": None}


def test_bad_filters_are_refused(plane: Running) -> None:
    """400 in words, and never a failure of the database."""
    for query in (
        "limit=0",
        "limit=1001",
        "limit=x",
        "before=0",
        f"before={2**70}",
        "object=%00",
        "actor=%27",
    ):
        assert plane.admin.get(f"/api/v1/audit?{query}").status_code == 400, query


def test_who_may_read_the_audit(plane: Running) -> None:
    """`read` on @audit."""
    assert plane.as_("user:sre").get("/api/v1/audit").status_code == 200
    assert plane.lead.get("/api/v1/audit").status_code == 403


def test_the_payload_is_canonical(plane: Running) -> None:
    """The same content has the same bytes, which a hash over it can rely on."""
    plane.alias()
    with plane.control.read() as session:
        for payload in session.scalars(select(AuditRow.payload)):
            again = json.dumps(json.loads(payload), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            assert again == payload
