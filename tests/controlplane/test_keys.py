"""API keys: made, shown once, expired, revoked."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from gateway.apikey import parse_key
from tests.controlplane.harness import Running
from tests.db.servers import wait_until


def make(plane: Running, **body: Any) -> Any:
    return plane.admin.post("/api/v1/keys", json={"principal": "app:storefront", **body})


def test_a_key_is_shown_once_and_kept_nowhere(plane: Running) -> None:
    """The reply has the text; the list, the audit and every table have not."""
    made = make(plane, note="for the shop")
    assert made.status_code == 201
    key = made.json()["key"]
    parsed = parse_key(key)
    assert parsed is not None
    assert (made.json()["id"], made.json()["prefix"]) == (parsed.id, f"maas_{parsed.id}")
    assert key not in plane.admin.get("/api/v1/keys").text
    assert key not in plane.admin.get("/api/v1/audit?limit=1000").text
    secret = key[14:]
    with plane.control.read() as session:
        for table in ("api_keys", "audit", "state", "worker_reports"):
            for row in session.execute(text(f"SELECT * FROM {table}")):
                assert secret not in repr(row)
    with plane.client(key) as client:
        assert client.get("/api/v1/whoami").json()["principal"] == "app:storefront"


def test_a_revoked_key_is_refused_at_once(plane: Running) -> None:
    """And revoking it again changes nothing."""
    made = make(plane).json()
    with plane.client(made["key"]) as client:
        assert client.get("/api/v1/whoami").status_code == 200
        assert plane.admin.delete(f"/api/v1/keys/{made['id']}?reason=leaked").status_code == 204
        assert client.get("/api/v1/whoami").status_code == 401
    version = plane.control.publisher.published
    assert plane.admin.delete(f"/api/v1/keys/{made['id']}").status_code == 204
    assert plane.control.publisher.published is version
    shown = next(each for each in plane.admin.get("/api/v1/keys").json()["keys"] if each["id"] == made["id"])
    assert shown["revoked_by"] == "user:admin"


def test_an_expired_key_is_refused(plane: Running) -> None:
    """From its second on, without anybody doing anything."""
    soon = datetime.now(UTC) + timedelta(seconds=3)
    made = make(plane, expires_at=soon.isoformat()).json()
    assert made["expires_at"].endswith("Z")
    with plane.client(made["key"]) as client:
        assert client.get("/api/v1/whoami").status_code == 200
        wait_until(lambda: client.get("/api/v1/whoami").status_code == 401, "the key has expired", 3)
        assert time.time() >= soon.timestamp()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"principal": "storefront"}, "principal"),
        ({"principal": "role:admin"}, "principal"),
        ({"principal": "app:"}, "principal"),
        ({"principal": "app:a b"}, "principal"),
        ({"principal": None}, "principal"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "has passed"),
        ({"expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": 4102444800}, "expires_at"),
        ({"note": "a\x1bb"}, "note"),
        ({"key": "mine"}, "unknown field"),
    ],
)
def test_a_bad_key_is_not_made(plane: Running, body: dict[str, Any], words: str) -> None:
    """422 in words."""
    refused = make(plane, **body)
    assert refused.status_code == 422, refused.text
    assert any(words in problem for problem in refused.json()["problems"]), refused.text


def test_everybody_sees_and_revokes_their_own_keys_only(plane: Running) -> None:
    """A stranger's key does not exist for them; who reads all keys may not revoke them."""
    own = make(plane, principal="app:stranger").json()
    other = make(plane).json()
    stranger = plane.as_("app:stranger")
    assert {each["principal"] for each in stranger.get("/api/v1/keys").json()["keys"]} == {"app:stranger"}
    assert stranger.post("/api/v1/keys", json={"principal": "app:stranger"}).status_code == 403
    assert stranger.delete(f"/api/v1/keys/{other['id']}").status_code == 404
    assert stranger.delete("/api/v1/keys/nonsense").status_code == 404
    assert plane.as_("user:sre").delete(f"/api/v1/keys/{other['id']}").status_code == 403
    assert stranger.delete(f"/api/v1/keys/{own['id']}").status_code == 204


def test_bad_credentials_are_all_the_same_401(plane: Running) -> None:
    """None, two, unknown, mistyped, another scheme: 401 as a problem document with a challenge."""
    key = make(plane).json()["key"]
    unknown = "maas_00000000_" + key[14:]
    bad: list[list[tuple[str, str]]] = [
        [],
        [("Authorization", f"Bearer {key}"), ("X-API-Key", key)],
        [("X-API-Key", key), ("X-API-Key", key)],
        [("Authorization", f"Basic {key}")],
        [("Authorization", "Bearer")],
        [("Authorization", f"Bearer {key}x")],
        [("X-API-Key", unknown)],
        [("X-API-Key", "é")],
        [("Authorization", f"Bearer {plane.control.worker_token}")],
    ]
    for headers in bad:
        sent = httpx.Headers(headers, encoding="latin-1")
        reply = plane.anyone.get("/api/v1/whoami", headers=sent)
        assert reply.status_code == 401, headers
        assert reply.json()["code"] == "unauthenticated"
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    with plane.client(key) as client:
        del client.headers["Authorization"]
        assert client.get("/api/v1/whoami", headers={"X-API-Key": key}).status_code == 200
