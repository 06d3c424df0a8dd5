"""Who still calls what retires, as workers reported it; and what is noted of them."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.controlplane.harness import Running, targets
from tests.controlplane.test_usage_reports import send
from tests.patience import within_a_day

DAY_S = 86_400


@pytest.fixture(autouse=True)
def today() -> None:
    """Days are told apart here: no test runs over midnight."""
    within_a_day()


def called(plane: Running, alias: str, principal: str, days: dict[int, int], **row: Any) -> None:
    """Report calls: how many on the day so many days ago."""
    now = time.time()
    rows = [
        {
            "principal": principal,
            "alias": alias,
            "model": "digits",
            "version": 1,
            "requests": count,
            "last_at": now - ago * DAY_S,
        }
        | row
        for ago, count in days.items()
    ]
    assert send(plane, plane.fresh("worker"), 1, *rows) == 204


def callers(plane: Running, where: str, principal: str = "user:lead", **params: Any) -> dict[str, Any]:
    """The callers by principal."""
    reply = plane.as_(principal).get(f"/api/v1/{where}/deprecation/callers", params=params)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = {each["principal"]: each for each in reply.json()["callers"]}
    return found


def test_each_caller_has_its_days_and_its_direction(plane: Running) -> None:
    """Who falls, who rises, who stopped, who is new; the busiest of those who remain first."""
    alias = plane.alias()
    called(plane, alias, "app:steady", dict.fromkeys(range(15), 50))
    called(plane, alias, "app:falling", {ago: 1 + 10 * ago for ago in range(15)})
    called(plane, alias, "app:rising", {ago: 200 - 10 * ago for ago in range(15)})
    called(plane, alias, "app:stopped", dict.fromkeys(range(9, 15), 500))
    called(plane, alias, "app:new", {0: 3, 1: 4})
    found = callers(plane, f"aliases/{alias}")
    assert {name: (each["trend"], each["remains"]) for name, each in found.items()} == {
        "app:rising": ("rising", True),
        "app:falling": ("falling", True),
        "app:steady": ("steady", True),
        "app:new": ("new", True),
        "app:stopped": ("stopped", False),
    }
    assert list(found) == ["app:rising", "app:falling", "app:steady", "app:new", "app:stopped"]
    assert found["app:new"]["calls_by_day"] == [0] * 13 + [4, 3]
    assert (found["app:new"]["calls"], found["app:new"]["calls_per_day"]) == (7, 4.0)
    assert found["app:steady"]["calls_per_day"] == 50.0
    assert abs(datetime.fromisoformat(found["app:new"]["last_at"]).timestamp() - time.time()) < 60


def test_the_window_is_as_wide_as_asked(plane: Running) -> None:
    """Days are UTC, oldest first, today last; the limit says what it left out."""
    alias = plane.alias()
    called(plane, alias, "app:a", {0: 1, 20: 5})
    called(plane, alias, "app:b", {0: 2})
    path = f"/api/v1/aliases/{alias}/deprecation/callers"
    wide = plane.lead.get(path, params={"days": 30}).json()
    assert len(wide["days"]) == 31
    assert wide["days"][-1] == datetime.now(UTC).date().isoformat()
    assert wide["days"][0] == (datetime.now(UTC).date() - timedelta(days=30)).isoformat()
    assert callers(plane, f"aliases/{alias}", days=30)["app:a"]["calls_by_day"][10] == 5
    cut = plane.lead.get(path, params={"limit": 1}).json()
    assert ([each["principal"] for each in cut["callers"]], cut["left_out"]) == (["app:b"], 1)
    for params in ({"days": 0}, {"days": 91}, {"days": "x"}, {"limit": 0}):
        assert plane.lead.get(path, params=params).status_code == 400


def test_refused_calls_are_calls(plane: Running) -> None:
    """Whoever meets a brownout or a quota still calls; each is counted by itself."""
    alias = plane.alias()
    called(plane, alias, "app:a", {0: 10}, failed=2, limited=3, gone=4, pinned=5)
    found = callers(plane, f"aliases/{alias}")["app:a"]
    assert [found[name] for name in ("calls", "failed", "limited", "gone", "pinned")] == [17, 2, 3, 4, 5]


def test_a_version_is_reached_through_aliases(plane: Running) -> None:
    """All of them are named; who would be cut off is who names the version, or comes through an alias that sends it there."""
    model = plane.model(plane.fresh("model"))
    here, moved = plane.fresh(), plane.fresh()
    for alias, version in ((here, 1), (moved, 2)):
        body = {"team": "vision", "targets": targets((version, 10_000), model=model)}
        plane.admin.put(f"/api/v1/aliases/{alias}", json=body).raise_for_status()
    called(plane, here, "app:a", {0: 5}, model=model)
    called(plane, moved, "app:a", {1: 2}, model=model)
    called(plane, moved, "app:b", {1: 7}, model=model)
    called(plane, moved, "app:c", {1: 7}, model=model, pinned=1)
    called(plane, here, "app:d", {0: 5}, model=model, version=2)
    found = callers(plane, f"models/{model}/versions/1")
    assert {name: each["remains"] for name, each in found.items()} == {
        "app:a": True,
        "app:b": False,
        "app:c": True,
    }
    assert found["app:a"]["through"] == [
        {"alias": name, "calls": calls, "pinned": 0} for name, calls in sorted([(here, 5), (moved, 2)])
    ]


def test_who_may_not_call_the_successor_is_seen(plane: Running) -> None:
    """So that a lead gives the right before the date; without a successor there is nothing to say."""
    old, new = plane.alias(), plane.alias()
    called(plane, old, "app:storefront", {0: 1})
    called(plane, old, "app:elsewhere", {0: 1})
    assert {each["may_call_successor"] for each in callers(plane, f"aliases/{old}").values()} == {None}
    plane.lead.put(f"/api/v1/aliases/{old}/deprecation", json={"successor": new}).raise_for_status()
    found = callers(plane, f"aliases/{old}")
    assert {name: each["may_call_successor"] for name, each in found.items()} == {
        "app:storefront": True,
        "app:elsewhere": False,
    }
    assert plane.lead.get(f"/api/v1/aliases/{old}/deprecation").json()["callers"] == 2


def test_a_consumer_has_a_contact_note(plane: Running) -> None:
    """With an ETag, kept in the audit, for a consumer who has not called yet too; no worker hears of it."""
    alias = plane.alias()
    called(plane, alias, "app:a", {0: 1})
    path = f"/api/v1/aliases/{alias}/deprecation/callers/{{}}/note"
    published = plane.control.publisher.published
    made = plane.lead.put(path.format("app:a"), json={"text": "ask ana@example.org; moves in March"})
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"'), made.text
    assert plane.lead.put(path.format("app:monthly"), json={"text": "runs on the 1st"}).status_code == 201
    assert plane.lead.put(path.format("app:a"), json={"text": "moved"}).status_code == 428
    changed = plane.lead.put(path.format("app:a"), json={"text": "moved"}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["revision"]) == (200, 2)
    found = callers(plane, f"aliases/{alias}")
    assert found["app:a"]["note"]["text"] == "moved"
    monthly = found["app:monthly"]
    assert (monthly["note"]["text"], monthly["last_at"], monthly["trend"]) == (
        "runs on the 1st",
        None,
        "stopped",
    )
    assert plane.lead.delete(path.format("app:monthly")).status_code == 204
    assert plane.lead.delete(path.format("app:monthly")).status_code == 404
    assert list(callers(plane, f"aliases/{alias}")) == ["app:a"]
    assert plane.control.publisher.published is published
    rows = plane.admin.get("/api/v1/audit", params={"object": f"alias:{alias}"}).json()["rows"]
    assert [(row["verb"], (row["after"] or row["before"])["principal"]) for row in rows[:4]] == [
        ("deprecation.delete-note", "app:monthly"),
        ("deprecation.note", "app:a"),
        ("deprecation.note", "app:monthly"),
        ("deprecation.note", "app:a"),
    ]


def test_a_bad_note_is_refused(plane: Running) -> None:
    """No principal, nothing said, more than one line, and nobody's right."""
    alias = plane.alias()
    path = f"/api/v1/aliases/{alias}/deprecation/callers/{{}}/note"
    assert plane.lead.put(path.format("storefront"), json={"text": "x"}).status_code == 422
    for text in ("", "a\nb", "a\x1b[2J", "x" * 501, None, 5):
        assert plane.lead.put(path.format("app:a"), json={"text": text}).status_code == 422, text
    assert plane.as_("app:storefront").put(path.format("app:a"), json={"text": "x"}).status_code == 403
    assert plane.as_("app:stranger").put(path.format("app:a"), json={"text": "x"}).status_code == 404


def test_what_one_may_see_of_the_callers(plane: Running) -> None:
    """Who may read an alias sees who calls it, the notes only who may flip it or read the audit; of a version's callers,
    those through aliases that one may see.
    """
    alias, model = plane.alias(), plane.model(plane.fresh("model"))
    called(plane, alias, "app:a", {0: 1})
    plane.lead.put(
        f"/api/v1/aliases/{alias}/deprecation/callers/app:a/note", json={"text": "private"}
    ).raise_for_status()
    assert callers(plane, f"aliases/{alias}", "app:storefront")["app:a"]["note"] is None
    assert callers(plane, f"aliases/{alias}", "user:sre")["app:a"]["note"]["text"] == "private"
    stranger = plane.as_("app:stranger").get(f"/api/v1/aliases/{alias}/deprecation/callers")
    assert stranger.status_code == 404
    theirs = plane.fresh()
    body = {"team": "fraud", "targets": targets((1, 10_000), model=model)}
    plane.admin.put(f"/api/v1/aliases/{theirs}", json=body).raise_for_status()
    called(plane, theirs, "app:b", {0: 1}, model=model)
    called(plane, theirs, "app:storefront", {0: 1}, model=model)
    where = f"models/{model}/versions/1"
    assert set(callers(plane, where)) == {"app:b", "app:storefront"}
    assert set(callers(plane, where, "app:storefront")) == {"app:storefront"}
