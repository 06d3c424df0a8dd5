"""Which bucket a caller falls into, and which target owns a bucket.

A bucket is a keyed hash of the routing key, so every transport and replica agrees without shared state. The
candidate owns the buckets from 0 on; when weights change within a release, a target that grows keeps all that it
had, so nobody who was on it moves away.
"""

import hashlib
from collections.abc import Sequence

from gateway.snapshot.document import Slice, TargetEntry
from gateway.types import WHOLE_BP


def bucket_of(salt: bytes, routing_key: bytes) -> int:
    """The bucket, 0 to 9999: 8 bytes of BLAKE2b (RFC 7693) keyed with the release's salt, modulo 10 000."""
    return int.from_bytes(hashlib.blake2b(routing_key, key=salt, digest_size=8).digest()) % WHOLE_BP


def fresh_slices(targets: Sequence[TargetEntry]) -> tuple[Slice, ...]:
    """The slices of a new release: candidates in their order from bucket 0 on, the stable target behind them."""
    slices: list[Slice] = []
    start = 0
    for index in [*range(1, len(targets)), 0]:
        end = start + targets[index].weight_bp
        if end > start:
            slices.append(Slice(start, end, index))
        start = end
    return tuple(slices)


def same_release(old: Sequence[TargetEntry], new: Sequence[TargetEntry]) -> bool:
    """Whether `new` only moves weights of `old`, or drops candidates: same stable target, no new candidate."""
    if not old or not new:
        return False
    known = {(target.model, target.version) for target in old[1:]}
    return (old[0].model, old[0].version) == (new[0].model, new[0].version) and all(
        (target.model, target.version) in known for target in new[1:]
    )


def moved_slices(
    old: Sequence[TargetEntry], slices: Sequence[Slice], new: Sequence[TargetEntry]
) -> tuple[Slice, ...]:
    """The slices after a change of weights within a release, moving as few buckets as the weights allow.

    A target that shrinks gives up its highest buckets, the stable one its lowest; what is given up goes to the
    candidates that grow, lowest buckets first, and the rest to the stable target.
    """
    number = {(target.model, target.version): index for index, target in enumerate(new)}
    owner: list[int | None] = [None] * WHOLE_BP
    for piece in slices:
        target = old[piece.target]
        index = number.get((target.model, target.version))
        owner[piece.start : piece.end] = [index] * (piece.end - piece.start)
    for index, target in enumerate(new):
        held = [bucket for bucket in range(WHOLE_BP) if owner[bucket] == index]
        surplus = len(held) - target.weight_bp
        if surplus > 0:
            for bucket in held[:surplus] if index == 0 else held[-surplus:]:
                owner[bucket] = None
    free = iter([bucket for bucket in range(WHOLE_BP) if owner[bucket] is None])
    for index in [*range(1, len(new)), 0]:
        for _ in range(new[index].weight_bp - owner.count(index)):
            owner[next(free)] = index
    return _runs(owner)


def _runs(owner: Sequence[int | None]) -> tuple[Slice, ...]:
    slices: list[Slice] = []
    start = 0
    for bucket in range(1, len(owner) + 1):
        if bucket == len(owner) or owner[bucket] != owner[start]:
            index = owner[start]
            assert index is not None
            slices.append(Slice(start, bucket, index))
            start = bucket
    return tuple(slices)
