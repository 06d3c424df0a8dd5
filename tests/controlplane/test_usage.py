"""Who used what, as the API tells it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.controlplane.harness import Running, targets
from tests.controlplane.test_usage_reports import ROW, send
from tests.patience import within_a_day

DAY_S = 86_400


@pytest.fixture(autouse=True)
def today() -> None:
    """Days are told apart here: no test runs over midnight."""
    within_a_day()


def ask(plane: Running, principal: str, **params: Any) -> list[dict[str, Any]]:
    """The rows of one question."""
    reply = plane.as_(principal).get("/api/v1/usage", params=params)
    assert reply.status_code == 200, reply.text
    rows: list[dict[str, Any]] = reply.json()["rows"]
    return rows


def used(plane: Running) -> str:
    """A fresh alias that two applications called, today and yesterday."""
    name, now = plane.fresh("used"), time.time()
    plane.lead.put(
        f"/api/v1/aliases/{name}", json={"team": "vision", "targets": targets((1, 10_000))}
    ).raise_for_status()
    rows = [
        ROW | {"alias": name, "principal": principal, "last_at": now - days * DAY_S, "tokens": 7}
        for principal in ("app:storefront", "app:batch")
        for days in (0, 1)
    ]
    assert send(plane, plane.fresh("w"), 1, *rows) == 204
    return name


def test_usage_is_summed_by_what_is_asked_for(plane: Running) -> None:
    """Days, applications, versions; nothing else is told apart."""
    name = used(plane)
    by_day = ask(plane, "user:lead", alias=name, by="day")
    assert [row["requests"] for row in by_day] == [6, 6]
    assert by_day[0]["day"] > by_day[1]["day"]
    assert by_day[0]["application"] is None
    by_caller = ask(plane, "user:lead", alias=name, by="application")
    assert [(row["application"], row["requests"], row["failed"], row["tokens"]) for row in by_caller] == [
        ("app:batch", 6, 2, 14),
        ("app:storefront", 6, 2, 14),
    ]
    (version,) = ask(plane, "user:lead", alias=name, by="model,version", application="app:batch")
    assert (version["model"], version["version"], version["requests"]) == ("digits", 1, 6)


def test_days_are_chosen(plane: Running) -> None:
    """Both ends are included."""
    name = used(plane)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    (row,) = ask(plane, "user:lead", alias=name, by="day", **{"from": yesterday, "to": yesterday})
    assert (row["day"], row["requests"]) == (yesterday, 6)


def test_one_sees_what_one_may_read_and_ones_own(plane: Running) -> None:
    """A stranger sees nothing, an application that lost its rights still its own calls, an SRE all, also of what is gone."""
    name, gone = used(plane), plane.fresh("gone")
    assert ask(plane, "app:stranger", alias=name) == []
    row = ROW | {"alias": gone, "principal": "app:stranger", "last_at": time.time()}
    assert send(plane, plane.fresh("w"), 1, row) == 204
    own = ask(plane, "app:stranger", by="alias")
    assert [(each["alias"], each["requests"]) for each in own] == [(gone, 3)]
    assert gone in {each["alias"] for each in ask(plane, "user:sre", by="alias")}
    assert gone not in {each["alias"] for each in ask(plane, "user:lead", by="alias")}
    assert {each["application"] for each in ask(plane, "user:lead", team="vision", alias=name)} == {
        "app:batch",
        "app:storefront",
    }


def test_a_question_that_cannot_be_answered_is_refused(plane: Running) -> None:
    """With all that is wrong with it."""
    params = {
        "by": "day,colour",
        "from": "2026-02-02",
        "to": "2026-01-01",
        "application": "x",
        "alias": "a b",
    }
    reply = plane.lead.get("/api/v1/usage", params=params)
    assert reply.status_code == 422
    assert len(reply.json()["problems"]) == 4
    assert plane.lead.get("/api/v1/usage", params={"from": "yesterday"}).status_code == 400
