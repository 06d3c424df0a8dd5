"""Key sets: which of the published keys verify what."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.issuers import ALGORITHMS
from gateway.tokens.keys import KeysRefused, read_keys
from tests.tokens.issuer import Signer


def places(*entries: object, algorithms: tuple[str, ...] = ALGORITHMS) -> set[tuple[str | None, str]]:
    """The ids and algorithms that the keys verify, those with an id."""
    return {place for place in read_keys({"keys": list(entries)}, algorithms).keys if place[0] is not None}


def test_a_key_verifies_what_it_is_published_for(signers: dict[str, Signer]) -> None:
    """Its own `alg` alone; without one, all of its type that the issuer is declared with."""
    rsa_key = signers["RS256"]
    assert places(rsa_key.jwk()) == {("key-RS256", "RS256")}
    assert places(rsa_key.jwk(alg=None), algorithms=("RS256", "PS384", "ES256")) == {
        ("key-RS256", "RS256"),
        ("key-RS256", "PS384"),
    }
    assert places(signers["ES384"].jwk(alg=None)) == {("key-ES384", "ES384")}
    assert places(signers["EdDSA"].jwk(alg=None, use=None, key_ops=["verify"])) == {("key-EdDSA", "EdDSA")}


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"alg": "RSA-OAEP"},
        {"alg": "ES256"},
        {"alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "EC"},
        {"kty": None},
        {"kty": ["RSA"]},
        {"kid": 7},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"d": "AQAB"},
        {"n": None},
        {"n": "!!"},
        {"n": 7},
        {"e": "AA"},
        {"e": []},
        {"crv": 1},
    ],
)
def test_keys_that_are_not_for_this_are_left_out(signers: dict[str, Signer], members: dict[str, Any]) -> None:
    """Keys for encryption, for other algorithms, symmetric, private and broken ones: the good one beside them stays."""
    odd = signers["RS256"].jwk() | {"kid": "odd"} | members
    odd = {name: value for name, value in odd.items() if value is not None}
    assert places(odd, signers["ES256"].jwk()) == {("key-ES256", "ES256")}
    with pytest.raises(KeysRefused):
        read_keys({"keys": [odd]}, ALGORITHMS)


@pytest.mark.parametrize("bits", [1024, 9216])
def test_rsa_keys_that_are_weak_or_a_burden_are_left_out(signers: dict[str, Signer], bits: int) -> None:
    """Below 2048 bits they can be broken (RFC 7518 section 3.3), far above they hold up the request path."""
    numbers = rsa.RSAPublicNumbers(65537, (1 << bits) - 159)
    jwk = signers["RS256"].jwk()
    modulus = numbers.n.to_bytes(bits // 8, "big")
    jwk |= {"n": base64.urlsafe_b64encode(modulus).rstrip(b"=").decode(), "kid": "odd"}
    assert places(jwk, signers["ES256"].jwk()) == {("key-ES256", "ES256")}


def test_of_two_keys_with_one_id_the_first_stands(signers: dict[str, Signer]) -> None:
    """Unless they are for different algorithms: then each is found by its own."""
    one, two = signers["RS256"].jwk(kid="k"), signers["other"].jwk(kid="k")
    found = read_keys({"keys": [one, two]}, ALGORITHMS)
    assert found.keys["k", "RS256"].id == read_keys({"keys": [one]}, ALGORITHMS).keys["k", "RS256"].id
    assert places(one, signers["ES256"].jwk(kid="k")) == {("k", "RS256"), ("k", "ES256")}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["keys", "kty", "crv", "x", "y", "n", "e", "kid", "use", "alg"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_document_is_keys_or_refused(document: object) -> None:
    """Never another exception."""
    with pytest.raises(KeysRefused):
        read_keys(document, ALGORITHMS)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "use", "alg", "key_ops"]), JSON)
)
def test_any_members_make_a_key_that_is_used_or_left_out(
    signers: dict[str, Signer], members: dict[str, Any]
) -> None:
    """And leave the good key beside it alone."""
    assert ("key-ES256", "ES256") in places(signers["RS256"].jwk() | members, signers["ES256"].jwk())
