"""Tokens of a real issuer, with the keys that it publishes, and why they refuse one."""

import time
from typing import Any

import msgspec
import pytest

from gateway.issuers import Issuer as Declared
from gateway.issuers import RoleClaim
from gateway.tokens.form import Refused
from gateway.tokens.keys import read_keys
from gateway.tokens.tokens import Tokens
from tests.tokens.issuer import AUDIENCE, Issuer

ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA")
DECLARED = Declared(
    issuer="set by each test", audience=(AUDIENCE,), principal="app:{azp}", algorithms=ALGORITHMS
)
ROLES = (
    RoleClaim("groups", "ml-vision", "role:consumer", "vision"),
    RoleClaim(("realm_access", "roles"), "admin", "role:admin", "*"),
    RoleClaim("scope", "maas.read", "role:reader", "*"),
    RoleClaim("tier", "gold", "role:pinner", "vision"),
    RoleClaim("https://example.com/team", "vision", "role:consumer", "vision"),
)


def trusting(issuer: Issuer, **fields: Any) -> Tokens:
    """Tokens of the issuer, declared with these fields, with the keys that it publishes now."""
    declared = msgspec.structs.replace(DECLARED, issuer=issuer.url, **fields)
    found = Tokens({"main": declared})
    found.replace("main", read_keys(issuer.key_set, declared.algorithms))
    return found


def why(tokens: Tokens, token: str | bytes) -> str:
    """Why a token is refused."""
    text = token.encode() if isinstance(token, str) else token
    with pytest.raises(Refused) as refused:
        tokens.verify(text, time.time())
    assert tokens.principal(text) is None
    return refused.value.reason
