"""What is recorded of models and versions: over the API, on both databases."""

from typing import Any

import pytest

from tests.controlplane.harness import Running, digest, targets
from tests.controlplane.test_callers import called

OUTPUT = {"name": "scores", "datatype": "FP32", "shape": [-1, 10]}


def tensor(name: str = "image", datatype: str = "FP32", shape: tuple[int, ...] = (-1, 64)) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def signature(*inputs: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": list(inputs or (tensor(),)), "outputs": [OUTPUT]}


def version(number: int, **record: Any) -> dict[str, Any]:
    return {"version": number, "digest": digest(number), "record": record or None}


def put(plane: Running, name: str, *versions: dict[str, Any], **fields: Any) -> Any:
    """Register as the lead of team vision; the reply."""
    headers = fields.pop("headers", {})
    params = fields.pop("params", {})
    body = {"team": "vision", "pool": "declared", "versions": list(versions), **fields}
    return plane.lead.put(f"/api/v1/models/{name}", json=body, headers=headers, params=params)


def shown(plane: Running, name: str, number: int) -> dict[str, Any]:
    reply = plane.lead.get(f"/api/v1/models/{name}/versions/{number}")
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


RECORD: dict[str, Any] = {
    "signature": signature(),
    "base_models": [{"model": "sentence-transformers/all-MiniLM-L6-v2", "relation": "fine-tune"}],
    "data": [
        {"use": "training", "name": "d", "digest": digest(9), "licence": "CC-BY-4.0", "location": "s3://d"}
    ],
    "code": {"repository": "https://git.example/x", "commit": "0123abc", "path": "train.py"},
    "environment": {"lock_digest": digest(8), "python": "3.11"},
    "hyperparameters": {"rate": 0.5, "sizes": [1, 2], "kind": "x", "deep": True, "none": None},
    "command": "make train",
    "pipeline_run": {"id": "77", "url": "https://ci.example/77"},
    "files": [{"path": "model.onnx", "size_bytes": 3, "digest": digest(7)}],
}
DESCRIPTION: dict[str, Any] = {
    "description": "Reads digits.\nSecond line.",
    "stakeholders": [{"person": "Ana", "role": "owner", "contact": "ana@example.com"}],
    "licence": "apache-2.0",
    "intended_use": "Tests",
    "risk": "High",
    "dependencies": [{"name": "numpy", "version": ">=1", "licence": "BSD-3-Clause"}],
}


def test_a_record_is_kept_whole_and_registering_it_again_changes_nothing(plane: Running) -> None:
    """Everything comes back as it was given, the licence as SPDX writes it."""
    name = plane.fresh("model")
    made = put(plane, name, version(1, **RECORD), description=DESCRIPTION)
    assert made.status_code == 201, made.text
    again = put(plane, name, version(1, **RECORD), description=DESCRIPTION)
    assert (again.status_code, again.json()) == (200, made.json())
    found = shown(plane, name, 1)
    assert found["record"]["pipeline_run"] == RECORD["pipeline_run"]
    assert found["record"]["hyperparameters"] == RECORD["hyperparameters"]
    assert found["record"]["data"] == RECORD["data"]
    assert found["description"]["licence"] == "Apache-2.0"
    assert found["version"]["recorded"] is True
    assert found["recorded_by"] == "user:lead"
    assert made.json()["description"] == found["description"]


def test_what_identifies_a_version_never_changes(plane: Running) -> None:
    """409 names every field that would; what was not known may become so; nothing else moves."""
    name = plane.fresh("model")
    put(plane, name, version(1, signature=signature(), command="a")).raise_for_status()
    refused = put(plane, name, version(1, signature=signature(tensor("x")), command="b"), version(2))
    assert refused.status_code == 409
    assert refused.json()["problems"] == [
        "version 1: signature: differs from what is recorded",
        "version 1: command: differs from what is recorded",
    ]
    assert [each["version"] for each in plane.lead.get(f"/api/v1/models/{name}").json()["versions"]] == [1]
    more = put(plane, name, version(1, code=RECORD["code"]))
    assert (more.status_code, more.json()["revision"]) == (200, 2)
    record = shown(plane, name, 1)["record"]
    assert (record["command"], record["code"]) == ("a", RECORD["code"])


def test_a_description_changes_only_against_its_etag_and_is_audited(plane: Running) -> None:
    """The first one adds; another one overwrites. Both stand in the audit, before and after."""
    name = plane.fresh("model")
    put(plane, name, version(1)).raise_for_status()
    assert put(plane, name, description=DESCRIPTION).status_code == 200
    changed = DESCRIPTION | {"risk": "Low"}
    assert put(plane, name, description=changed).status_code == 428
    assert put(plane, name, description=changed, headers={"If-Match": '"1"'}).status_code == 412
    done = put(plane, name, description=changed, headers={"If-Match": '"2"'}, reason="reviewed")
    assert (done.status_code, done.json()["description"]["risk"]) == (200, "Low")
    row = plane.admin.get("/api/v1/audit", params={"limit": 1}).json()["rows"][0]
    assert (row["before"]["description"]["risk"], row["after"]["description"]["risk"]) == ("High", "Low")
    assert row["reason"] == "reviewed"


def test_all_faults_are_told_together_and_nothing_changes(plane: Running) -> None:
    """Of the description, of records, and of versions; 422."""
    name = plane.fresh("model")
    refused = put(
        plane,
        name,
        version(1, files=[{"path": "../x", "size_bytes": 1, "digest": digest(1)}]),
        version(2, base_models=[{"model": f"{name}@2", "relation": "merge"}]),
        version(0),
        description={"licence": "mine"},
    )
    assert refused.status_code == 422
    text = "\n".join(refused.json()["problems"])
    for words in (
        "description.licence",
        "versions[0].record.files[0].path",
        "made from itself",
        "between 1 and",
    ):
        assert words in text, text
    assert plane.lead.get(f"/api/v1/models/{name}").status_code == 404


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"colour": 1}, "versions[0].record.colour: unknown field"),
        ({"signature": {"inputs": [], "outputs": [OUTPUT]}}, "record.signature.inputs"),
        ({"signature": signature(tensor(datatype="float"))}, "record.signature.inputs[0].datatype"),
        ({"signature": signature(tensor(shape=(-2,)))}, "record.signature.inputs[0].shape[0]"),
        ({"signature": signature(tensor(name="a\x1bb"))}, "record.signature.inputs[0].name"),
        ({"data": [{"use": "dreaming", "name": "d"}]}, "record.data[0].use"),
        ({"data": [{"use": "training", "name": "d", "digest": "sha256:x"}]}, "record.data[0].digest"),
        ({"code": {"repository": "r", "commit": "main"}}, "record.code.commit"),
        ({"hyperparameters": {"a": {"b": 1}}}, "record.hyperparameters.a"),
        ({"base_models": [{"model": "a", "relation": "uncle"}]}, "record.base_models[0].relation"),
        ({"command": 7}, "record.command"),
        ({"files": [{"path": "a", "size_bytes": -1, "digest": digest(1)}]}, "record.files[0].size_bytes"),
    ],
)
def test_a_bad_record_is_refused(plane: Running, record: dict[str, Any], words: str) -> None:
    """422 with the place, and no model."""
    name = plane.fresh("model")
    refused = put(plane, name, {"version": 1, "digest": digest(1), "record": record})
    assert refused.status_code == 422, refused.text
    assert any(words in each for each in refused.json()["problems"]), refused.text
    assert plane.lead.get(f"/api/v1/models/{name}").status_code == 404


def test_markup_is_kept_as_text(plane: Running) -> None:
    """What is shown is what was written, byte for byte; nobody executes it here."""
    name = plane.fresh("model")
    text = "<script>alert(1)</script> =cmd() {{7*7}} \u202eabc"
    put(plane, name, version(1), description={"description": text}).raise_for_status()
    assert plane.lead.get(f"/api/v1/models/{name}").json()["description"]["description"] == text


def test_a_breaking_signature_is_flagged_with_whom_it_would_break(plane: Running) -> None:
    """The callers of aliases that send traffic to the earlier versions, and who names them; no refusal."""
    name = plane.fresh("model")
    put(plane, name, version(1, signature=signature()), version(2, signature=signature())).raise_for_status()
    served, moved = plane.fresh(), plane.fresh()
    for alias, number in ((served, 1), (moved, 2)):
        body = {"team": "vision", "targets": targets((number, 10_000), model=name)}
        plane.lead.put(f"/api/v1/aliases/{alias}", json=body).raise_for_status()
    called(plane, served, "app:shop", {0: 5, 1: 6}, model=name, version=1)
    called(plane, moved, "app:moved", {0: 7}, model=name, version=1)
    called(plane, moved, "app:pins", {0: 3}, model=name, version=1, pinned=3)
    called(plane, served, "app:gone", {20: 9}, model=name, version=1)
    wider = version(3, signature=signature(tensor(shape=(-1, -1))))
    other = version(4, signature=signature(tensor("pixels", "INT64")))
    made = put(plane, name, wider, other).json()["versions"]
    assert [each["breaking"] for each in made[:3]] == [[], [], []]
    lines = ["input image: is gone or has another name", "input pixels: is new and not optional"]
    assert made[3]["breaking"] == [{"versions": [1, 2, 3], "differences": lines}]
    assert [(c["principal"], c["calls"], c["aliases"]) for c in made[3]["callers"]] == [
        ("app:shop", 11, [served]),
        ("app:pins", 3, [moved]),
    ]
    assert shown(plane, name, 4)["version"] == made[3]
    listed = plane.lead.get("/api/v1/models", params={"q": name}).json()["models"][0]
    assert [each["breaks"] for each in listed["versions"]] == [False, False, False, True]
    # Who may only read it learns that it breaks, not whom.
    plain = plane.as_("app:storefront").get(f"/api/v1/models/{name}").json()["versions"][3]
    assert (plain["breaking"], plain["callers"]) == (made[3]["breaking"], None)


def test_removing_the_version_that_was_broken_takes_the_flag_away(plane: Running) -> None:
    """And a signature that becomes known later is judged then."""
    name = plane.fresh("model")
    put(plane, name, version(1), version(2, signature=signature(tensor("x")))).raise_for_status()
    assert shown(plane, name, 2)["version"]["breaking"] == []
    put(plane, name, version(1, signature=signature())).raise_for_status()
    assert shown(plane, name, 2)["version"]["breaking"][0]["versions"] == [1]
    plane.lead.delete(f"/api/v1/models/{name}/versions/1").raise_for_status()
    assert shown(plane, name, 2)["version"]["breaking"] == []
    assert plane.lead.get(f"/api/v1/models/{name}/versions/1").status_code == 404


def test_a_dry_run_checks_everything_and_changes_nothing(plane: Running) -> None:
    """It answers as the change would, refuses as it would, and leaves neither row, audit nor snapshot behind."""
    name, stranger = plane.fresh("model"), plane.as_("app:stranger")
    before = plane.admin.get("/api/v1/audit", params={"limit": 1}).json()["rows"][0]["id"]
    snapshot = plane.control.publisher.published
    tried = put(plane, name, version(1, **RECORD), description=DESCRIPTION, params={"dry_run": "true"})
    assert (tried.status_code, tried.json()["revision"]) == (200, 1)
    assert "ETag" not in tried.headers
    assert put(plane, name, version(0), params={"dry_run": "true"}).status_code == 422
    assert plane.lead.get(f"/api/v1/models/{name}").status_code == 404
    assert plane.admin.get("/api/v1/audit", params={"limit": 1}).json()["rows"][0]["id"] == before
    assert plane.control.publisher.published is snapshot
    body = {"team": "vision", "pool": "declared"}
    tried = stranger.put(f"/api/v1/models/{name}", json=body, params={"dry_run": "true"})
    assert tried.status_code == 403


def test_models_are_found_by_team_risk_licence_and_text(plane: Running) -> None:
    """All filters together; a licence however it is written; a text in any case, in names, prose and people."""
    name = plane.fresh("found")
    put(plane, name, version(1), description=DESCRIPTION).raise_for_status()
    plane.model(plane.fresh("other"))

    def names(**wanted: str) -> list[str]:
        reply = plane.lead.get("/api/v1/models", params=wanted)
        assert reply.status_code == 200, reply.text
        return [each["name"] for each in reply.json()["models"] if each["name"].startswith(name[:5])]

    for wanted in (
        {"team": "vision", "risk": "High", "licence": "Apache-2.0", "q": "READS"},
        {"licence": "APACHE-2.0"},
        {"q": "ana@example"},
        {"q": name.upper()},
    ):
        assert name in names(**wanted)
    for unwanted in (
        {"team": "fraud"},
        {"risk": "Low"},
        {"licence": "MIT"},
        {"licence": "x'; --"},
        {"q": "%"},
    ):
        assert name not in names(**unwanted)
    assert plane.lead.get("/api/v1/models", params={"risk": "Severe"}).status_code == 400


def test_circles_are_refused_with_their_way(plane: Running) -> None:
    """Through other models, through all versions of one, and within one change; unknown names are no circle."""
    one, two = plane.fresh("model"), plane.fresh("model")

    def made_from(*bases: str) -> dict[str, Any]:
        return {"base_models": [{"model": each, "relation": "fine-tune"} for each in bases]}

    put(
        plane, one, version(1, **made_from(f"{two}@1", "somebody/else", "not registered anywhere"))
    ).raise_for_status()
    refused = put(plane, two, version(1, **made_from(f"{one}@1")))
    assert refused.status_code == 422
    assert f"{two}@1 < {one}@1 < {two}@1" in refused.json()["detail"]
    through_all = put(plane, two, version(1, **made_from(one)))
    assert f"{two}@1 < {one} < {two}@1" in through_all.json()["detail"]
    within = put(plane, two, version(2, **made_from(f"{two}@3")), version(3, **made_from(f"{two}@2")))
    assert within.status_code == 422
    assert put(plane, two, version(1, **made_from(two))).status_code == 422
    put(plane, two, version(1, **made_from("somebody/else"))).raise_for_status()
    put(plane, two, version(2, **made_from(f"{two}@1", f"{one}@1"))).raise_for_status()


def test_lineage_is_a_graph_of_ancestors_and_descendants(plane: Running) -> None:
    """At any distance, on both sides; what is elsewhere by name; and not what the caller may not see."""
    one, two, three, hidden = (plane.fresh("model") for _ in range(4))

    def made_from(*bases: tuple[str, str]) -> dict[str, Any]:
        return {"base_models": [{"model": name, "relation": relation} for name, relation in bases]}

    put(plane, one, version(1, **made_from(("org/base", "fine-tune")))).raise_for_status()
    put(
        plane, two, version(1, **made_from((f"{one}@1", "ensemble"), (f"{one}@7", "other")))
    ).raise_for_status()
    put(plane, three, version(4, **made_from((two, "distillation")))).raise_for_status()
    secret = version(1, **made_from((f"{two}@1", "adapter")))
    body = {"team": "fraud", "pool": "declared", "versions": [secret]}
    plane.admin.put(f"/api/v1/models/{hidden}", json=body).raise_for_status()
    found = plane.lead.get(f"/api/v1/models/{two}/versions/1/lineage").json()
    edges = {(each["base"], each["made"], each["relation"]) for each in found["edges"]}
    assert edges == {
        ("org/base", f"{one}@1", "fine-tune"),
        (f"{one}@1", f"{two}@1", "ensemble"),
        (f"{one}@7", f"{two}@1", "other"),
        (f"{two}@1", f"{three}@4", "distillation"),
    }
    registered = {each["name"]: each["registered"] for each in found["nodes"]}
    assert registered == {
        f"{two}@1": True,
        f"{one}@1": True,
        "org/base": False,
        f"{one}@7": False,
        f"{three}@4": True,
    }
    assert (found["of"], found["complete"]) == ([f"{two}@1"], True)
    all_of = plane.admin.get(f"/api/v1/models/{two}/lineage").json()
    assert f"{hidden}@1" in [each["made"] for each in all_of["edges"]]
    assert plane.lead.get(f"/api/v1/models/{hidden}/lineage").status_code == 404
    assert plane.lead.get(f"/api/v1/models/{two}/versions/9/lineage").status_code == 404
