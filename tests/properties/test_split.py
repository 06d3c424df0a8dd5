"""Splits hold: weights, stickiness, and what moves when weights change."""

import math
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.snapshot.document import Slice, TargetEntry
from gateway.snapshot.split import bucket_of, fresh_slices, moved_slices, same_release
from gateway.types import WHOLE_BP


def owners(slices: tuple[Slice, ...], targets: list[TargetEntry]) -> list[tuple[str, int]]:
    """The target of each bucket, by name; fails where slices leave a gap, overlap or are empty."""
    found: list[tuple[str, int]] = []
    for piece in slices:
        assert piece.start == len(found)
        assert piece.end > piece.start
        target = targets[piece.target]
        found += [(target.model, target.version)] * (piece.end - piece.start)
    assert len(found) == WHOLE_BP
    return found


@st.composite
def weighted(draw: st.DrawFn, versions: list[int]) -> list[TargetEntry]:
    """Targets with these versions, the first one stable, whose weights are the whole."""
    cuts = sorted(
        draw(st.lists(st.integers(0, WHOLE_BP), min_size=len(versions) - 1, max_size=len(versions) - 1))
    )
    edges = [0, *cuts, WHOLE_BP]
    return [
        TargetEntry("m", version, end - start)
        for version, start, end in zip(versions, edges, edges[1:], strict=False)
    ]


@st.composite
def histories(draw: st.DrawFn) -> list[list[TargetEntry]]:
    """A release and changes of it: other weights, candidates that are dropped."""
    versions = list(range(1, draw(st.integers(1, 6)) + 1))
    steps = [draw(weighted(versions))]
    for _ in range(draw(st.integers(1, 4))):
        kept = [versions[0], *(version for version in versions[1:] if draw(st.booleans()))]
        versions = kept
        steps.append(draw(weighted(versions)))
    return steps


@given(st.integers(1, 8).flatmap(lambda count: weighted(list(range(1, count + 1)))))
def test_slices_always_equal_the_weights(targets: list[TargetEntry]) -> None:
    """Each target owns exactly as many buckets as its weight says, candidates from bucket 0 on."""
    found = owners(fresh_slices(targets), targets)
    for target in targets:
        assert found.count((target.model, target.version)) == target.weight_bp
    if len(targets) == 2:
        assert found[: targets[1].weight_bp] == [("m", 2)] * targets[1].weight_bp


@settings(max_examples=60, deadline=None)
@given(histories())
def test_changes_of_weight_move_as_little_as_they_can(steps: list[list[TargetEntry]]) -> None:
    """Over a whole release: slices equal weights, who does not shrink loses no bucket, and no bucket moves needlessly."""
    slices = fresh_slices(steps[0])
    for old, new in pairwise(steps):
        assert same_release(old, new)
        before = owners(slices, old)
        slices = moved_slices(old, slices, new)
        after = owners(slices, new)
        had = {(target.model, target.version): target.weight_bp for target in old}
        for target in new:
            name = (target.model, target.version)
            assert after.count(name) == target.weight_bp
            if target.weight_bp >= had[name]:
                assert all(then == name for now, then in zip(before, after, strict=True) if now == name)
        grown = sum(max(0, target.weight_bp - had[(target.model, target.version)]) for target in new)
        assert sum(now != then for now, then in zip(before, after, strict=True)) == grown


@settings(max_examples=100)
@given(histories())
def test_a_new_candidate_or_another_stable_target_is_a_new_release(steps: list[list[TargetEntry]]) -> None:
    """Only then may keys move freely."""
    targets = steps[0]
    assert not same_release(targets, [*targets, TargetEntry("m", 99, 0)])
    assert not same_release(targets, [TargetEntry("m", 99, 0), *targets[1:]])
    assert not same_release([], targets)


def test_a_hundred_thousand_keys_fall_by_weight() -> None:
    """Pearson's chi-square over a 3-way split, at a level that a fair split misses once in a million runs."""
    targets = [TargetEntry("m", 1, 6_000), TargetEntry("m", 2, 3_000), TargetEntry("m", 3, 1_000)]
    found = owners(fresh_slices(targets), targets)
    counts = dict.fromkeys(((target.model, target.version) for target in targets), 0)
    salt, total = bytes(range(16)), 100_000
    for number in range(total):
        counts[found[bucket_of(salt, b"user-%d" % number)]] += 1
    statistic = sum(
        (counts[(target.model, target.version)] - (expected := total * target.weight_bp / WHOLE_BP)) ** 2
        / expected
        for target in targets
    )
    # With 2 degrees of freedom the tail of chi-square is exp(-x / 2).
    assert math.exp(-statistic / 2) > 1e-6


def test_buckets_are_even_and_salts_independent() -> None:
    """No bucket is favoured, and a new release's salt deals the keys anew."""
    counts = [0] * 100
    moved = 0
    for number in range(100_000):
        key = b"k%d" % number
        bucket = bucket_of(b"a" * 16, key)
        counts[bucket // 100] += 1
        moved += (bucket < 5_000) != (bucket_of(b"b" * 16, key) < 5_000)
    assert max(abs(count - 1_000) for count in counts) < 200
    assert 48_500 < moved < 51_500


@given(st.binary(max_size=200), st.binary(min_size=16, max_size=16))
def test_a_bucket_depends_on_salt_and_key_alone(key: bytes, salt: bytes) -> None:
    """The same key is in the same bucket, now and on every replica."""
    assert bucket_of(salt, key) == bucket_of(salt, key)
    assert 0 <= bucket_of(salt, key) < WHOLE_BP


def test_a_known_bucket() -> None:
    """Written down, so that a change of the hash, which would move every caller, cannot go unnoticed."""
    assert bucket_of(bytes(range(16)), b"app:caller") == 1470
