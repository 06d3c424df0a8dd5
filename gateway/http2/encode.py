"""Header blocks, written (RFC 7541) without a memory: what stands in the static table by its number, all else as literals that
are not indexed. So a block, or a part of one, can be written once and sent on any connection.
"""

from collections.abc import Iterable


def encoded(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The block of these fields; names are in lower case already. Blocks may be joined."""
    raise NotImplementedError
