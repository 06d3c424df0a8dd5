"""Quota policies over the API."""

import time
from typing import Any

import pytest

from tests.controlplane.harness import Running, targets

MINUTE: dict[str, Any] = {"name": "minute", "quota": 5, "window_s": 60}


def alias(plane: Running, team: str = "vision") -> str:
    """A fresh alias of the team."""
    name = plane.fresh("limited")
    model = "digits" if team == "vision" else plane.model(plane.fresh("model"), team)
    body = {"team": team, "targets": targets((1, 10_000), model=model)}
    plane.admin.put(f"/api/v1/aliases/{name}", json=body).raise_for_status()
    return name


def test_a_quota_is_set_shown_changed_and_deleted(plane: Running) -> None:
    """It reaches the snapshot as it was written, has an ETag, and the same again changes nothing."""
    name = plane.fresh("quota")
    body = {"limits": [MINUTE], "application": "*", "alias": "digits", "reason": "the free tier"}
    made = plane.admin.put(f"/api/v1/quotas/{name}", json=body)
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    assert plane.admin.get(f"/api/v1/quotas/{name}").json() == made.json()
    assert made.json()["limits"] == [{**MINUTE, "unit": "requests", "burst": 5, "estimate": 1}]
    published = plane.control.publisher.published
    assert published is not None
    (entry,) = (each for each in published.document.quotas if each.name == name)
    assert (entry.application, entry.alias, entry.limits[0].quota) == ("*", "digits", 5)
    assert plane.admin.put(f"/api/v1/quotas/{name}", json=body).json()["revision"] == 1
    changed = {"limits": [MINUTE | {"quota": 9}], "hard": True}
    assert plane.admin.put(f"/api/v1/quotas/{name}", json=changed).status_code == 428
    stale = plane.admin.put(f"/api/v1/quotas/{name}", json=changed, headers={"If-Match": '"7"'})
    assert stale.status_code == 412
    done = plane.admin.put(f"/api/v1/quotas/{name}", json=changed, headers={"If-Match": '"1"'})
    assert (done.json()["revision"], done.json()["alias"], done.json()["hard"]) == (2, None, True)
    assert plane.admin.delete(f"/api/v1/quotas/{name}", params={"reason": "over"}).status_code == 204
    assert plane.admin.get(f"/api/v1/quotas/{name}").status_code == 404
    rows = plane.admin.get("/api/v1/audit", params={"object": f"quota:{name}"}).json()["rows"]
    assert [(row["verb"], row["reason"]) for row in rows] == [
        ("quota.delete", "over"),
        ("quota.set", None),
        ("quota.set", "the free tier"),
    ]


def test_a_limit_that_was_deleted_or_has_another_unit_begins_anew(plane: Running) -> None:
    """Whoever counts tells the two apart; a limit that was raised goes on."""
    path = f"/api/v1/quotas/{plane.fresh('quota')}"

    def began(*, again: bool = True, **fields: object) -> int:
        current = plane.admin.get(path)
        etag = {"If-Match": current.headers["ETag"]} if current.is_success else {}
        if not again:
            assert plane.admin.delete(path).status_code == 204
            etag = {}
        time.sleep(0.002)
        plane.admin.put(path, json={"limits": [MINUTE | fields]}, headers=etag).raise_for_status()
        published = plane.control.publisher.published
        assert published is not None
        (entry,) = (each for each in published.document.quotas if each.name == path.rpartition("/")[2])
        return entry.limits[0].began

    first = began()
    assert first == began(quota=9) == began(quota=9) > 0
    rows = began(unit="inferences")
    assert first < rows < (back := began()) < began(again=False)
    assert back > first


def test_workers_that_do_not_count_together_are_told_of(plane: Running) -> None:
    """More than a whole in shares lets more through; a hard one is closed; a worker that has gone says nothing."""

    def said(hard: bool, *workers: int | None) -> list[str]:
        path = f"/api/v1/quotas/{plane.fresh('quota')}"
        for number, among in enumerate(workers):
            report = {
                "host": "h", "pid": 1, "role": "data", "snapshot_version": 1, "started_at": 1.0, "quota_workers": among,
            }  # fmt: skip
            plane.worker.post(f"/api/v1/workers/counts-{number}/report", json=report).raise_for_status()
        made = plane.admin.put(path, json={"limits": [MINUTE], "hard": hard})
        for number in range(len(workers)):
            plane.worker.delete(f"/api/v1/workers/counts-{number}").raise_for_status()
        assert plane.admin.get(path).json()["problems"] == []
        problems: list[str] = made.json()["problems"]
        return problems

    assert said(True) == said(True, None, None) == said(True, 1) == said(False, 3, 3, 3) == []
    (apart,) = said(False, 1, 1, None)
    assert apart.startswith("2 workers, each by its share, let 2 times as much through; name a Redis")
    (twice,) = said(False, 2, 2, 2)
    assert "let 1.5 times as much through" in twice
    (closed,) = said(True, 2, 2)
    assert "all that it binds is refused" in closed


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"limits": []}, ["has no limit"]),
        (
            {"limits": [MINUTE | {"quota": -1}, MINUTE | {"name": "x", "window_s": -5}]},
            ["quota -1", "window of -5"],
        ),
        ({"limits": [MINUTE | {"quota": 2**70}]}, ["is not between 1 and"]),
        ({"limits": [MINUTE | {"quota": 5.5}]}, ["quota"]),
        ({"limits": [MINUTE | {"quota": True}]}, ["quota"]),
        ({"limits": [MINUTE | {"unit": "gallons"}]}, ["unit"]),
        ({"limits": [MINUTE, {"name": "day", "quota": 5, "window_s": 86_400}]}, ["contradict"]),
        ({"limits": [MINUTE], "application": "storefront"}, ["neither app:NAME"]),
        ({"limits": [MINUTE], "alias": "a/b", "colour": 1}, ["unknown field"]),
        ({"limits": [MINUTE], "alias": "a/b", "team": "x y"}, ["alias 'a/b'", "team 'x y'"]),
    ],
)
def test_a_bad_quota_is_refused_whole(plane: Running, body: dict[str, Any], words: list[str]) -> None:
    """422 with every fault, and nothing is there."""
    name = plane.fresh("quota")
    refused = plane.admin.put(f"/api/v1/quotas/{name}", json=body)
    assert refused.status_code == 422
    text = refused.text
    assert all(word in text for word in words), text
    assert plane.admin.get(f"/api/v1/quotas/{name}").status_code == 404


def test_an_owner_limits_their_own_aliases_only(plane: Running) -> None:
    """A lead may make less of what is theirs; everybody's is for administrators, and so is another's policy."""
    mine, theirs = alias(plane), alias(plane, "fraud")
    own, foreign, everybody = (plane.fresh("quota") for _ in range(3))
    assert (
        plane.lead.put(f"/api/v1/quotas/{own}", json={"limits": [MINUTE], "alias": mine}).status_code == 201
    )
    for selectors in ({}, {"alias": "*"}, {"application": "*"}, {"alias": theirs}, {"alias": "nowhere"}):
        refused = plane.lead.put(f"/api/v1/quotas/{everybody}", json={"limits": [MINUTE], **selectors})
        assert refused.status_code == 403, selectors
    plane.admin.put(
        f"/api/v1/quotas/{foreign}", json={"limits": [MINUTE], "alias": theirs}
    ).raise_for_status()
    taken = plane.lead.put(f"/api/v1/quotas/{foreign}", json={"limits": [MINUTE], "alias": mine})
    assert taken.status_code == 409
    assert theirs not in taken.text
    seen = {each["name"] for each in plane.lead.get("/api/v1/quotas").json()["quotas"]}
    assert own in seen
    assert foreign not in seen
    assert plane.lead.delete(f"/api/v1/quotas/{foreign}").status_code == 404
    assert plane.lead.delete(f"/api/v1/quotas/{own}").status_code == 204


def test_what_the_platform_set_stays_the_platforms(plane: Running) -> None:
    """An owner may limit an alias further, not lift the limit that an administrator put on it."""
    mine = alias(plane)
    name = plane.fresh("quota")
    plane.admin.put(f"/api/v1/quotas/{name}", json={"limits": [MINUTE], "alias": mine}).raise_for_status()
    more = {"limits": [MINUTE | {"quota": 500}], "alias": mine}
    refused = plane.lead.put(f"/api/v1/quotas/{name}", json=more, headers={"If-Match": '"1"'})
    assert refused.status_code == 403
    assert plane.lead.delete(f"/api/v1/quotas/{name}").status_code == 403
    assert plane.lead.get(f"/api/v1/quotas/{name}").json()["platform"] is True


def test_a_selector_that_names_nothing_is_told(plane: Running) -> None:
    """A mistyped alias would limit nobody without a word."""
    name = plane.fresh("quota")
    body = {"limits": [MINUTE], "alias": "digtis", "model": "digits", "team": "nobody"}
    made = plane.admin.put(f"/api/v1/quotas/{name}", json=body)
    assert made.json()["unknown"] == ["alias digtis", "team nobody"]


def test_selectors_that_never_meet_are_told(plane: Running) -> None:
    """Each names something that there is, and together they bind nothing."""
    team = plane.fresh("team")
    ours, theirs = alias(plane), alias(plane, team)
    their_model = plane.admin.get(f"/api/v1/aliases/{theirs}").json()["targets"][0]["model"]

    def unknown(**selectors: str) -> list[str]:
        body = {"limits": [MINUTE]} | selectors
        found: list[str] = plane.admin.put(f"/api/v1/quotas/{plane.fresh('quota')}", json=body).json()[
            "unknown"
        ]
        return found

    assert unknown(alias="*", team="*", model="*", application="*") == []
    assert unknown(alias=ours, team="vision", model="digits") == []
    assert unknown(team=team, model=their_model) == []
    assert unknown(alias=ours, team=team) == [f"alias {ours} of team {team}"]
    assert unknown(alias=ours, model=their_model) == [f"alias {ours} with model {their_model}"]
    assert unknown(team=team, model="digits") == [f"alias of team {team} with model digits"]
    assert unknown(application="app:ghost") == ["application app:ghost"]


def test_a_name_is_not_given_away_to_who_may_set_nothing(plane: Running) -> None:
    """A stranger is refused in the same words whether the quota is there or not."""
    name = plane.fresh("quota")
    stranger = plane.as_("app:stranger")
    before = stranger.put(f"/api/v1/quotas/{name}", json={"limits": [MINUTE]})
    plane.admin.put(f"/api/v1/quotas/{name}", json={"limits": [MINUTE]}).raise_for_status()
    after = stranger.put(f"/api/v1/quotas/{name}", json={"limits": [MINUTE]})
    assert (before.status_code, before.json()["detail"]) == (after.status_code, after.json()["detail"])
    assert before.status_code == 403


def test_an_application_sees_the_quota_that_names_it(plane: Running) -> None:
    """Its 429 names the policy, so it may look it up."""
    name = plane.fresh("quota")
    body = {"limits": [MINUTE], "application": "app:storefront", "model": "digits"}
    plane.admin.put(f"/api/v1/quotas/{name}", json=body).raise_for_status()
    assert plane.as_("app:storefront").get(f"/api/v1/quotas/{name}").status_code == 200
    assert plane.as_("app:batch").get(f"/api/v1/quotas/{name}").status_code == 404


def test_readers_see_quotas_and_change_none(plane: Running) -> None:
    """An SRE sees all of them; an application sees those of the aliases that it may read."""
    mine = alias(plane)
    name = plane.fresh("quota")
    plane.admin.put(f"/api/v1/quotas/{name}", json={"limits": [MINUTE], "alias": mine}).raise_for_status()
    for principal in ("user:sre", "app:storefront"):
        assert plane.as_(principal).get(f"/api/v1/quotas/{name}").status_code == 200
        assert plane.as_(principal).delete(f"/api/v1/quotas/{name}").status_code == 403
    assert plane.as_("app:stranger").get(f"/api/v1/quotas/{name}").status_code == 404
    assert plane.as_("app:stranger").get("/api/v1/quotas").json() == {"quotas": []}


def test_a_row_that_nobody_could_have_written_is_not_published(own_plane: Running) -> None:
    """A damaged row in the database keeps the last good snapshot in force."""
    from gateway.db.models import QuotaRow, StateRow

    own_plane.admin.put("/api/v1/quotas/q", json={"limits": [MINUTE]}).raise_for_status()
    before = own_plane.control.publisher.published

    def damage(session: Any) -> None:
        session.get_one(QuotaRow, "q").entry = {
            "limits": [{"name": "minute", "unit": "requests", "quota": -1}]
        }
        session.get_one(StateRow, 1).version += 1

    own_plane.control.database.write(damage)
    own_plane.control.publisher.refresh()
    refusal = own_plane.control.publisher.refusal
    assert refusal is not None
    assert any("quota -1" in problem for problem in refusal.problems)
    assert own_plane.control.publisher.published is before
