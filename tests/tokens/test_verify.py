"""Tokens that are good: whom they speak for, with which roles, and for how long."""

import base64
import hashlib
import time
from typing import Any

import msgspec
import pytest

from gateway.tokens import tokens as tokens_module
from gateway.tokens.form import Refused
from gateway.tokens.keys import NO_KEYS, read_keys
from gateway.tokens.tokens import Tokens
from tests.tokens.issuer import Issuer, Signer
from tests.tokens.trusting import ALGORITHMS, DECLARED, ROLES, trusting, why


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_signed_by_a_published_key_names_its_principal(
    issuer: Issuer, signers: dict[str, Signer], algorithm: str
) -> None:
    """RSA with both paddings, the three curves and Ed25519, all published side by side."""
    issuer.publish(*(signers[each] for each in ALGORITHMS))
    found = trusting(issuer).principal(issuer.token(signer=signers[algorithm]).encode())
    assert found is not None
    assert (found.id, found.issuer, found.roles) == ("app:caller", "main", ())
    assert found.key_id.startswith("main/")


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
def test_the_types_of_access_and_id_tokens_are_taken(issuer: Issuer, kind: str | None) -> None:
    """RFC 7519 section 5.1 and RFC 9068 section 2.1; the field may be missing."""
    assert trusting(issuer).principal(issuer.token(header={"typ": kind}).encode())


def test_clocks_may_differ_by_the_leeway(issuer: Issuer) -> None:
    """A token is taken a little before its time and a little after, no longer; and for exactly so long."""
    tokens, now = trusting(issuer, leeway_s=30.0), time.time()
    late = issuer.token(exp=int(now) - 20)
    early = issuer.token(nbf=int(now) + 20, iat=int(now) + 20)
    assert tokens.verify(late.encode(), now).expires_at == int(now) + 10
    assert tokens.verify(early.encode(), now).id == "app:caller"
    with pytest.raises(Refused, match="expired"):
        tokens.verify(late.encode(), now + 11)
    with pytest.raises(Refused, match="not_yet"):
        tokens.verify(early.encode(), now - 11)
    strict = trusting(issuer, leeway_s=0.0)
    assert why(strict, late) == "expired"


def test_a_token_without_a_key_id_means_the_only_key_there_is(
    issuer: Issuer, signers: dict[str, Signer]
) -> None:
    """With two for its algorithm it means neither."""
    token = issuer.token(header={"kid": None})
    assert trusting(issuer).principal(token.encode())
    issuer.publish(signers["RS256"], signers["ES256"])
    assert trusting(issuer).principal(token.encode())
    issuer.publish(signers["RS256"], signers["other"])
    assert why(trusting(issuer), token) == "key"


def test_one_issuer_cannot_speak_for_another(issuer: Issuer, signers: dict[str, Signer]) -> None:
    """A key verifies the tokens of its own issuer alone."""
    other = Issuer(signers["other"])
    try:
        tokens = Tokens(
            {
                "main": msgspec.structs.replace(DECLARED, issuer=issuer.url),
                "partner": msgspec.structs.replace(
                    DECLARED, issuer=other.url, principal="user:partner-{azp}"
                ),
            }
        )
        for name, each in (("main", issuer), ("partner", other)):
            tokens.replace(name, read_keys(each.key_set, ALGORITHMS))
        assert why(tokens, other.token(iss=issuer.url)) == "key"
        theirs = tokens.principal(other.token().encode())
        assert theirs is not None
        assert (theirs.id, theirs.issuer) == ("user:partner-caller", "partner")
    finally:
        other.close()


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        ({}, ()),
        ({"groups": ["x", "ml-vision"]}, (("role:consumer", "vision"),)),
        ({"groups": "ml-vision"}, (("role:consumer", "vision"),)),
        ({"groups": "x ml-vision"}, ()),
        ({"groups": {"ml-vision": 1}}, ()),
        ({"groups": ["ml-vision-x", 7, None, ["ml-vision"]]}, ()),
        ({"realm_access": {"roles": ["admin"]}}, (("role:admin", "*"),)),
        ({"realm_access": ["admin"], "realm_access.roles": ["admin"]}, ()),
        ({"scope": "openid maas.read"}, (("role:reader", "*"),)),
        ({"scope": "openid maas.reader"}, ()),
        ({"tier": "gold", "groups": ["ml-vision"]}, (("role:consumer", "vision"), ("role:pinner", "vision"))),
        ({"https://example.com/team": "vision", "groups": ["ml-vision"]}, (("role:consumer", "vision"),)),
    ],
)
def test_claims_give_roles(
    issuer: Issuer, claims: dict[str, Any], roles: tuple[tuple[str, str], ...]
) -> None:
    """By whole values: of text the text, of a list an element, of a scope a word; nested ones by their path."""
    found = trusting(issuer, roles=ROLES).principal(issuer.token(**claims).encode())
    assert found is not None
    assert found.roles == roles


def test_a_token_that_was_seen_is_not_verified_again(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it expires, which no memory outlives."""
    tokens, now = trusting(issuer), time.time()
    token = issuer.token(exp=int(now) + 60).encode()
    first = tokens.principal(token)
    monkeypatch.setattr(tokens, "verify", lambda *_: pytest.fail("verified again"))
    assert tokens.principal(token) is first
    monkeypatch.setattr("gateway.tokens.tokens.time.time", lambda: now + 89)
    assert tokens.principal(token) is first
    monkeypatch.setattr("gateway.tokens.tokens.time.time", lambda: now + 91)
    assert tokens.principal(token) is None


def test_what_is_remembered_is_bounded(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that makes a new token for each request fills no memory."""
    monkeypatch.setattr(tokens_module, "MOST_REMEMBERED", 8)
    tokens = trusting(issuer)
    for number in range(30):
        assert tokens.principal(issuer.token(jti=str(number)).encode())
        assert len(tokens._remembered) <= 8


def test_tokens_of_a_key_that_is_withdrawn_are_forgotten(issuer: Issuer, signers: dict[str, Signer]) -> None:
    """Those of the keys that stay are not; and a new key under the same id is another key."""
    issuer.publish(signers["RS256"], signers["ES256"])
    tokens = trusting(issuer)
    old, kept = issuer.token().encode(), issuer.token(signer=signers["ES256"]).encode()
    before = tokens.principal(old)
    assert before is not None
    assert before.key_id in tokens.key_ids
    assert tokens.principal(kept)
    issuer.publish(Signer("key-RS256", "RS256", signers["other"].private), signers["ES256"])
    tokens.replace("main", read_keys(issuer.key_set, ALGORITHMS))
    assert why(tokens, old.decode()) == "signature"
    assert before.key_id not in tokens.key_ids
    assert tokens.principal(kept)
    tokens.replace("main", NO_KEYS)
    assert tokens.principal(kept) is None
    assert tokens.key_ids == frozenset()


def test_key_ids_are_thumbprints(issuer: Issuer) -> None:
    """RFC 7638: the SHA-256 of the required members in their order."""
    jwk = issuer.published[0]
    canonical = f'{{"e":"{jwk["e"]}","kty":"RSA","n":"{jwk["n"]}"}}'.encode()
    expected = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    assert trusting(issuer).key_ids == {f"main/{expected}"}
