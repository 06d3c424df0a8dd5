"""Announcing the end of an alias or a version over the API."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.controlplane.harness import Running, targets


def ahead(**spell: float) -> str:
    """A moment from now on, in whole seconds."""
    return (datetime.now(UTC) + timedelta(**spell)).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def path(alias: str) -> str:
    """Where an alias's announcement is."""
    return f"/api/v1/aliases/{alias}/deprecation"


def announce(plane: Running, alias: str, principal: str = "user:lead", **body: Any) -> httpx.Response:
    """A first announcement."""
    return plane.as_(principal).put(path(alias), json=body)


def in_snapshot(plane: Running, alias: str) -> Any:
    """What the workers are told of the alias's end."""
    published = plane.control.publisher.published
    assert published is not None
    (entry,) = (each for each in published.document.aliases if each.name == alias)
    return entry.deprecation


def verbs(plane: Running, obj: str) -> list[tuple[str, str | None]]:
    """What the audit says of an object, newest first."""
    rows = plane.admin.get("/api/v1/audit", params={"object": obj}).json()["rows"]
    return [(row["verb"], row["reason"]) for row in rows]


def test_an_end_is_announced_changed_and_taken_back(plane: Running) -> None:
    """It reaches the snapshot, has an ETag, the same again changes nothing, and the audit keeps each step."""
    old, new = plane.alias(), plane.alias()
    sunset, spell = ahead(days=90), {"start": ahead(days=60), "end": ahead(days=60, minutes=15)}
    body: dict[str, Any] = {
        "sunset_at": sunset,
        "successor": new,
        "info_url": "https://wiki.example/old",
        "brownouts": [spell],
        "reason": "version 2 is better",
    }
    made = announce(plane, old, **body)
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"'), made.text
    view = made.json()
    assert (view["status"], view["sunset_at"], view["successor"], view["days_left"]) == (
        "deprecated",
        sunset,
        new,
        89,
    )
    assert view["brownouts"] == [spell]
    assert view["fields"]["Link"].endswith(f'</v2/models/{new}>; rel="successor-version"')
    assert plane.lead.get(path(old)).json() == view
    entry = in_snapshot(plane, old)
    assert (entry.successor, entry.sunset_at, entry.after_sunset) == (
        new,
        datetime.fromisoformat(sunset).timestamp(),
        "serve",
    )
    again = plane.lead.put(path(old), json=body)
    assert (again.status_code, again.json()["revision"]) == (200, 1)
    changed = body | {"after_sunset": "gone", "reason": "security fixes end"}
    assert plane.lead.put(path(old), json=changed).status_code == 428
    assert plane.lead.put(path(old), json=changed, headers={"If-Match": '"7"'}).status_code == 412
    done = plane.lead.put(path(old), json=changed, headers={"If-Match": '"1"'}).json()
    assert (done["revision"], done["after_sunset"], done["deprecated_at"]) == (
        2,
        "gone",
        view["deprecated_at"],
    )
    assert plane.lead.delete(path(old), params={"reason": "not yet"}).status_code == 204
    assert plane.lead.get(path(old)).status_code == 404
    assert in_snapshot(plane, old) is None
    assert verbs(plane, f"alias:{old}")[:3] == [
        ("deprecation.withdraw", "not yet"),
        ("deprecation.announce", "security fixes end"),
        ("deprecation.announce", "version 2 is better"),
    ]


def test_an_alias_shows_its_end(plane: Running) -> None:
    """Also in the list; the history of its targets and its ETag are not touched by it."""
    old = plane.alias()
    before = plane.lead.get(f"/api/v1/aliases/{old}")
    assert before.json()["deprecation"] is None
    sunset = ahead(days=9)
    assert announce(plane, old, sunset_at=sunset).status_code == 201
    after = plane.lead.get(f"/api/v1/aliases/{old}")
    assert after.json()["deprecation"]["sunset_at"] == sunset
    assert after.headers["ETag"] == before.headers["ETag"]
    listed = plane.lead.get("/api/v1/aliases", params={"q": old}).json()["aliases"]
    assert [each["deprecation"]["sunset_at"] for each in listed] == [sunset]


def test_a_version_retires_too(plane: Running) -> None:
    """Whoever may register the model announces it; the snapshot has it with the model."""
    model = plane.model(plane.fresh("model"))
    where = f"/api/v1/models/{model}/versions/2/deprecation"
    made = plane.lead.put(where, json={"sunset_at": ahead(days=3)})
    assert made.status_code == 201, made.text
    assert (made.json()["alias"], made.json()["model"], made.json()["version"]) == (None, model, 2)
    published = plane.control.publisher.published
    assert published is not None
    (entry,) = (each for each in published.document.models if each.name == model)
    assert [each.version for each in entry.deprecations] == [2]
    assert plane.lead.get(f"/api/v1/models/{model}/versions/9/deprecation").status_code == 404
    assert plane.lead.get(f"/api/v1/models/{model}/versions/1/deprecation").status_code == 404
    assert plane.as_("user:sre").put(where, json={}).status_code == 403
    assert plane.as_("app:stranger").get(where).status_code == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"sunset_at": ahead(days=-1)}, ["has passed"]),
        (
            {"deprecated_at": ahead(days=9), "sunset_at": ahead(days=5)},
            ["the sunset lies before the deprecation"],
        ),
        ({"sunset_at": "2027-02-30T00:00:00Z"}, ["sunset_at"]),
        ({"sunset_at": "2027-02-01T00:00:00"}, ["sunset_at"]),
        ({"sunset_at": 1_800_000_000}, ["sunset_at"]),
        ({"sunset_at": "tomorrow", "after_sunset": "never", "colour": 1}, ["sunset_at", "after_sunset", "colour"]),
        ({"after_sunset": "gone"}, ["does not have"]),
        ({"successor": "no-such-alias"}, ["there is no alias 'no-such-alias'"]),
        ({"successor": "a b"}, ["is no name of an alias"]),
        ({"info_url": "javascript:alert(1)"}, ["no http or https address"]),
        (
            {"successor": "no-such-alias", "info_url": "ftp://x", "sunset_at": ahead(days=-1)},
            ["no alias", "no http", "has passed"],
        ),
        (
            {"brownouts": [{"start": ahead(days=-2), "end": ahead(days=-1)}]},
            ["before the deprecation", "over already"],
        ),
        ({"brownouts": [{"start": ahead(days=2), "end": ahead(days=4)}]}, ["longer than a day"]),
        ({"brownouts": [{"start": ahead(days=2), "end": ahead(days=2)}]}, ["ends before it begins"]),
        (
            {
                "brownouts": [
                    {"start": ahead(days=2), "end": ahead(days=2, hours=2)},
                    {"start": ahead(days=2, hours=1), "end": ahead(days=2, hours=3)},
                ]
            },
            ["overlap"],
        ),
        (
            {
                "sunset_at": ahead(days=1),
                "brownouts": [{"start": ahead(days=2), "end": ahead(days=2, hours=2)}],
            },
            ["after the sunset"],
        ),
        ({"brownouts": [{"start": ahead(days=2)}] * 101}, ["brownouts"]),
        ({"reason": "a\x1b[2J"}, ["reason"]),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_whole(
    plane: Running, body: dict[str, Any], words: list[str]
) -> None:
    """422 with every fault, and nothing is announced."""
    alias = plane.alias()
    refused = announce(plane, alias, **body)
    assert refused.status_code == 422, refused.text
    problems = " | ".join(refused.json()["problems"])
    assert [word for word in words if word not in problems] == [], problems
    assert plane.lead.get(path(alias)).status_code == 404
    assert in_snapshot(plane, alias) is None


def test_successors_lead_somewhere(plane: Running) -> None:
    """Not to the alias itself, not in a circle however long, not to what the caller may not see."""
    first, second, third = plane.alias(), plane.alias(), plane.alias()
    assert "own successor" in announce(plane, first, successor=first).text
    assert announce(plane, first, successor=second).status_code == 201
    assert announce(plane, second, successor=third).status_code == 201
    refused = announce(plane, third, successor=first)
    assert refused.status_code == 422
    assert f"{third} > {first} > {second} > {third}" in refused.json()["problems"][0]
    model = plane.model(plane.fresh("model"), team="fraud")
    theirs = plane.fresh()
    body = {"team": "fraud", "targets": targets((1, 10_000), model=model)}
    plane.admin.put(f"/api/v1/aliases/{theirs}", json=body).raise_for_status()
    assert "you may not see it" in announce(plane, third, successor=theirs).text
    where = "/api/v1/models/digits/versions/3/deprecation"
    assert plane.lead.put(where, json={"successor": first}).status_code == 201
    assert plane.lead.delete(where).status_code == 204


def test_the_successor_of_a_version_does_not_lead_back_to_it(plane: Running) -> None:
    """An alias that goes there with all its traffic is refused, one of which a part goes there is not."""
    where = "/api/v1/models/digits/versions/3/deprecation"
    back = plane.alias((3, 10_000))
    refused = plane.lead.put(where, json={"successor": back})
    assert refused.status_code == 422
    assert f"version digits@3: alias {back} leads back to it with all its traffic" in refused.text
    part = plane.alias((1, 1_000), (3, 9_000))
    assert plane.lead.put(where, json={"successor": part}).status_code == 201
    assert plane.lead.delete(where).status_code == 204


def test_who_may_announce(plane: Running) -> None:
    """Who may flip the alias; who may see it reads; to others there is no such alias."""
    alias = plane.alias()
    assert announce(plane, alias, "user:approver").status_code == 403
    assert announce(plane, alias, "app:storefront").status_code == 403
    assert announce(plane, alias, "app:stranger").status_code == 404
    assert announce(plane, "no-such-alias").status_code == 404
    assert announce(plane, alias).status_code == 201
    assert plane.as_("app:storefront").get(path(alias)).status_code == 200
    assert plane.as_("user:approver").delete(path(alias)).status_code == 403
    stranger = plane.as_("app:stranger").get(path(alias))
    nothing = plane.as_("app:stranger").get(path("no-such-alias"))
    assert (stranger.status_code, nothing.status_code) == (404, 404)
    assert stranger.json()["detail"].replace(alias, "X") == nothing.json()["detail"].replace(
        "no-such-alias", "X"
    )


def test_an_end_that_has_come_can_still_be_told_better(own_plane: Running) -> None:
    """A date that stands may have passed: it can be told what happens after it, but a new date lies ahead."""
    alias = own_plane.alias()
    passed = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    assert announce(own_plane, alias, sunset_at=ahead(days=1)).status_code == 201
    _move_sunset(own_plane, alias, passed)
    view = own_plane.lead.get(path(alias)).json()
    assert (view["status"], view["days_left"]) == ("overdue", -1)
    body = {
        "deprecated_at": view["deprecated_at"],
        "sunset_at": view["sunset_at"],
        "after_sunset": "gone",
    }
    done = own_plane.lead.put(path(alias), json=body, headers={"If-Match": "*"})
    assert done.status_code == 200, done.text
    assert done.json()["status"] == "gone"
    later = body | {"sunset_at": (passed + timedelta(hours=1)).isoformat()}
    assert own_plane.lead.put(path(alias), json=later, headers={"If-Match": "*"}).status_code == 422
    assert "retired itself" in announce(own_plane, own_plane.alias(), successor=alias).text


def _move_sunset(plane: Running, alias: str, sunset: datetime) -> None:
    """As if the announcement had been made long ago."""
    from gateway.db.models import DeprecationRow

    def verb(session: Any) -> None:
        row = session.get_one(DeprecationRow, f"alias:{alias}")
        moved = {"sunset_at": sunset.timestamp(), "deprecated_at": sunset.timestamp() - 86_400}
        row.entry = row.entry | moved

    plane.control.database.write(verb)


def test_the_list_has_the_next_sunset_first(own_plane: Running) -> None:
    """Aliases and versions that one may see; those without a date come last."""
    undated, late, soon = own_plane.alias(), own_plane.alias(), own_plane.alias()
    announce(own_plane, undated)
    announce(own_plane, late, sunset_at=ahead(days=50))
    announce(own_plane, soon, sunset_at=ahead(days=5))
    own_plane.lead.put(
        "/api/v1/models/digits/versions/3/deprecation", json={"sunset_at": ahead(days=20)}
    ).raise_for_status()
    listed = own_plane.lead.get("/api/v1/deprecations").json()["deprecations"]
    assert [each["alias"] or f"{each['model']}@{each['version']}" for each in listed] == [
        soon,
        "digits@3",
        late,
        undated,
    ]
    assert own_plane.as_("app:stranger").get("/api/v1/deprecations").json() == {"deprecations": []}


def test_no_snapshot_is_made_of_an_end_that_cannot_be(own_plane: Running) -> None:
    """What somebody writes straight into the table is refused whole, and the last good snapshot goes on."""
    from gateway.db.models import DeprecationRow, StateRow

    alias = own_plane.alias()
    assert announce(own_plane, alias, sunset_at=ahead(days=9)).status_code == 201
    published = own_plane.control.publisher.published

    def poison(session: Any) -> None:
        row = session.get_one(DeprecationRow, f"alias:{alias}")
        row.entry = row.entry | {"sunset_at": 1.0}
        session.get_one(StateRow, 1).version += 1

    own_plane.control.database.write(poison)
    own_plane.control.publisher.refresh()
    assert own_plane.control.publisher.published is published
    refusal = own_plane.control.publisher.refusal
    assert refusal is not None
    assert "the sunset lies before the deprecation" in refusal.problems[0]


def test_the_schema_names_the_parameters_of_both_paths(plane: Running) -> None:
    """Each path of the description declares what stands in it."""
    paths = plane.anyone.get("/schema/openapi.json").json()["paths"]
    for where, expected in {
        "/api/v1/aliases/{alias}/deprecation": {"alias"},
        "/api/v1/models/{model}/versions/{version}/deprecation": {"model", "version"},
        "/api/v1/models/{model}/versions/{version}/deprecation/callers/{principal}/note": {
            "model",
            "version",
            "principal",
        },
    }.items():
        for method, operation in paths[where].items():
            named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert named == expected, (where, method)
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(ids) == len(set(ids))
