"""Who calls by a token: verified once, remembered until it expires. Synchronous look-ups and arithmetic, no I/O.

The checks run from what a sender can know to what it cannot: form, issuer, key, signature, and only then what the
claims say. So nobody learns anything about a token that a trusted issuer did not sign for them.
"""

import hashlib
import time
from collections.abc import Callable, Mapping

from gateway.issuers import Issuer
from gateway.observe import metrics
from gateway.tokens.claims import principal_of
from gateway.tokens.form import MOST_BYTES, Refused, read_token
from gateway.tokens.keys import NO_KEYS, KeySet
from gateway.types import Principal

MOST_REMEMBERED = 16_384
"""Some 6 MiB. A full memory is emptied: what is used often is back at once."""


class Tokens:
    """The tokens of the declared issuers. `replace` gives an issuer its keys, from the thread that verifies.

    `key_ids` are those of all keys that verify now. `key_wanted` is told the issuer of a token whose key is unknown: it may
    have been published since.
    """

    def __init__(self, issuers: Mapping[str, Issuer]) -> None:
        self.issuers = dict(issuers)
        self.key_ids: frozenset[str] = frozenset()
        self.key_wanted: Callable[[str], None] = lambda _: None
        self._names = {issuer.issuer: name for name, issuer in issuers.items()}
        self._keys: dict[str, KeySet] = dict.fromkeys(issuers, NO_KEYS)
        self._remembered: dict[bytes, Principal] = {}

    def principal(self, text: bytes) -> Principal | None:
        """The principal of a token, or None when it is not accepted, whatever the reason; the reason is counted."""
        now = time.time()
        try:
            if len(text) > MOST_BYTES:
                raise Refused("malformed")
            # No key: what is looked up by it is in this process's memory alone, and SHA-256 is the fastest here.
            digest = hashlib.sha256(text).digest()
            known = self._remembered.get(digest)
            if known is None:
                known = self.verify(text, now)
                self._remember(digest, known)
                metrics.TOKENS_VERIFIED.labels(known.issuer).inc()
            elif (known.expires_at or 0.0) <= now:
                del self._remembered[digest]
                raise Refused("expired", known.issuer)
        except Refused as refused:
            metrics.TOKENS_REFUSED.labels(refused.issuer, refused.reason).inc()
            return None
        return known

    def verify(self, text: bytes, now: float) -> Principal:
        """The principal of a token at `now` (Unix seconds). Raises `Refused`."""
        token = read_token(text)
        url = token.claims.get("iss")
        name = self._names.get(url) if isinstance(url, str) else None
        if name is None:
            raise Refused("issuer")
        issuer = self.issuers[name]
        if token.algorithm not in issuer.algorithms:
            raise Refused("algorithm", name)
        key = self._keys[name].keys.get((token.kid, token.algorithm))
        if key is None:
            self.key_wanted(name)
            raise Refused("key", name)
        if not key.signed(token.signed, token.signature):
            raise Refused("signature", name)
        return principal_of(name, issuer, key.id, token.claims, now)

    def replace(self, name: str, keys: KeySet) -> None:
        """From now on the issuer's tokens are those that these keys signed; what others signed is forgotten."""
        self._keys[name] = keys
        key_ids = frozenset(f"{each}/{key}" for each, found in self._keys.items() for key in found.ids)
        gone = self.key_ids - key_ids
        self.key_ids = key_ids
        if gone:
            self._remembered = {
                digest: principal
                for digest, principal in self._remembered.items()
                if principal.key_id not in gone
            }

    def _remember(self, digest: bytes, principal: Principal) -> None:
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = principal
