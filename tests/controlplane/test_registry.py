"""Models, versions and pools over the API."""

from typing import Any

import pytest

from tests.controlplane.harness import Running, digest, targets


def version(number: Any, text: str | None = None) -> dict[str, Any]:
    return {"version": number, "digest": text or digest(1)}


def test_registering_is_idempotent_and_adds_versions(plane: Running) -> None:
    """A pipeline may run twice; versions that it does not name stay."""
    name = plane.fresh("model")
    body = {"team": "vision", "pool": "declared", "versions": [version(2), version(1)]}
    made = plane.lead.put(f"/api/v1/models/{name}", json=body)
    assert made.status_code == 201, made.text
    assert plane.lead.put(f"/api/v1/models/{name}", json=body).json()["revision"] == 1
    more = plane.lead.put(f"/api/v1/models/{name}", json={"versions": [version(7)]})
    assert (more.status_code, more.headers["ETag"]) == (200, '"2"')
    assert [each["version"] for each in more.json()["versions"]] == [1, 2, 7]
    assert plane.lead.get(f"/api/v1/models/{name}").json() == more.json()
    assert name in [each["name"] for each in plane.lead.get("/api/v1/models").json()["models"]]


def test_a_versions_digest_never_changes(plane: Running) -> None:
    """Else a pinned version would be another artefact tomorrow."""
    name = plane.model(plane.fresh("model"))
    refused = plane.lead.put(f"/api/v1/models/{name}", json={"versions": [version(1, digest(9)), version(5)]})
    assert refused.status_code == 409
    assert [each["version"] for each in plane.lead.get(f"/api/v1/models/{name}").json()["versions"]] == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"versions": []}, "team: required"),
        ({"team": "vision", "pool": "nowhere", "versions": []}, "no pool 'nowhere'"),
        ({"team": "", "pool": "declared"}, "not a name"),
        ({"team": "vision", "pool": "\x00"}, "no pool"),
        ({"team": "vision", "pool": "declared", "versions": [version(0)]}, "between 1 and"),
        ({"team": "vision", "pool": "declared", "versions": [version(2**63)]}, "between 1 and"),
        ({"team": "vision", "pool": "declared", "versions": [version(-1)]}, "between 1 and"),
        ({"team": "vision", "pool": "declared", "versions": [version(1), version(1)]}, "2 times"),
        ({"team": "vision", "pool": "declared", "versions": [version(True)]}, "bool"),
        ({"team": "vision", "pool": "declared", "versions": [version(1, "md5:0")]}, "digest"),
        ({"team": "vision", "pool": "declared", "versions": [version(1, digest(1) + "\n")]}, "digest"),
        ({"team": "vision", "pool": "declared", "reason": "a\x00b"}, "reason"),
        ({"team": "vision", "pool": "declared", "colour": 1}, "unknown field"),
    ],
)
def test_a_bad_model_is_refused(plane: Running, body: dict[str, Any], words: str) -> None:
    """422 in words, and nothing is registered."""
    name = plane.fresh("model")
    refused = plane.admin.put(f"/api/v1/models/{name}", json=body)
    assert refused.status_code == 422, refused.text
    assert any(words in problem for problem in refused.json()["problems"]), refused.text
    assert plane.admin.get(f"/api/v1/models/{name}").status_code == 404


def test_a_version_in_use_cannot_be_removed(plane: Running) -> None:
    """409 names the aliases, a weight of zero included; afterwards it goes, and only once."""
    model = plane.model(plane.fresh("model"))
    alias = plane.fresh()
    body = {"team": "vision", "targets": targets((1, 10_000), (2, 0), model=model)}
    plane.lead.put(f"/api/v1/aliases/{alias}", json=body).raise_for_status()
    for number in (1, 2):
        refused = plane.lead.delete(f"/api/v1/models/{model}/versions/{number}")
        assert refused.status_code == 409
        assert alias in refused.json()["detail"]
    assert plane.lead.delete(f"/api/v1/models/{model}/versions/3?reason=gone").status_code == 204
    assert plane.lead.delete(f"/api/v1/models/{model}/versions/3").status_code == 404
    assert plane.lead.delete(f"/api/v1/models/{model}/versions/nine").status_code == 404


def test_who_may_register(plane: Running) -> None:
    """The team that may flip, and who may admin @models; a stranger does not even see that the model is there."""
    name = plane.model(plane.fresh("model"))
    body = {"team": "vision", "pool": "declared", "versions": [version(9)]}
    assert plane.as_("app:storefront").put(f"/api/v1/models/{name}", json=body).status_code == 403
    stranger = plane.as_("app:stranger")
    assert stranger.get(f"/api/v1/models/{name}").status_code == 404
    assert stranger.put(f"/api/v1/models/{name}", json=body).status_code == 403
    assert stranger.get("/api/v1/models").json() == {"models": []}
    assert stranger.delete(f"/api/v1/models/{name}/versions/1").status_code == 404
    other = {"team": "fraud", "pool": "declared", "versions": []}
    assert plane.lead.put(f"/api/v1/models/{plane.fresh('model')}", json=other).status_code == 403


def test_moving_a_model_to_another_pool_needs_its_etag(plane: Running) -> None:
    """Adding overwrites nothing; moving does."""
    name, pool = plane.model(plane.fresh("model")), plane.fresh("pool")
    plane.admin.put(f"/api/v1/pools/{pool}", json={"engine": "embedded"}).raise_for_status()
    path = f"/api/v1/models/{name}"
    assert plane.lead.put(path, json={"pool": pool}).status_code == 428
    assert plane.lead.put(path, json={"pool": pool}, headers={"If-Match": '"9"'}).status_code == 412
    assert plane.lead.put(path, json={"pool": pool}, headers={"If-Match": '"1"'}).json()["pool"] == pool
    refused = plane.admin.delete(f"/api/v1/pools/{pool}")
    assert refused.status_code == 409
    assert name in refused.json()["detail"]


def test_a_model_does_not_take_the_name_of_another_teams_alias(plane: Running) -> None:
    """The alias would stand in front of it, and the snapshot would be refused."""
    alias = plane.alias()
    body = {"team": "fraud", "pool": "declared", "versions": []}
    refused = plane.admin.put(f"/api/v1/models/{alias}", json=body)
    assert refused.status_code == 422
    assert plane.control.publisher.refusal is None


def test_a_model_of_another_team_is_taken(plane: Running) -> None:
    """Who cannot see it learns that the name is taken, when they may use the name in their own team."""
    theirs = plane.model(plane.fresh("model"), team="fraud")
    refused = plane.lead.put(f"/api/v1/models/{theirs}", json={"team": "vision", "pool": "declared"})
    assert refused.status_code == 409
    assert "fraud" not in refused.text


def test_pools_are_made_changed_and_deleted(plane: Running) -> None:
    """By who may admin @pools, against an ETag; the same again changes nothing."""
    name, url = plane.fresh("pool"), "http://triton-0:8000"
    path = f"/api/v1/pools/{name}"
    made = plane.admin.put(path, json={"engine": "triton", "endpoints": [url]})
    assert made.status_code == 201
    assert plane.admin.put(path, json={"engine": "triton", "endpoints": [url]}).headers["ETag"] == '"1"'
    two = {"engine": "triton", "endpoints": [url, "http://10.0.0.7:8000"]}
    assert plane.admin.put(path, json=two).status_code == 428
    assert plane.admin.put(path, json=two, headers={"If-Match": '"1"'}).headers["ETag"] == '"2"'
    assert plane.admin.get(path).json()["endpoints"] == two["endpoints"]
    assert plane.as_("user:sre").get(path).status_code == 200
    assert plane.lead.get(path).status_code == 403
    assert plane.as_("user:sre").put(path, json=two).status_code == 403
    assert plane.admin.delete(path).status_code == 204
    assert plane.admin.get(path).status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254:80",
        "http://[fe80::1]:80",
        "http://metadata.google.internal:80",
        "http://2852039166:80",
        "http://[::ffff:169.254.169.254]:80",
        "file:///etc/passwd",
        "https://triton:8000",
        "http://user:word@triton:8000",
        "http://triton:8000/v2",
        "http://triton:8000?x",
        "http://tri ton:8000",
        "http://triton:0",
        "http://:8000",
        "triton:8000",
        "",
    ],
)
def test_a_bad_endpoint_is_refused(plane: Running, url: str) -> None:
    """Metadata addresses, other schemes, user information, paths: 422, and no pool."""
    name = plane.fresh("pool")
    refused = plane.admin.put(f"/api/v1/pools/{name}", json={"engine": "triton", "endpoints": [url]})
    assert refused.status_code == 422, refused.text
    assert plane.admin.get(f"/api/v1/pools/{name}").status_code == 404


def test_a_pool_may_say_where_its_servers_speak_grpc(plane: Running) -> None:
    """One address for each endpoint, shown with it; fewer, another scheme or a metadata address: 422."""
    path = f"/api/v1/pools/{plane.fresh('pool')}"
    body = {"engine": "triton", "endpoints": ["http://a:1", "http://b:1"]}
    for bad in (
        ["grpc://a:2"],
        ["http://a:2", "http://b:2"],
        ["grpc://a:2", "grpc://169.254.169.254:80"],
    ):
        assert plane.admin.put(path, json=body | {"grpc_endpoints": bad}).status_code == 422
    good = ["grpc://a:2", "grpc://b:3"]
    plane.admin.put(path, json=body | {"grpc_endpoints": good}).raise_for_status()
    assert plane.admin.get(path).json()["grpc_endpoints"] == good


def test_a_pool_says_what_it_is(plane: Running) -> None:
    """Triton without endpoints, an embedded engine with some, an endpoint twice, another engine: 422."""
    for body in (
        {"engine": "triton"},
        {"engine": "embedded", "endpoints": ["http://a:1"]},
        {"engine": "triton", "endpoints": ["http://a:1", "http://a:1"]},
        {"engine": "torch"},
    ):
        assert plane.admin.put(f"/api/v1/pools/{plane.fresh('pool')}", json=body).status_code == 422
    assert plane.admin.put("/api/v1/pools/.x", json={"engine": "embedded"}).status_code == 422


def test_a_declared_pool_is_changed_only_in_the_settings(plane: Running) -> None:
    """409 says where."""
    for method, body in (("PUT", {"engine": "triton", "endpoints": ["http://a:1"]}), ("DELETE", None)):
        refused = plane.admin.request(method, "/api/v1/pools/declared", json=body, headers={"If-Match": "*"})
        assert refused.status_code == 409
        assert "declared in the settings file" in refused.json()["detail"]
    assert plane.admin.get("/api/v1/pools/declared").json()["declared"] is True
