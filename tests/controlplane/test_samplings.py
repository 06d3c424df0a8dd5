"""Sampling over the API: who decides what is kept, what is refused, and the deletion of what was kept."""

import time
from typing import Any

import pytest

from gateway.controlplane.samples import tensors
from gateway.secret import Pseudonyms
from gateway.snapshot.document import MaskRule
from gateway.upstream.tensors import TensorSpec, VersionTensors
from tests.controlplane.harness import SECRET, Running, targets

RULES = [
    {"action": "keep", "tensor": "text", "part": "request"},
    {"action": "hash", "detector": "email"},
    {"action": "drop", "tensor": "old", "optional": True},
]


def path(alias: str) -> str:
    """Where the sampling of an alias is."""
    return f"/api/v1/aliases/{alias}/sampling"


def report(plane: Running, worker: str, samples: dict[str, Any] | None, host: str = "here") -> Any:
    """A worker's report, and what it is told."""
    body = {
        "host": host, "pid": 1, "role": "data", "snapshot_version": 1, "started_at": time.time(), "samples": samples,
    }  # fmt: skip
    answer = plane.worker.post(f"/api/v1/workers/{worker}/report", json=body)
    assert answer.is_success, answer.text
    return answer.json()["sample_deletions"] if answer.status_code == 200 else []


def test_sampling_is_set_shown_changed_and_stopped(plane: Running) -> None:
    """It reaches the snapshot, has an ETag of its own, keeps its salt while it lasts, and every change is audited."""
    alias = plane.alias((1, 9_900), (2, 100))
    assert plane.lead.get(path(alias)).status_code == 404
    made = plane.lead.put(path(alias), json={"rate_bp": 100, "rules": RULES, "reason": "to watch for drift"})
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    shown = plane.lead.get(path(alias)).json()
    assert shown == made.json()
    assert shown["rules"] == RULES
    assert [(arm["version"], arm["arm"], arm["inclusion"]) for arm in shown["arms"]] == [
        (1, "stable", 0.01),
        (2, "candidate", 0.99),
    ]
    published = plane.control.publisher.published
    assert published is not None
    (entry,) = (each.sampling for each in published.document.aliases if each.name == alias)
    assert entry is not None
    assert (entry.rate_bp, entry.salt) == (100, shown["salt"])
    assert entry.rules[0] == MaskRule("keep", tensor="text", part="request")
    assert published.snapshot.aliases[alias].sampled
    assert plane.lead.put(path(alias), json={"rate_bp": 100, "rules": RULES}).json()["revision"] == 1
    assert plane.lead.put(path(alias), json={"rate_bp": 200}).status_code == 428
    changed = plane.lead.put(path(alias), json={"rate_bp": 200}, headers={"If-Match": '"1"'}).json()
    assert (changed["revision"], changed["rules"], changed["salt"]) == (2, [], shown["salt"])
    assert alias in [each["alias"] for each in plane.lead.get("/api/v1/samplings").json()["samplings"]]
    assert plane.lead.delete(path(alias), params={"reason": "enough"}).status_code == 204
    assert plane.lead.get(path(alias)).status_code == 404
    rows = plane.admin.get("/api/v1/audit", params={"object": f"alias:{alias}"}).json()["rows"]
    assert [(row["verb"], row["actor"], row["reason"]) for row in rows][:3] == [
        ("sampling.stop", "user:lead", "enough"),
        ("sampling.set", "user:lead", None),
        ("sampling.set", "user:lead", "to watch for drift"),
    ]
    again = plane.lead.put(path(alias), json={"rate_bp": 100}).json()
    assert again["salt"] != shown["salt"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"rate_bp": 0}, ["between 1 and 10000"]),
        ({"rate_bp": 10_001}, ["between 1 and 10000"]),
        ({"rate_bp": -5, "rules": [{"action": "keep"}]}, ["between 1 and 10000", "exactly one of"]),
        ({"rate_bp": 1.5}, ["rate_bp"]),
        ({"rate_bp": 1, "rules": [{"action": "shred", "tensor": "a"}]}, ["action"]),
        ({"rate_bp": 1, "rules": [{"action": "keep", "path": "$..a"}]}, ["has a path that cannot be used"]),
        ({"rate_bp": 1, "rules": [{"action": "keep", "detector": "names"}]}, ["detector"]),
        ({"rate_bp": 1, "rules": [{"action": a, "tensor": "t"} for a in ("keep", "drop")]}, ["one may"]),
        ({"rate_bp": 1, "colour": "red"}, ["unknown field"]),
    ],
)
def test_what_makes_no_sense_is_refused_whole(plane: Running, body: dict[str, Any], words: list[str]) -> None:
    """422 with every fault, and the alias is not sampled."""
    alias = plane.alias()
    refused = plane.lead.put(path(alias), json=body)
    assert refused.status_code == 422
    assert all(word in refused.text for word in words), refused.text
    assert plane.lead.get(path(alias)).status_code == 404


def test_who_may_flip_an_alias_decides_and_who_may_read_it_sees(plane: Running) -> None:
    """To others the alias is not even there."""
    alias = plane.alias()
    for principal, status in (("app:storefront", 403), ("user:sre", 403), ("app:stranger", 404)):
        assert plane.as_(principal).put(path(alias), json={"rate_bp": 1}).status_code == status, principal
    plane.lead.put(path(alias), json={"rate_bp": 1}).raise_for_status()
    for principal, status in (("app:storefront", 200), ("user:sre", 200), ("app:stranger", 404)):
        assert plane.as_(principal).get(path(alias)).status_code == status, principal
        found = plane.as_(principal).get("/api/v1/samplings").json()["samplings"]
        assert (alias in [each["alias"] for each in found]) == (status == 200)
    assert plane.as_("app:storefront").delete(path(alias)).status_code == 403


def test_an_alias_takes_its_sampling_with_it(plane: Running) -> None:
    """Who makes an alias of the name anew decides anew."""
    alias = plane.alias()
    plane.lead.put(path(alias), json={"rate_bp": 1}).raise_for_status()
    etag = plane.lead.get(f"/api/v1/aliases/{alias}").headers["ETag"]
    plane.lead.delete(f"/api/v1/aliases/{alias}", headers={"If-Match": etag}).raise_for_status()
    body = {"team": "vision", "targets": targets((1, 10_000))}
    plane.admin.put(f"/api/v1/aliases/{alias}", json=body).raise_for_status()
    assert plane.lead.get(path(alias)).status_code == 404


def test_a_rule_that_names_no_tensor_is_refused_where_that_can_be_known(
    plane: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the names that there are; a rule that says that some versions lack its tensor is taken."""
    alias = plane.alias((1, 5_000), (2, 5_000))
    known = VersionTensors((TensorSpec("image", "FP32"),), (TensorSpec("probabilities", "FP32"),))
    monkeypatch.setattr(tensors, "_ask", lambda *_: known)

    def put(*rules: dict[str, Any]) -> Any:
        return plane.lead.put(path(alias), json={"rate_bp": 1, "rules": list(rules)})

    refused = put({"action": "drop", "tensor": "imge"})
    assert refused.status_code == 422
    problems = refused.json()["problems"]
    assert [problem.partition(" has")[0] for problem in problems] == ["digits@1", "digits@2"]
    assert "no tensor 'imge'; it has image, probabilities" in problems[0]
    assert (
        "in its reply; it has probabilities"
        in put({"action": "drop", "tensor": "image", "part": "reply"}).text
    )
    assert plane.lead.get(path(alias)).status_code == 404
    fine = put(
        {"action": "drop", "tensor": "imge", "optional": True},
        {"action": "keep", "tensor": "*"},
        {"action": "hash", "tensor": "image", "part": "request"},
    )
    assert fine.status_code == 201


def test_nobody_has_to_tell_of_tensors(plane: Running) -> None:
    """No server answers and the embedded engine is not here: the rule is taken, and workers look before they keep anything."""
    alias = plane.alias()
    body = {"rate_bp": 1, "rules": [{"action": "drop", "tensor": "whatever"}]}
    assert plane.lead.put(path(alias), json=body).status_code == 201


def test_what_workers_say_of_an_alias_is_shown_with_it(plane: Running) -> None:
    """A rule that their model does not fit, and a store that cannot be written."""
    alias = plane.alias()
    plane.lead.put(path(alias), json={"rate_bp": 1}).raise_for_status()
    worker = plane.fresh("worker")
    report(
        plane, worker, {"problems": {alias: ["a mask rule names tensor 'x'"]}, "sink": "OSError: no space"}
    )
    found = [each for each in plane.lead.get(path(alias)).json()["problems"] if each["worker"] == worker]
    assert [each["problem"] for each in found] == [
        "a mask rule names tensor 'x'",
        "its store: OSError: no space",
    ]
    report(plane, worker, {})
    assert not [each for each in plane.lead.get(path(alias)).json()["problems"] if each["worker"] == worker]


def test_a_subject_is_deleted_by_its_pseudonym(own_plane: Running) -> None:
    """Workers are told once, by the pseudonym; it is done when every worker knows and each host's store was gone through.

    What names the person is in no answer and no audit row.
    """
    plane = own_plane
    report(plane, "one", {}, host="a")
    report(plane, "two", {"deletions_done": 0}, host="a")
    report(plane, "three", {"deletions_done": 0}, host="b")
    report(plane, "older", None, host="c")
    asked = plane.admin.post(
        "/api/v1/samples/deletions", json={"subject": "user-4711", "reason": "asked on 3 March"}
    )
    assert asked.status_code == 202
    pseudonym = Pseudonyms(SECRET).of("user-4711")
    assert (asked.json()["subject"], asked.json()["state"]) == (pseudonym, "waiting")
    assert asked.json()["waiting_for"] == ["one", "three", "two"]
    (told,) = report(plane, "one", {}, host="a")
    number = asked.json()["id"]
    assert (told["id"], told["subject"]) == (number, pseudonym)
    assert abs(number / 1000 - time.time()) < 60
    assert abs(told["at"] - time.time()) < 60
    assert report(plane, "one", {"deletions_seen": number}, host="a") == []
    report(plane, "two", {"deletions_seen": number, "deletions_done": number}, host="a")
    report(plane, "three", {"deletions_seen": number, "deletions_done": 0}, host="b")

    def newest() -> Any:
        return plane.as_("user:sre").get("/api/v1/samples/deletions").json()["deletions"][0]

    assert (newest()["state"], newest()["waiting_for"]) == ("waiting", ["three"])
    report(plane, "three", {"deletions_seen": number, "deletions_done": number}, host="b")
    assert (newest()["state"], newest()["waiting_for"], newest()["reason"]) == (
        "done",
        [],
        "asked on 3 March",
    )
    audit = plane.admin.get("/api/v1/audit")
    assert "user-4711" not in audit.text + asked.text + str(newest())
    row = next(row for row in audit.json()["rows"] if row["verb"] == "sample.delete")
    assert (row["object"], row["actor"]) == (f"subject:{pseudonym}", "user:admin")


def test_deleting_is_for_who_administers_samples(plane: Running) -> None:
    """An owner's rights end at the team's own aliases; who reads everything sees the deletions."""
    for client in (plane.lead, plane.as_("user:sre"), plane.as_("app:storefront")):
        assert client.post("/api/v1/samples/deletions", json={"subject": "x"}).status_code == 403
    assert plane.lead.get("/api/v1/samples/deletions").status_code == 403
    assert plane.admin.post("/api/v1/samples/deletions", json={"subject": ""}).status_code == 422


def test_a_rule_in_the_database_that_cannot_be_reaches_no_worker(own_plane: Running) -> None:
    """Written past the API, it keeps the whole snapshot from being published; the last good one stays."""
    from sqlalchemy import text

    plane = own_plane
    alias = plane.alias()
    plane.lead.put(path(alias), json={"rate_bp": 1}).raise_for_status()
    before = plane.control.publisher.published
    with plane.control.database._writer.begin() as connection:
        connection.execute(text('UPDATE sampling_rules SET entry = \'{"rate_bp": -1, "salt": ""}\''))
        connection.execute(text("UPDATE state SET version = version + 1"))
    plane.control.publisher.refresh()
    assert plane.control.publisher.published is before
    assert plane.control.publisher.refusal is not None
