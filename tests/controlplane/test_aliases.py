"""Aliases over the API: what is taken, what is refused, and that a refusal changes nothing."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.controlplane.harness import Running, targets


def put(plane: Running, name: str, body: Any, **headers: str) -> Any:
    return plane.lead.put(
        f"/api/v1/aliases/{name}", json=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def test_a_lead_creates_an_alias_and_sets_its_weights(plane: Running) -> None:
    """The first target is the stable one; the ETag of each revision is what the next change is made against."""
    name = plane.fresh()
    made = put(plane, name, {"team": "vision", "targets": targets((1, 10_000)), "reason": "first"})
    assert made.status_code == 201
    assert made.headers["ETag"] == '"1"'
    moved = put(plane, name, {"targets": targets((1, 9_000), (2, 1_000))}, If_Match=made.headers["ETag"])
    assert moved.status_code == 200
    shown = plane.lead.get(f"/api/v1/aliases/{name}")
    assert shown.json() == moved.json()
    assert shown.headers["ETag"] == '"2"'
    assert [(t["version"], t["weight"], t["arm"]) for t in shown.json()["targets"]] == [
        (1, 9_000, "stable"),
        (2, 1_000, "candidate"),
    ]
    assert shown.json()["updated_by"] == "user:lead"


def test_what_one_has_not_seen_one_does_not_overwrite(plane: Running) -> None:
    """Without If-Match 428, with a stale one 412, with `*` whatever is there; nothing changes on a refusal."""
    name = plane.alias()
    body = {"targets": targets((2, 10_000))}
    assert put(plane, name, body).status_code == 428
    assert put(plane, name, body, If_Match='"7"').status_code == 412
    assert put(plane, name, body, If_Match='W/"1"').status_code == 412
    assert put(plane, name, body, If_Match="1").status_code == 400
    assert put(plane, name, body, If_None_Match="*").status_code == 412
    assert plane.lead.get(f"/api/v1/aliases/{name}").json()["revision"] == 1
    assert put(plane, name, body, If_Match='"9", "1"').status_code == 200
    assert put(plane, name, {"targets": targets((3, 10_000))}, If_Match="*").status_code == 200
    assert put(plane, plane.fresh(), {"team": "vision", **body}, If_Match="*").status_code == 412
    assert put(plane, plane.fresh(), {"team": "vision", **body}, If_None_Match="*").status_code == 201


def test_the_same_targets_again_make_no_revision(plane: Running) -> None:
    """A change that is sent twice, as pipelines do, is one change."""
    name = plane.alias()
    again = put(plane, name, {"targets": targets((1, 10_000))}, If_Match='"1"')
    assert (again.status_code, again.headers["ETag"]) == (200, '"1"')
    assert len(plane.lead.get(f"/api/v1/aliases/{name}/history").json()["revisions"]) == 1


BAD_TARGETS: list[tuple[str, Any, str]] = [
    ("negative", targets((1, 10_001), (2, -1)), "between 0 and 10000"),
    ("boolean", targets((1, True)), "bool"),
    ("float", targets((1, 10_000.0)), "float"),
    ("text", [{"model": "digits", "version": 1, "weight": "10000"}], "str"),
    ("too little", targets((1, 9_999)), "sum to 9999"),
    ("too much", targets((1, 9_000), (2, 2_000)), "sum to 11000"),
    ("none", [], "no target"),
    ("twice", targets((1, 5_000), (1, 5_000)), "2 times"),
    ("no such model", targets((1, 10_000), model="nope"), "no model 'nope'"),
    ("no such version", targets((9, 10_000)), "no version 9"),
    ("version of text", [{"model": "digits", "version": "1", "weight": 10_000}], "str"),
    ("huge version", targets((2**70, 10_000)), "no version"),
    ("no weight", [{"model": "digits", "version": 1}], "weight: required"),
    ("another field", [{"model": "digits", "version": 1, "weight": 10_000, "salt": "0"}], "unknown field"),
    ("too many", targets(*((1, 0) for _ in range(40))), "length <= 32"),
    ("null", None, "must be a list"),
]


@pytest.mark.parametrize(
    ("bad", "words"), [(b, w) for _, b, w in BAD_TARGETS], ids=[n for n, _, _ in BAD_TARGETS]
)
def test_bad_targets_are_refused_and_nothing_changes(plane: Running, bad: Any, words: str) -> None:
    """422 with the fault in words, whether the alias exists or not."""
    name = plane.alias()
    for path, body in ((name, {"targets": bad}), (plane.fresh(), {"team": "vision", "targets": bad})):
        refused = put(plane, path, body, **({"If_Match": '"1"'} if path == name else {}))
        assert refused.status_code == 422, refused.text
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert any(words in problem for problem in refused.json()["problems"]), refused.text
    assert plane.lead.get(f"/api/v1/aliases/{name}").json()["revision"] == 1


def test_a_weight_that_is_no_number_is_refused(plane: Running) -> None:
    """NaN and Infinity, which JSON has not and Python's own encoder writes."""
    name = plane.alias()
    for literal in ("NaN", "Infinity", "-Infinity", "1e999"):
        body = f'{{"targets": [{{"model": "digits", "version": 1, "weight": {literal}}}]}}'
        refused = plane.lead.put(f"/api/v1/aliases/{name}", content=body, headers={"If-Match": "*"})
        assert refused.status_code == 422, refused.text


def test_every_problem_is_told_at_once(plane: Running) -> None:
    """One round, not one for each fault."""
    body = {"team": "vision", "targets": [*targets((9, -5)), *targets((1, 70), model="nope")]}
    problems = put(plane, plane.fresh(), body).json()["problems"]
    assert len(problems) == 4


def test_an_alias_is_no_target_and_does_not_stand_before_another_teams_model(plane: Running) -> None:
    """So there are no cycles, and no team takes the traffic that is meant for another's model."""
    name = plane.alias()
    refused = put(plane, plane.fresh(), {"team": "vision", "targets": targets((1, 10_000), model=name)})
    assert refused.status_code == 422
    assert "an alias is no target" in refused.text
    theirs = plane.model(plane.fresh("theirs"), team="fraud", versions=(1,))
    refused = put(plane, theirs, {"team": "vision", "targets": targets((1, 10_000))})
    assert refused.status_code == 422
    assert "belongs to team fraud" in refused.text
    own = plane.model(plane.fresh("own"), versions=(1,))
    assert put(plane, own, {"team": "vision", "targets": targets((1, 10_000), model=own)}).status_code == 201


def test_a_model_that_one_may_not_see_is_no_target(plane: Running) -> None:
    """In the words for one that does not exist."""
    theirs = plane.model(plane.fresh("hidden"), team="fraud", versions=(1,))
    refused = put(plane, plane.fresh(), {"team": "vision", "targets": targets((1, 10_000), model=theirs)})
    assert refused.status_code == 422
    assert f"there is no model '{theirs}'" in refused.text


@pytest.mark.parametrize("name", [".hidden", "-dash", "a" * 129, "ünïcode", "@policy", "a+b"])
def test_bad_names_are_refused(plane: Running, name: str) -> None:
    """Names are matched whole; what needs an escape in a path is not even looked at."""
    refused = plane.admin.put(
        f"/api/v1/aliases/{name}", json={"team": "vision", "targets": targets((1, 10_000))}
    )
    assert refused.status_code == (422 if name.isascii() else 400), refused.text


def test_bad_teams_are_refused(plane: Running) -> None:
    """A team is a name too, and an alias keeps the one that it has."""
    for team in ("", "a b", "*", "@x"):
        body = {"team": team, "targets": targets((1, 10_000))}
        assert plane.admin.put(f"/api/v1/aliases/{plane.fresh()}", json=body).status_code == 422
    assert put(plane, plane.fresh(), {"targets": targets((1, 10_000))}).status_code == 422
    name = plane.alias()
    body = {"team": "fraud", "targets": targets((1, 10_000))}
    assert plane.admin.put(f"/api/v1/aliases/{name}", json=body, headers={"If-Match": "*"}).status_code == 422


def test_an_alias_that_one_may_not_see_is_like_one_that_does_not_exist(plane: Running) -> None:
    """The same 404 in the same words for both, whatever the verb; 403 only to who may see it."""
    name, stranger, absent = plane.alias(), plane.as_("app:stranger"), plane.fresh("absent")
    body = {"team": "vision", "targets": targets((1, 10_000))}
    for method, path, sent in (
        ("GET", "", None),
        ("GET", "/history", None),
        ("PUT", "", body),
        ("DELETE", "", None),
        ("POST", "/rollback", {}),
    ):
        answers = []
        for each in (name, absent):
            reply = stranger.request(
                method, f"/api/v1/aliases/{each}{path}", json=sent, headers={"If-Match": "*"}
            )
            answers.append((reply.status_code, reply.json()["detail"].replace(each, "NAME")))
        assert answers[0] == answers[1]
        assert answers[0][0] == 404
    reader = plane.as_("app:storefront")
    assert reader.get(f"/api/v1/aliases/{name}").status_code == 200
    for method, path, sent in (("PUT", "", body), ("DELETE", "", None), ("POST", "/rollback", {})):
        reply = reader.request(method, f"/api/v1/aliases/{name}{path}", json=sent, headers={"If-Match": "*"})
        assert reply.status_code == 403, reply.text
    assert name not in [each["name"] for each in stranger.get("/api/v1/aliases").json()["aliases"]]


def test_a_name_that_another_team_has_is_taken(plane: Running) -> None:
    """Who may create it in their own team learns that much, and nothing else."""
    name = plane.alias(team="fraud")
    refused = put(plane, name, {"team": "vision", "targets": targets((1, 10_000))})
    assert refused.status_code == 409
    assert "fraud" not in refused.text


def test_lists_are_filtered_by_team_and_by_part_of_the_name(plane: Running) -> None:
    """As people look for what they half remember."""
    name = plane.alias(team="language")
    found = plane.admin.get("/api/v1/aliases", params={"team": "language", "q": name.upper()}).json()[
        "aliases"
    ]
    assert [each["name"] for each in found] == [name]
    assert plane.admin.get("/api/v1/aliases", params={"team": "\x00"}).json() == {"aliases": []}
    assert plane.admin.get("/api/v1/aliases", params={"q": "\x00"}).json() == {"aliases": []}


def test_history_says_who_when_from_what_to_what_and_why(plane: Running) -> None:
    """Newest first, with creation and deletion in it."""
    name = plane.alias()
    put(plane, name, {"targets": targets((1, 9_000), (2, 1_000)), "reason": "first canary"}, If_Match='"1"')
    plane.lead.delete(f"/api/v1/aliases/{name}", params={"reason": "not needed"}, headers={"If-Match": '"2"'})
    rows = plane.lead.get(f"/api/v1/aliases/{name}/history").json()["revisions"]
    assert [(row["revision"], row["kind"], row["by"], row["reason"]) for row in rows] == [
        (3, "delete", "user:lead", "not needed"),
        (2, "set", "user:lead", "first canary"),
        (1, "create", "user:admin", None),
    ]
    assert rows[0]["to"] is None
    assert rows[0]["from"] == rows[1]["to"]
    assert [(t["version"], t["weight"]) for t in rows[1]["to"]] == [(1, 9_000), (2, 1_000)]
    assert rows[1]["from"] == rows[2]["to"]
    assert rows[2]["from"] is None
    assert rows[0]["at"].endswith("Z")
    assert len(plane.lead.get(f"/api/v1/aliases/{name}/history?limit=2").json()["revisions"]) == 2


def test_a_deleted_alias_is_gone_and_its_numbers_are_not_used_again(plane: Running) -> None:
    """An ETag of the old alias must never match the new one."""
    name = plane.alias()
    assert plane.lead.delete(f"/api/v1/aliases/{name}").status_code == 428
    assert plane.lead.delete(f"/api/v1/aliases/{name}", headers={"If-Match": '"1"'}).status_code == 204
    assert plane.lead.get(f"/api/v1/aliases/{name}").status_code == 404
    again = put(plane, name, {"team": "vision", "targets": targets((1, 10_000))})
    assert (again.status_code, again.json()["revision"]) == (201, 3)


def test_a_name_does_not_show_what_another_team_did_with_it(plane: Running) -> None:
    """When a name passes to another team, its history and its way back begin anew."""
    name = plane.alias(team="fraud")
    plane.admin.delete(f"/api/v1/aliases/{name}", headers={"If-Match": "*"})
    assert put(plane, name, {"team": "vision", "targets": targets((1, 10_000))}).status_code == 201
    rows = plane.lead.get(f"/api/v1/aliases/{name}/history").json()["revisions"]
    assert [row["revision"] for row in rows] == [3]
    assert plane.lead.post(f"/api/v1/aliases/{name}/rollback", json={"to_revision": 1}).status_code == 422


def test_rollback_goes_one_back_or_to_a_named_revision(plane: Running) -> None:
    """As a new revision with the old targets, salt and slices; to the same state again: nothing."""
    name = plane.alias((1, 9_000), (2, 1_000))
    first = plane.lead.get(f"/api/v1/aliases/{name}").json()
    put(plane, name, {"targets": targets((3, 10_000))}, If_Match='"1"')
    back = plane.lead.post(f"/api/v1/aliases/{name}/rollback", json={"reason": "worse"})
    assert back.status_code == 200
    assert (back.json()["revision"], back.json()["reason"]) == (3, "worse")
    assert {k: back.json()[k] for k in ("targets", "salt", "sticky")} == {
        k: first[k] for k in ("targets", "salt", "sticky")
    }
    assert (
        plane.lead.post(f"/api/v1/aliases/{name}/rollback", json={"to_revision": 1}).json()["revision"] == 3
    )
    to_second = plane.lead.post(f"/api/v1/aliases/{name}/rollback", json={"to_revision": 2}).json()
    assert [t["version"] for t in to_second["targets"]] == [3]
    for number in (0, -1, 99, 2**70):
        refused = plane.lead.post(f"/api/v1/aliases/{name}/rollback", json={"to_revision": number})
        assert refused.status_code == 422, refused.text
    stale = plane.lead.post(f"/api/v1/aliases/{name}/rollback", headers={"If-Match": '"1"'})
    assert stale.status_code == 412


def test_rollback_brings_a_deleted_alias_back(plane: Running) -> None:
    """A slip at 3 a.m. is undone with one verb, and every caller is back on its arm."""
    name = plane.alias((1, 9_000), (2, 1_000))
    before = plane.lead.get(f"/api/v1/aliases/{name}").json()
    plane.lead.delete(f"/api/v1/aliases/{name}", headers={"If-Match": "*"})
    back = plane.lead.post(f"/api/v1/aliases/{name}/rollback").json()
    assert (back["targets"], back["salt"], back["revision"]) == (before["targets"], before["salt"], 3)


def test_a_revision_whose_version_is_gone_cannot_be_restored(plane: Running) -> None:
    """409 says which version, and the alias stays as it is."""
    model = plane.model(plane.fresh("m"))
    name = plane.fresh()
    put(plane, name, {"team": "vision", "targets": targets((1, 10_000), model=model)})
    put(plane, name, {"targets": targets((2, 10_000), model=model)}, If_Match="*")
    assert plane.lead.delete(f"/api/v1/models/{model}/versions/1").status_code == 204
    refused = plane.lead.post(f"/api/v1/aliases/{name}/rollback")
    assert refused.status_code == 409
    assert "no version 1" in refused.text


def test_a_release_keeps_its_salt_and_a_new_one_gets_a_new_salt(plane: Running) -> None:
    """Moving weights stays in the release; another stable version or a new candidate begins the next one."""
    name = plane.alias((1, 9_000), (2, 1_000))
    salt = plane.lead.get(f"/api/v1/aliases/{name}").json()["salt"]
    same = put(plane, name, {"targets": targets((1, 5_000), (2, 5_000))}, If_Match="*").json()
    assert same["salt"] == salt
    unsticky = put(
        plane, name, {"targets": targets((1, 5_000), (2, 5_000)), "sticky": False}, If_Match="*"
    ).json()
    assert (unsticky["salt"], unsticky["sticky"], unsticky["revision"]) == (salt, False, 3)
    kept = put(plane, name, {"targets": targets((1, 4_000), (2, 6_000))}, If_Match="*").json()
    assert kept["sticky"] is False
    assert put(plane, name, {"targets": targets((2, 10_000))}, If_Match="*").json()["salt"] != salt


def test_of_two_writers_one_wins(plane: Running) -> None:
    """Eight leads with the same ETag: one change, seven refusals, and one more revision."""
    name = plane.alias()
    clients = [plane.client(plane.key("user:lead")) for _ in range(8)]

    def change(number: int) -> int:
        body = {"targets": targets((1, 10_000 - number), (2, number))}
        reply = clients[number - 1].put(f"/api/v1/aliases/{name}", json=body, headers={"If-Match": '"1"'})
        return int(reply.status_code)

    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(threads.map(change, range(1, 9)))
    assert statuses == [200] + [412] * 7
    assert plane.lead.get(f"/api/v1/aliases/{name}").json()["revision"] == 2
    for client in clients:
        client.close()


def test_of_two_creators_one_creates(plane: Running) -> None:
    """The other finds the alias there."""
    name = plane.fresh()
    clients = [plane.client(plane.key("user:lead")) for _ in range(6)]
    body = {"team": "vision", "targets": targets((1, 10_000))}
    with ThreadPoolExecutor(6) as threads:
        statuses = sorted(
            threads.map(lambda each: each.put(f"/api/v1/aliases/{name}", json=body).status_code, clients)
        )
    assert statuses == [201] + [428] * 5
    for client in clients:
        client.close()
