"""The form of a token: three parts, strict JSON, nothing that this gateway does not understand. No signature yet.

RFC 7515 (JWS), RFC 7519 (JWT), and RFC 8725 on what attackers try. Nothing is decided here from a secret, so how
long it takes tells its sender nothing but what its sender wrote.
"""

import base64
import binascii
import json
import re
from typing import Any, Literal

import msgspec

MOST_BYTES = 8 * 1024

Reason = Literal[
    "malformed",
    "header",
    "issuer",
    "algorithm",
    "key",
    "signature",
    "expired",
    "not_yet",
    "audience",
    "bound",
    "principal",
]
"""Why a token is refused, for metrics and operators; its sender is never told."""

_FORM = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_REFUSED_FIELDS = ("crit", "b64", "enc", "zip", "cty")
"""Extensions that must be understood, detached payloads, encryption, compression, a token within the token. There are none
of them that this gateway takes. Keys that a token brings along (jwk, jku, x5c, x5u) are not looked at."""

_MOST_KID = 256
_LATEST_S = 253_402_300_800
"""The year 10000, in Unix seconds."""


class Refused(Exception):
    """The token is not accepted. `issuer` is the name of the declared issuer, where it has come so far."""

    def __init__(self, reason: Reason, issuer: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.issuer = issuer


class Token(msgspec.Struct, frozen=True):
    """A token whose signature nobody has checked yet. `signed` is what the signature covers."""

    algorithm: str
    kid: str | None
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def read_token(text: bytes) -> Token:
    """Take a token apart. Raises `Refused`."""
    if len(text) > MOST_BYTES or not _FORM.fullmatch(text):
        raise Refused("malformed")
    signed, _, signature = text.rpartition(b".")
    header, _, payload = signed.partition(b".")
    fields = _object(header)
    algorithm, kid, kind = fields.get("alg"), fields.get("kid"), fields.get("typ", "JWT")
    if not isinstance(algorithm, str) or not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise Refused("header")
    if any(name in fields for name in _REFUSED_FIELDS):
        raise Refused("header")
    if "kid" in fields and not (isinstance(kid, str) and len(kid) <= _MOST_KID):
        raise Refused("header")
    claims = _object(payload)
    for name in ("exp", "nbf", "iat"):
        if name in claims and not _is_moment(claims[name]):
            raise Refused("malformed")
    return Token(algorithm, kid, claims, signed, _bytes(signature))


def _is_moment(value: object) -> bool:
    # A boolean is an int to Python, and text that reads as a number is none in JSON (RFC 7519 section 2, NumericDate).
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LATEST_S


def _bytes(part: bytes) -> bytes:
    """The bytes of a part, which has exactly one spelling."""
    try:
        decoded = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except binascii.Error:
        raise Refused("malformed") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part:
        raise Refused("malformed")
    return decoded


def _object(part: bytes) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(part).decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refused("malformed") from None
    if not isinstance(found, dict):
        raise Refused("malformed")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")
