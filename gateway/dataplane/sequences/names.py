"""What a sequence is called where it is kept, and what it is called upstream."""

import hashlib

import msgspec

from gateway.dataplane.sequences.asked import Asked

_encode = msgspec.msgpack.Encoder().encode


class Name(msgspec.Struct, frozen=True):
    """`tenant` (8 bytes) stands for the principal, `key` (16 bytes) for the sequence. `upstream_id` is what its server is told.

    A number from 1 to 2**63 - 1, which every model takes, over both protocols. Triton is never told a caller's own text: it keeps
    only the beginning of one for a model that wants a number, and 2.51 writes beyond its memory where one is long.
    """

    tenant: bytes
    key: bytes
    upstream_id: int


def name_of(secret: bytes, principal: str, alias: str, version: int | None, asked: Asked) -> Name:
    """The name of a principal's sequence: the same on every worker and host, and after a restart.

    A keyed digest (BLAKE2b, RFC 7693), so that nobody without the secret can look for an id that meets another tenant's. Of n
    sequences that are open at once any two meet with probability n**2 / 2**64. `version` is the one that the caller named, since the
    same id is another sequence in another version.
    """
    spelled = _encode((principal, alias, version or 0, asked.id))
    key = hashlib.blake2b(spelled, key=secret, digest_size=16).digest()
    tenant = hashlib.blake2b(principal.encode(), key=secret, digest_size=8).digest()
    return Name(tenant, key, int.from_bytes(key[:8]) >> 1 or 1)
