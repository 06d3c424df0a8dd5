"""Tokens that were tampered with, forged, or never meant for us: each is refused, for the reason that stops it."""

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.tokens.form import MOST_BYTES
from tests.tokens.issuer import AUDIENCE, Issuer, Signer, encoded
from tests.tokens.trusting import ROLES, trusting, why


def bad_headers() -> dict[str, Callable[[Issuer, dict[str, Signer]], tuple[str, str]]]:
    """Attacks on the header and the key, each with the reason that it must be refused for."""

    def swapped(issuer: Issuer, signers: dict[str, Signer], form: Encoding, kind: PublicFormat) -> str:
        """HMAC with the issuer's public key as its secret: everybody knows it (CVE-2015-9235)."""
        secret = signers["RS256"].private.public_key().public_bytes(form, kind)
        message = encoded({"alg": "HS256", "kid": "key-RS256"}) + b"." + encoded(issuer.claims())
        return (message + b"." + encoded(hmac.digest(secret, message, "sha256"))).decode()

    def unsigned(issuer: Issuer, algorithm: str) -> str:
        message = encoded({"alg": algorithm, "kid": "key-RS256"}) + b"." + encoded(issuer.claims())
        return message.decode()

    def moved(issuer: Issuer) -> str:
        """Another payload under a good signature."""
        header, _, signature = issuer.token().split(".")
        return ".".join((header, encoded(issuer.claims(azp="admin")).decode(), signature))

    def cut(issuer: Issuer) -> str:
        message, _, signature = issuer.token().rpartition(".")
        whole = base64.urlsafe_b64decode(signature + "==")
        return f"{message}.{encoded(whole[:-1]).decode()}"

    return {
        "alg none": lambda i, s: (unsigned(i, "none") + ".", "malformed"),
        "alg none with a signature": lambda i, s: (unsigned(i, "none") + ".AAAA", "algorithm"),
        "alg None": lambda i, s: (unsigned(i, "nOnE") + ".AAAA", "algorithm"),
        "no signature": lambda i, s: (unsigned(i, "RS256") + ".", "malformed"),
        "swapped to HS256 with the PEM": lambda i, s: (
            swapped(i, s, Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "algorithm",
        ),
        "swapped to HS256 with the DER": lambda i, s: (
            swapped(i, s, Encoding.DER, PublicFormat.PKCS1),
            "algorithm",
        ),
        "an algorithm for the same key that it is not published for": lambda i, s: (
            i.token(signer=Signer("key-RS256", "PS256", s["RS256"].private)),
            "key",
        ),
        "an algorithm of another kind of key": lambda i, s: (
            i.token(signer=Signer("key-RS256", "ES256")),
            "key",
        ),
        "no algorithm": lambda i, s: (i.token(header={"alg": None}), "header"),
        "an algorithm that is a list": lambda i, s: (i.token(header={"alg": ["RS256"]}), "header"),
        "a key that nobody publishes": lambda i, s: (i.token(signer=s["other"]), "key"),
        "another key under a published id": lambda i, s: (
            i.token(signer=Signer("key-RS256", "RS256", s["other"].private)),
            "signature",
        ),
        "a key that it brings along": lambda i, s: (
            i.token(
                signer=Signer("key-RS256", "RS256", s["other"].private), header={"jwk": s["other"].jwk()}
            ),
            "signature",
        ),
        "a place to fetch its key": lambda i, s: (
            i.token(signer=s["other"], header={"jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/"}),
            "key",
        ),
        "a kid that is a path": lambda i, s: (i.token(header={"kid": "../../dev/null"}), "key"),
        "a kid that is a number": lambda i, s: (i.token(header={"kid": 7}), "header"),
        "an endless kid": lambda i, s: (i.token(header={"kid": "k" * 3000}), "header"),
        "an unknown extension that must be understood": lambda i, s: (
            i.token(header={"crit": ["http://example.com/x"], "http://example.com/x": 1}),
            "header",
        ),
        "crit that names nothing": lambda i, s: (i.token(header={"crit": []}), "header"),
        "crit b64": lambda i, s: (i.token(header={"crit": ["b64"], "b64": True}), "header"),
        "a payload that is not encoded": lambda i, s: (i.token(header={"b64": False}), "header"),
        "a token within": lambda i, s: (i.token(header={"cty": "JWT"}), "header"),
        "compressed": lambda i, s: (i.token(header={"zip": "DEF"}), "header"),
        "encrypted": lambda i, s: (f"{i.token()}.AAAA.AAAA", "malformed"),
        "encrypted, by its header": lambda i, s: (i.token(header={"enc": "A128GCM"}), "header"),
        "a logout token": lambda i, s: (i.token(header={"typ": "logout+jwt"}), "header"),
        "a type that is a number": lambda i, s: (i.token(header={"typ": 1}), "header"),
        "another payload": lambda i, s: (moved(i), "signature"),
        "a cut signature": lambda i, s: (cut(i), "signature"),
    }


@pytest.mark.parametrize("attack", list(bad_headers()))
def test_attacks_on_header_and_key_are_refused(
    issuer: Issuer, signers: dict[str, Signer], attack: str
) -> None:
    """By the reason that stops them, so that no test passes for another one's sake."""
    token, reason = bad_headers()[attack](issuer, signers)
    assert why(trusting(issuer), token) == reason


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://elsewhere.example"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"iss": ["x"]}, "issuer"),
        ({"aud": None}, "audience"),
        ({"aud": "another"}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": ["another", 7]}, "audience"),
        ({"aud": {"maas": 1}}, "audience"),
        ({"aud": "maas2"}, "audience"),
        ({"exp": None}, "expired"),
        ({"exp": 1}, "expired"),
        ({"exp": True}, "malformed"),
        ({"exp": "9999999999"}, "malformed"),
        ({"exp": -1}, "malformed"),
        ({"exp": 10**300}, "malformed"),
        ({"exp": 1e300}, "malformed"),
        ({"exp": [9999999999]}, "malformed"),
        ({"nbf": 9_999_999_999}, "not_yet"),
        ({"nbf": "0"}, "malformed"),
        ({"iat": 9_999_999_999}, "not_yet"),
        ({"iat": False}, "malformed"),
        ({"azp": None}, "principal"),
        ({"azp": 7}, "principal"),
        ({"azp": ""}, "principal"),
        ({"azp": "a b"}, "principal"),
        ({"azp": "a\n"}, "principal"),
        ({"azp": "../admin"}, "principal"),
        ({"azp": "x" * 129}, "principal"),
        ({"azp": "\ud800"}, "principal"),
        ({"cnf": {"jkt": "x"}}, "bound"),
    ],
)
def test_claims_that_do_not_hold_are_refused(issuer: Issuer, claims: dict[str, Any], reason: str) -> None:
    """Truly signed, and still not for us, not now, not named, or not a mere bearer's."""
    assert why(trusting(issuer), issuer.token(**claims)) == reason


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"exp": NaN}',
        b'{"exp": Infinity}',
        b"\xff{}",
        b"\xef\xbb\xbf{}",
        b'{"a": ' + b"[" * 4000 + b"]" * 4000 + b"}",
        b'{"exp": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_payload_that_is_no_strict_json_object_is_refused(issuer: Issuer, payload: bytes) -> None:
    """As a header and as a payload."""
    good = {"alg": "RS256", "kid": "key-RS256"}
    assert why(trusting(issuer), issuer.signers[0].sign(good, payload)) == "malformed"
    assert why(trusting(issuer), issuer.signers[0].sign(payload, issuer.claims())) in ("malformed", "header")


def test_a_name_that_stands_twice_is_refused(issuer: Issuer) -> None:
    """Another reader could take the other one."""
    twice = json.dumps(issuer.claims())[:-1].encode() + b', "aud": "maas"}'
    signer = issuer.signers[0]
    assert why(trusting(issuer), signer.sign({"alg": "RS256", "kid": signer.kid}, twice)) == "malformed"
    header = b'{"alg": "none", "alg": "RS256", "kid": "key-RS256"}'
    assert why(trusting(issuer), signer.sign(header, issuer.claims())) == "malformed"


def test_a_token_has_one_spelling(issuer: Issuer) -> None:
    """Padding, spaces, the other alphabet and loose bits at the end are refused."""
    tokens, token = trusting(issuer), issuer.token()
    header, payload, signature = token.split(".")
    loose = signature[:-1] + chr(ord(signature[-1]) + 1)
    assert base64.urlsafe_b64decode(loose + "==") == base64.urlsafe_b64decode(signature + "==")
    spellings = (
        f"{header}.{payload}.{loose}",
        f"{token}==",
        f"{header}=.{payload}.{signature}",
        f" {token}",
        f"{token}\n",
        f"{header}.{payload}.{signature}.",
        f".{payload}.{signature}",
        token.replace("-", "+").replace("_", "/") + "+",
    )
    assert {why(tokens, spelling) for spelling in spellings} == {"malformed"}


def test_a_token_beyond_8_kib_is_refused_unread(issuer: Issuer) -> None:
    """However good it is otherwise."""
    small, large = issuer.token(pad="x" * 4000), issuer.token(pad="x" * 8000)
    assert len(small) < MOST_BYTES < len(large)
    tokens = trusting(issuer)
    assert tokens.principal(small.encode())
    assert why(tokens, large) == "malformed"


def test_nothing_that_a_token_says_counts_before_its_signature(
    issuer: Issuer, signers: dict[str, Signer]
) -> None:
    """Forged tokens are refused for their signature, whatever else is wrong with them: who holds no key of the issuer's
    learns nothing from the time that an answer takes."""
    tokens = trusting(issuer)
    forger = Signer("key-RS256", "RS256", signers["other"].private)
    wrong: list[dict[str, Any]] = [
        {},
        {"exp": 1},
        {"exp": None},
        {"aud": "another"},
        {"azp": None},
        {"nbf": 9e9},
    ]
    assert {why(tokens, issuer.token(signer=forger, **claims)) for claims in wrong} == {"signature"}


FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(st.one_of(st.binary(max_size=200), st.text("abcXYZ019-_.=", max_size=200).map(str.encode)))
def test_any_bytes_are_refused_and_nothing_else(issuer: Issuer, text: bytes) -> None:
    """Never another exception."""
    assert trusting(issuer).principal(text) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["alg", "kid", "typ", "crit", "iss", "aud", "exp", "nbf", "iat", "azp", "cnf", "groups", "sub"]
)


@FUZZ
@given(
    st.dictionaries(NAMES, VALUES, max_size=2),
    st.dictionaries(NAMES, VALUES, max_size=2),
)
def test_what_is_accepted_here_pyjwt_accepts_too(
    issuer: Issuer, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    """Truly signed tokens with any header and claims: each is refused, or PyJWT's own full check agrees that it is good."""
    signer = issuer.signers[0]
    fields = {"alg": "RS256", "typ": "JWT", "kid": signer.kid} | header
    token = signer.sign(fields, issuer.claims() | claims)
    found = trusting(issuer, roles=ROLES).principal(token.encode())
    if found is None:
        return
    decoded = jwt.decode(
        token,
        signer.private.public_key(),
        algorithms=["RS256"],
        audience=AUDIENCE,
        issuer=issuer.url,
        leeway=30,
        options={"require": ["exp", "iss", "aud"], "verify_sub": False},
    )
    assert found.id == f"app:{decoded['azp']}"
