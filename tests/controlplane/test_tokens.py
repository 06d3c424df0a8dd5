"""Tokens at the control plane: the same credentials as at the inference port, and what they may do there."""

from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from click.testing import CliRunner

from gateway.cli.main import maas
from gateway.issuers import Issuer as Declared
from gateway.issuers import RoleClaim
from gateway.settings import Settings
from gateway.tokens import open_tokens
from tests.controlplane.harness import Running, running, targets
from tests.db.servers import wait_until
from tests.tokens.issuer import AUDIENCE, Issuer, Signer


class Trusting(NamedTuple):
    """A control plane and the issuer that it trusts."""

    plane: Running
    issuer: Issuer

    def client(self, **claims: object) -> httpx.Client:
        """Somebody with a token."""
        return self.plane.client(self.issuer.token(**claims))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trusting]:
    """Principals are users by their name; the group `leads` owns what is team vision's."""
    folder = tmp_path_factory.mktemp("control")
    issuer = Issuer(Signer("first", "ES256"))
    declared = Declared(
        issuer.url,
        (AUDIENCE,),
        "user:{preferred_username}",
        roles=(
            RoleClaim("groups", "leads", "role:owner", "vision"),
            RoleClaim("groups", "admins", "role:admin", "platform"),
        ),
        refresh_s=1.0,
    )
    settings = Settings(data_dir=folder, issuers={"company": declared})
    with running(f"sqlite:///{folder / 'maas.db'}", open_tokens(settings)) as plane:
        plane.model()
        found = Trusting(plane, issuer)
        with found.client(preferred_username="anna") as client:
            wait_until(lambda: client.get("/api/v1/whoami").is_success, "the issuer's keys are there")
        yield found
    issuer.close()


def test_whoami_names_the_issuer_and_what_the_token_gives(trusting: Trusting) -> None:
    """Teams, roles and rights, those of the claims beside those of the policy; and no key, for there is none."""
    with trusting.client(preferred_username="anna", groups=["leads", "admins"]) as client:
        me = client.get("/api/v1/whoami").json()
    assert (me["principal"], me["issuer"], me["key_id"]) == ("user:anna", "company", None)
    assert me["teams"] == ["platform", "vision"]
    assert me["roles"] == {"platform": ["role:admin"], "vision": ["role:owner"]}
    assert "admin" in me["resources"]["@keys"]
    by_key = trusting.plane.as_("user:lead").get("/api/v1/whoami").json()
    assert by_key["issuer"] is None
    assert by_key["key_id"]


def test_a_token_may_do_what_its_roles_may(trusting: Trusting) -> None:
    """Who leads by group flips an alias of that team, with its own name in the history; without the group, nobody sees it."""
    alias = trusting.plane.alias()
    path = f"/api/v1/aliases/{alias}"
    with trusting.client(preferred_username="anna") as client:
        assert client.get(path).status_code == 404
    with trusting.client(preferred_username="anna", groups=["leads"]) as client:
        etag = client.get(path).headers["ETag"]
        body = {"team": "vision", "targets": targets((2, 10_000))}
        assert client.put(path, json=body, headers={"If-Match": etag}).status_code == 200
        history = client.get(f"{path}/history").json()
        assert "user:anna" in str(history)
        assert client.get("/api/v1/policy").status_code == 403


def test_a_principal_of_the_policy_needs_no_claim(trusting: Trusting) -> None:
    """`user:lead` is who the rows say, by key or by token."""
    alias = trusting.plane.alias()
    with trusting.client(preferred_username="lead") as client:
        assert client.get(f"/api/v1/aliases/{alias}").status_code == 200


def test_questions_about_oneself_count_ones_own_roles(trusting: Trusting) -> None:
    """Those of others' tokens are not known before they call, so about others only the rows answer."""
    alias = trusting.plane.alias()
    question = {"subject": "user:anna", "action": "flip", "alias": alias}
    with trusting.client(preferred_username="anna", groups=["leads"]) as client:
        assert client.post("/api/v1/policy/check", json=question).json() == {"allowed": True}
        explained = client.post("/api/v1/policy/explain", json=question).json()
        assert explained["allowed"]
        assert "user:anna > role:owner" in explained["text"]
    assert trusting.plane.admin.post("/api/v1/policy/check", json=question).json() == {"allowed": False}


def test_bad_tokens_are_refused_as_bad_keys_are(trusting: Trusting) -> None:
    """In the very same words; a token is no X-API-Key, and two credentials are one too many."""
    issuer, plane = trusting.issuer, trusting.plane
    good = issuer.token(preferred_username="anna")
    unknown_key = "maas_00000000_" + plane.key("user:lead")[14:]
    bad: dict[str, dict[str, str]] = {
        "expired": {"Authorization": f"Bearer {issuer.token(preferred_username='anna', exp=1)}"},
        "another audience": {"Authorization": f"Bearer {issuer.token(preferred_username='anna', aud='x')}"},
        "no name": {"Authorization": f"Bearer {issuer.token()}"},
        "garbage": {"Authorization": "Bearer a.b.c"},
        "a key that is none": {"Authorization": f"Bearer {unknown_key}"},
        "a token as a key": {"X-API-Key": good},
    }
    bodies = set()
    for name, headers in bad.items():
        reply = plane.anyone.get("/api/v1/whoami", headers=headers)
        assert reply.status_code == 401, name
        bodies.add(reply.text.replace(reply.headers["X-Request-Id"], "ID"))
    assert len(bodies) == 1
    both = {"Authorization": f"Bearer {good}", "X-API-Key": good}
    assert plane.anyone.get("/api/v1/whoami", headers=both).status_code == 401


def test_the_command_line_takes_a_token_for_a_key(
    trusting: Trusting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MAAS_KEY may hold one, however long tokens are."""
    alias = trusting.plane.alias()
    monkeypatch.setenv("MAAS_URL", trusting.plane.url)
    token = trusting.issuer.token(preferred_username="anna", groups=["leads", *(["x" * 100] * 40)])
    assert len(token) > 4000
    monkeypatch.setenv("MAAS_KEY", token)
    result = CliRunner().invoke(maas, ["alias", "show", alias])
    assert result.exit_code == 0, result.output
    monkeypatch.setenv("MAAS_KEY", trusting.issuer.token(preferred_username="anna", exp=1))
    result = CliRunner().invoke(maas, ["alias", "show", alias])
    assert result.exit_code == 1
    assert "MAAS_KEY is not accepted" in result.stderr


def test_keys_stay_with_who_has_them(trusting: Trusting) -> None:
    """A caller by token lists its own keys as a caller by key does."""
    trusting.plane.key("user:anna")
    with trusting.client(preferred_username="anna") as client:
        assert {each["principal"] for each in client.get("/api/v1/keys").json()["keys"]} == {"user:anna"}
