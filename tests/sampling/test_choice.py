"""Which requests are kept: the same ones everywhere, as many of each arm, with a known probability."""

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.sampling.choice import Choice, place_of
from gateway.snapshot.split import bucket_of
from gateway.types import Alias, Target

SALT = bytes(range(16))


def target(version: int, weight_bp: int) -> Target:
    """A target of model m."""
    return Target("m", version, weight_bp, "stable" if version == 1 else "candidate", "pool", b"", b"")


def alias(*weights_bp: int) -> Alias:
    """An alias with versions 1, 2, … of these weights."""
    targets = tuple(target(number, weight_bp) for number, weight_bp in enumerate(weights_bp, 1))
    return Alias("a", "t", b"", True, targets, (), (), {}, {})


def ids(seed: int, count: int) -> list[str]:
    """Request ids as the gateway makes them."""
    source = random.Random(seed)
    return [source.randbytes(16).hex() for _ in range(count)]


def test_anyone_with_the_salt_can_tell() -> None:
    """The choice is 8 bytes of keyed BLAKE2b of the request id against the probability, as the guide says."""
    import hashlib

    found = alias(10_000)
    choice = Choice(found, SALT, 0.25)
    for request_id in ids(1, 200):
        place = int.from_bytes(hashlib.blake2b(request_id.encode(), key=SALT, digest_size=8).digest(), "big")
        assert (choice.chosen(found.targets[0], request_id) is not None) == (place / 2**64 < 0.25)


def test_a_canary_of_one_percent_gives_as_many_samples_as_the_rest() -> None:
    """At a rate of 1 %, version 2 with 1 % of the traffic is sampled at 99 %: both counts lie within their binomial bounds
    of one another, and each arm's weighted count estimates its traffic.
    """
    found = alias(9_900, 100)
    choice = Choice(found, SALT, 0.01)
    source = random.Random(7)
    calls = {1: 0, 2: 0}
    samples = {1: 0, 2: 0}
    estimates = {1: 0.0, 2: 0.0}
    for request_id in ids(2, 200_000):
        version = 2 if source.random() < 0.01 else 1
        calls[version] += 1
        inclusion = choice.chosen(found.targets[version - 1], request_id)
        if inclusion is not None:
            samples[version] += 1
            estimates[version] += 1 / inclusion
    # Five standard deviations of a binomial count of about 1 980.
    assert abs(samples[1] - samples[2]) < 5 * math.sqrt(2 * 1_980)
    assert choice.inclusion(found.targets[1]) == 0.99
    assert abs(estimates[1] - calls[1]) < 5 * 100 * math.sqrt(1_980)
    assert abs(estimates[2] - calls[2]) < 5 * math.sqrt(0.99 * 0.01 * 2_000) / 0.99


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=5).filter(any), st.floats(0.0001, 1))
def test_arms_are_expected_to_give_equally_many_up_to_all_they_have(weights: list[int], rate: float) -> None:
    """Inclusion times weight is the same for every arm with a weight that is not sampled whole, and for none more."""
    found = alias(*weights)
    choice = Choice(found, SALT, rate)
    goal = rate * max(weights)
    for each in found.targets:
        inclusion = choice.inclusion(each)
        assert 0 < inclusion <= 1
        if each.weight_bp == 0:
            assert inclusion == rate
        elif inclusion < 1:
            assert math.isclose(inclusion * each.weight_bp, goal)
        else:
            assert each.weight_bp <= goal or math.isclose(each.weight_bp, goal)


def test_a_higher_rate_keeps_what_a_lower_one_keeps() -> None:
    """So that samples of before and after a change of the rate can be compared."""
    found = alias(10_000)
    few, many = Choice(found, SALT, 0.05), Choice(found, SALT, 0.2)
    for request_id in ids(3, 5_000):
        if few.chosen(found.targets[0], request_id):
            assert many.chosen(found.targets[0], request_id)


def test_the_choice_knows_nothing_of_the_arm() -> None:
    """Of an alias that is not sticky the request id chooses the arm too: the two draws are independent (chi-square,
    one degree of freedom, at one in a million), since each has a salt of its own.
    """
    split_salt = bytes(range(16, 32))
    counts = {(arm, kept): 0 for arm in (True, False) for kept in (True, False)}
    for request_id in ids(4, 40_000):
        arm = bucket_of(split_salt, request_id.encode()) < 5_000
        counts[arm, place_of(SALT, request_id) < 2**62] += 1
    total = sum(counts.values())
    chi_square = 0.0
    for arm in (True, False):
        for kept in (True, False):
            row = counts[arm, True] + counts[arm, False]
            column = counts[True, kept] + counts[False, kept]
            expected = row * column / total
            chi_square += (counts[arm, kept] - expected) ** 2 / expected
    assert chi_square < 24
