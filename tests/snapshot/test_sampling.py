"""What forbids the sampling of an alias."""

import pytest

from gateway.snapshot.document import MaskRule, SamplingEntry
from gateway.snapshot.sampling import MOST_RULES, sampling_problems

SALT = "00" * 16


def problems(*rules: MaskRule, rate_bp: int = 100, salt: str = SALT) -> list[str]:
    """What is said of an alias `a` that is sampled like this."""
    return sampling_problems("alias a", SamplingEntry(rate_bp, salt, rules))


def test_what_makes_sense_is_taken() -> None:
    """Rules on tensors, paths and detectors; one for requests beside one for both parts."""
    assert not problems(
        MaskRule("keep", tensor="text"),
        MaskRule("drop", tensor="text", part="reply"),
        MaskRule("redact", tensor="*"),
        MaskRule("hash", tensor="old", optional=True),
        MaskRule("keep", path="$.parameters.lang"),
        MaskRule("hash", detector="email"),
    )


@pytest.mark.parametrize("rate_bp", [-1, 0, 10_001])
def test_a_rate_is_between_one_basis_point_and_all(rate_bp: int) -> None:
    """An alias that is not to be sampled has no rules at all."""
    assert "between 1 and 10000" in problems(rate_bp=rate_bp)[0]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (MaskRule("keep"), "exactly one of"),
        (MaskRule("keep", tensor="a", path="$.a"), "exactly one of"),
        (MaskRule("keep", tensor=""), "can be none"),
        (MaskRule("keep", tensor="a\n"), "can be none"),
        (MaskRule("keep", path="a.b"), "begin with $"),
        (MaskRule("keep", path="$.a", optional=True), "optional"),
        (MaskRule("keep", tensor="*", optional=True), "optional"),
        (MaskRule("keep", detector="ip", part="reply"), "detectors look at all kept text"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule: MaskRule, says: str) -> None:
    """Each fault names the rule by its number and says what is wrong."""
    found = problems(MaskRule("keep", tensor="fine"), rule)
    assert len(found) == 1
    assert found[0].startswith("alias a: mask rule 2 ")
    assert says in found[0]


def test_rules_that_contradict_are_refused() -> None:
    """One thing has one rule."""
    found = problems(MaskRule("keep", tensor="a"), MaskRule("drop", tensor="a"))
    assert found == ["alias a: 2 mask rules say what is done to 'a'; one may"]


def test_the_number_of_rules_is_bounded() -> None:
    """A snapshot stays small."""
    assert len(problems(*(MaskRule("keep", tensor=str(number)) for number in range(MOST_RULES + 1)))) == 1


def test_a_salt_is_sixteen_bytes() -> None:
    """Without it nobody could tell which requests are chosen."""
    assert "salt" in problems(salt="00")[0]
