"""The policy over the API: read, changed, asked."""

from typing import Any

import pytest

from tests.controlplane.harness import Running


def rows(plane: Running) -> Any:
    return plane.admin.get("/api/v1/policy").json()


def change(plane: Running, **body: Any) -> Any:
    return plane.admin.post("/api/v1/policy/rows", json=body)


def allowed(plane: Running, subject: str, action: str, domain: str, obj: str) -> bool:
    question = {"subject": subject, "action": action, "domain": domain, "object": obj}
    return bool(plane.admin.post("/api/v1/policy/check", json=question).json()["allowed"])


def test_rows_are_added_and_removed_and_take_effect_at_once(plane: Running) -> None:
    """The change decides before its reply arrives; again it changes nothing."""
    grant = ["app:extra", "fraud", "cards", "infer", "allow"]
    role = ["app:extra", "role:consumer", "audio"]
    before = rows(plane)["revision"]
    added = change(plane, add={"grants": [grant], "roles": [role]}, reason="new customer")
    assert added.status_code == 200, added.text
    assert added.json()["revision"] == before + 1
    assert added.headers["ETag"] == f'"{before + 1}"'
    assert allowed(plane, "app:extra", "infer", "fraud", "cards")
    assert allowed(plane, "app:extra", "read", "audio", "anything")
    assert change(plane, add={"grants": [grant, grant]}).json()["revision"] == before + 1
    gone = change(plane, remove={"grants": [grant], "roles": [role]})
    assert gone.json()["revision"] == before + 2
    assert not allowed(plane, "app:extra", "infer", "fraud", "cards")
    assert change(plane, remove={"grants": [grant]}).json()["revision"] == before + 2


def test_the_whole_policy_is_replaced_against_its_etag(plane: Running) -> None:
    """428 without, 412 with a stale one; the order of the rows is kept."""
    current = rows(plane)
    body = {
        "grants": [["app:new", "fraud", "*", "read", "allow"], *current["grants"]],
        "roles": current["roles"],
    }
    assert plane.admin.put("/api/v1/policy", json=body).status_code == 428
    assert plane.admin.put("/api/v1/policy", json=body, headers={"If-Match": '"0"'}).status_code == 412
    tag = {"If-Match": f'"{current["revision"]}"'}
    assert plane.admin.put("/api/v1/policy", json=body, headers=tag).status_code == 200
    assert rows(plane)["grants"] == body["grants"]
    back = {"grants": current["grants"], "roles": current["roles"]}
    assert plane.admin.put("/api/v1/policy", json=back, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize(
    ("grants", "roles", "words"),
    [
        ([["", "d", "o", "infer", "allow"]], [], "subject is empty"),
        ([["app:x", "d", "o", "infer", "permit"]], [], "effect is 'permit'"),
        ([["app:x", "d", "o", "infer", ""]], [], "effect is empty"),
        ([["app:x", "d", "o", "fly", "allow"]], [], "action is 'fly'"),
        ([["app:x", "d", "o*", "infer", "allow"]], [], "object"),
        ([["app:x", "", "o", "infer", "allow"]], [], "domain is empty"),
        ([["*", "d", "o", "infer", "allow"]], [], "subject"),
        ([["app:x\x00", "d", "o", "infer", "allow"]], [], "subject"),
        ([["app:x", "d", "o", "infer"]], [], "5 items"),
        ([["app:x", "d", "o", "infer", None]], [], "str"),
        ([], [["app:x", "admin", "d"]], "role is 'admin'"),
        ([], [["app:x", "role:r"]], "3 items"),
        ([], [["", "role:r", "*"]], "subject is empty"),
    ],
)
def test_rows_that_do_not_hold_are_refused(
    plane: Running, grants: list[Any], roles: list[Any], words: str
) -> None:
    """422 with every problem, and no row is taken, not even the good ones beside them."""
    before = rows(plane)
    refused = change(
        plane, add={"grants": [["app:fine", "d", "o", "infer", "allow"], *grants], "roles": roles}
    )
    assert refused.status_code == 422, refused.text
    assert any(words in problem for problem in refused.json()["problems"]), refused.text
    assert rows(plane) == before


def test_somebody_can_always_change_the_policy(plane: Running) -> None:
    """The last admin of @policy cannot be removed, nor denied, nor can all rows be."""
    before = rows(plane)
    admin = ["user:admin", "role:admin", "*"]
    assert change(plane, remove={"roles": [admin]}).status_code == 409
    deny = ["user:admin", "platform", "@policy", "admin", "deny"]
    assert change(plane, add={"grants": [deny]}).status_code == 409
    empty = plane.admin.put("/api/v1/policy", json={"grants": [], "roles": []}, headers={"If-Match": "*"})
    assert empty.status_code == 409
    assert rows(plane) == before
    other = ["app:robot", "role:admin", "platform"]
    assert change(plane, add={"roles": [other]}).status_code == 200
    assert change(plane, remove={"roles": [other]}).status_code == 200


def test_a_row_cannot_be_added_and_removed_in_one_change(plane: Running) -> None:
    """Nobody could say what was meant."""
    row = ["app:x", "d", "o", "infer", "allow"]
    assert change(plane, add={"grants": [row]}, remove={"grants": [row]}).status_code == 422


def test_who_may_read_and_change_the_policy(plane: Running) -> None:
    """`read` and `admin` on @policy."""
    row = {"add": {"grants": [["app:x", "d", "o", "infer", "allow"]]}}
    for client, read, write in ((plane.as_("user:sre"), 200, 403), (plane.lead, 403, 403)):
        assert client.get("/api/v1/policy").status_code == read
        assert client.post("/api/v1/policy/rows", json=row).status_code == write
        body: dict[str, Any] = {"grants": [], "roles": []}
        assert client.put("/api/v1/policy", json=body, headers={"If-Match": "*"}).status_code == write
        assert client.post("/api/v1/policy/test", json={"cases": []}).status_code == read


def test_questions_are_answered_with_reasons(plane: Running) -> None:
    """By alias or by domain and object; about oneself everybody may ask, about others who may read the policy."""
    alias = plane.alias()
    question = {"subject": "app:storefront", "action": "infer", "alias": alias}
    assert plane.admin.post("/api/v1/policy/check", json=question).json() == {"allowed": True}
    why = plane.as_("user:sre").post("/api/v1/policy/explain", json=question).json()
    assert why["allowed"] is True
    assert why["grants"][0]["path"] == ["app:storefront", "role:consumer"]
    assert why["roles"] == ["role:consumer"]
    assert alias in why["text"]
    assert plane.as_("app:storefront").post("/api/v1/policy/check", json=question).status_code == 200
    assert plane.lead.post("/api/v1/policy/check", json=question).status_code == 403
    stranger = {"subject": "app:stranger", "action": "infer", "alias": alias}
    assert plane.as_("app:stranger").post("/api/v1/policy/check", json=stranger).status_code == 404
    for bad in ({}, {"domain": "vision"}, {"alias": alias, "domain": "vision", "object": alias}):
        body = {"subject": "user:admin", "action": "infer", **bad}
        assert plane.admin.post("/api/v1/policy/check", json=body).status_code == 422
    fly = {"subject": "user:admin", "action": "fly", "alias": alias}
    assert plane.admin.post("/api/v1/policy/check", json=fly).status_code == 422


def test_cases_that_do_not_hold_are_named(plane: Running) -> None:
    """With the row, what the policy says instead, and why."""
    cases = [
        ["user:lead", "vision", "digits", "flip", "allow"],
        ["app:stranger", "vision", "digits", "infer", "allow"],
    ]
    result = plane.admin.post("/api/v1/policy/test", json={"cases": cases}).json()
    assert result["cases"] == 2
    assert [(each["row"], each["case"], each["got"]) for each in result["failures"]] == [
        (2, cases[1], "deny")
    ]
    assert "app:stranger may not infer" in result["failures"][0]["explanation"]
    unclear = {"cases": [["user:lead", "vision", "digits", "flip", "maybe"]]}
    assert plane.admin.post("/api/v1/policy/test", json=unclear).status_code == 422


def test_whoami_says_what_one_may_do(plane: Running) -> None:
    """Teams, the roles in each, and the actions on the control plane's own resources."""
    me = plane.as_("app:storefront").get("/api/v1/whoami").json()
    assert me["principal"] == "app:storefront"
    assert me["teams"] == ["language", "vision"]
    assert me["roles"] == {"language": ["role:consumer"], "vision": ["role:consumer"]}
    assert all(actions == [] for actions in me["resources"].values())
    assert plane.as_("app:stranger").get("/api/v1/whoami").json()["roles"] == {}
    assert plane.admin.get("/api/v1/whoami").json()["roles"]["platform"] == ["role:admin"]
    assert plane.as_("user:sre").get("/api/v1/whoami").json()["resources"]["@audit"] == ["read"]
    assert "admin" in plane.admin.get("/api/v1/whoami").json()["resources"]["@keys"]
