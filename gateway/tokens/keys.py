"""An issuer's signing keys, as its JSON Web Key Set (RFC 7517) publishes them: the only user of PyJWT.

A key verifies the algorithms of its own type alone, so that no token can choose how its key is used.
"""

import base64
import hashlib
import logging
from collections.abc import Iterable
from typing import Any

import jwt
import msgspec
from jwt.algorithms import Algorithm, get_default_algorithms

log = logging.getLogger(__name__)

LEAST_RSA_BITS = 2048
MOST_RSA_BITS = 8192
"""Beyond it one verification takes milliseconds, all of them on the request path."""

_ALGORITHMS = get_default_algorithms()
_OF_TYPE: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
"""Which algorithms keys of a type and curve are for (RFC 7518 section 3.1, RFC 8037)."""

_THUMBPRINT = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
"""The members that a key's thumbprint covers (RFC 7638 section 3.2, RFC 8037 section 2)."""


class KeysRefused(Exception):
    """A key set that cannot be used: why, as a sentence."""


class SigningKey(msgspec.Struct, frozen=True):
    """One public key for one algorithm; `id` is its thumbprint (RFC 7638), which no two keys share."""

    id: str
    algorithm: Algorithm
    key: Any

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature over the message is this key's."""
        return bool(self.algorithm.verify(message, self.key, signature))


class KeySet(msgspec.Struct, frozen=True):
    """The keys by key id and algorithm; under the id None stands the only key for an algorithm, where there is one."""

    keys: dict[tuple[str | None, str], SigningKey]

    @property
    def ids(self) -> frozenset[str]:
        """The thumbprints of all keys."""
        return frozenset(key.id for key in self.keys.values())


NO_KEYS = KeySet({})


def read_keys(document: object, algorithms: Iterable[str]) -> KeySet:
    """The keys of a set that verify one of the algorithms. Raises `KeysRefused` when there is none."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise KeysRefused("it answers with no JSON Web Key Set")
    wanted = frozenset(algorithms)
    found: dict[tuple[str | None, str], SigningKey] = {}
    for entry in entries:
        for algorithm in _usable(entry, wanted):
            key = _key(entry, algorithm)
            if key is not None:
                # Of two keys with one id the first stands: a token cannot say which of them it means.
                found.setdefault((entry.get("kid"), algorithm), key)
    if not found:
        raise KeysRefused(f"its {len(entries)} keys verify none of {', '.join(sorted(wanted))}")
    return KeySet(_with_only_ones(found))


def _usable(entry: object, wanted: frozenset[str]) -> list[str]:
    """The wanted algorithms that the key is published for."""
    if not isinstance(entry, dict):
        return []
    kind, curve = entry.get("kty"), entry.get("crv")
    if not isinstance(kind, str) or not isinstance(curve, str | None) or "d" in entry:
        # A private key that everybody can read signs for everybody.
        return []
    if not isinstance(entry.get("kid"), str | None) or entry.get("use", "sig") != "sig":
        return []
    operations = entry.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return []
    own = _OF_TYPE.get((kind, None if kind == "RSA" else curve), ())
    return [each for each in own if each in wanted and entry.get("alg", each) == each]


def _key(entry: dict[str, Any], algorithm: str) -> SigningKey | None:
    try:
        key = _ALGORITHMS[algorithm].from_jwk(entry)
        members = {name: entry[name] for name in _THUMBPRINT[entry["kty"]]}
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("a key of the set is not used: %s", error)
        return None
    if entry["kty"] == "RSA" and not LEAST_RSA_BITS <= key.key_size <= MOST_RSA_BITS:
        log.warning("an RSA key of %d bits is not used", key.key_size)
        return None
    digest = hashlib.sha256(msgspec.json.encode(members, order="sorted")).digest()
    return SigningKey(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), _ALGORITHMS[algorithm], key)


def _with_only_ones(
    found: dict[tuple[str | None, str], SigningKey],
) -> dict[tuple[str | None, str], SigningKey]:
    """A token without a key id means the only key that there is for its algorithm (OpenID Connect Core section 10.1)."""
    by_algorithm: dict[str, list[SigningKey]] = {}
    for (_, algorithm), key in found.items():
        by_algorithm.setdefault(algorithm, []).append(key)
    named = {place: key for place, key in found.items() if place[0] is not None}
    return named | {(None, name): keys[0] for name, keys in by_algorithm.items() if len(keys) == 1}
