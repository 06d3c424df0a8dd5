"""Which requests are kept: a keyed hash of the request id decides, so that every worker and replica, a shadow and whoever
brings feedback agree, and anyone who knows the alias's salt can tell afterwards.
"""

import hashlib

from gateway.snapshot.sampling import inclusions
from gateway.types import Alias, Target

_WHOLE = 2**64
_DIGEST_BYTES = 8


def place_of(salt: bytes, request_id: str) -> int:
    """Where a request id stands in [0, 2^64): 8 bytes of BLAKE2b (RFC 7693), big-endian, keyed with the salt.

    The salt is not the one of the alias's split. With the same, the requests of an alias that is not sticky would be
    chosen by what chose their arm.
    """
    keyed = _keyed(salt)
    keyed.update(request_id.encode())
    return int.from_bytes(keyed.digest())


class Choice:
    """How the requests of one alias are chosen: each target with a probability of its own. One that is no target of the
    alias, and is only reached by its number, is sampled at the rate.
    """

    def __init__(self, alias: Alias, salt: bytes, rate: float) -> None:
        self._keyed = _keyed(salt)
        self._rate = (rate, _bound(rate))
        found = inclusions(rate, [target.weight_bp for target in alias.targets])
        self._arms = {
            (target.model, target.version): (inclusion, _bound(inclusion))
            for target, inclusion in zip(alias.targets, found, strict=True)
        }

    def inclusion(self, target: Target) -> float:
        """The probability with which a request to the target is chosen."""
        return self._arms.get((target.model, target.version), self._rate)[0]

    def chosen(self, target: Target, request_id: str) -> float | None:
        """The probability with which this request was chosen, if it is; else None."""
        # `place_of`, written out: every request of a sampled alias comes here.
        digest = self._keyed.copy()
        digest.update(request_id.encode())
        inclusion, bound = self._arms.get((target.model, target.version), self._rate)
        return inclusion if digest.digest() < bound else None


def _keyed(salt: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(key=salt, digest_size=_DIGEST_BYTES)


def _bound(inclusion: float) -> bytes:
    """The first digest that is not chosen; bytes compare as the numbers that they are. Nine of them lie beyond all."""
    place = int(inclusion * _WHOLE)
    return place.to_bytes(_DIGEST_BYTES) if place < _WHOLE else b"\xff" * (_DIGEST_BYTES + 1)
