"""Detectors: what is planted in kept text does not survive, however it is written and whatever stands around it."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sampling.detect import find, plain
from gateway.sampling.texts import Allowance, TextMask
from gateway.secret import Pseudonyms
from tests.sampling.personal import ANY, KNOWN

PSEUDONYMS = Pseudonyms(b"a secret of a test, long enough to be taken")
MASK = TextMask({}, PSEUDONYMS)

around = st.text(st.characters(codec="utf-8"), max_size=12)
edge = st.sampled_from((" ", ", ", "; ", "\n", ": ", " (", "='", ". ", "\t", "“"))


@pytest.mark.parametrize(
    ("detector", "value"), [(kind, value) for kind, values in KNOWN.items() for value in values]
)
def test_what_people_write_is_found(detector: str, value: str) -> None:
    """Each published example is masked whole; where its detector is not the one that speaks first, another one does."""
    assert MASK.apply(f"see {value}, please").count("[") == 1  # type: ignore[union-attr]
    assert any(each.detector == detector for each in find(plain(value)))


@given(before=around, value=ANY, after=around, left=edge, right=edge)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_planted_data_never_survives(before: str, value: str, after: str, left: str, right: str) -> None:
    """Neither the value as it was written nor its bare characters are in what is kept."""
    masked = MASK.apply(f"{before}{left}{value}{right}{after}")
    assert masked is not None
    assert plain(value) not in masked
    bare = "".join(char for char in plain(value) if char.isalnum())
    assert len(bare) < 4 or bare not in "".join(char for char in masked if char.isalnum())


@given(value=ANY, wide=st.booleans())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_another_spelling_does_not_help(value: str, wide: bool) -> None:
    """Full-width characters, other scripts' digits, invisible characters and unusual spaces hide nothing."""
    if wide:
        disguised = "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in value)
    else:
        disguised = "\u200b".join(value).translate(
            {ord(" "): "\u00a0", ord("-"): "\u2013"} | {48 + n: 0x0660 + n for n in range(10)}
        )
    masked = MASK.apply(f"x {disguised} y")
    assert masked is not None
    assert plain(value) not in masked
    assert masked.startswith("x ")


@pytest.mark.parametrize(
    "text",
    [
        "It is 2026-11-24 10:15:00, and 42 cats sat on 17 mats.",
        "at 52.5200066, 13.404954 or 3.14159265358979",
        "version 1.2.3.4.5 of std::vector, 50 % off, 1,000,000 times",
        "order 12345, invoice AB-2024-001",
        "release 171.555.8877.1, build 2.171.555.8877, 171.555 or 555.8877 and 1.171.555",
        "from 10.0.171.555 pixels, 171 555 8877 rows in three columns, 100.200.300, 1.000.000,50",
        "call 555-8877, extension 12",
        "1 84 12 2A 123 456 98 with a wrong key",
        "@mention and a lone @ sign",
    ],
)
def test_what_is_nobodys_stays(text: str) -> None:
    """Dates, decimals, versions and small numbers are kept as they are, and so are local phone numbers of seven digits, which
    anything may be, and numbers with a wrong key."""
    assert MASK.apply(text) == text


def test_each_detector_is_told_what_to_do() -> None:
    """Kept, hashed (the same digest for the same value, however it is grouped), or the whole text dropped."""
    text = "card 4111 1111 1111 1111 or 4111-1111-1111-1111 of a@b.example"
    hashed = TextMask({"card": "hash", "email": "keep"}, PSEUDONYMS).apply(text)
    digest = PSEUDONYMS.of("4111111111111111")[:16]
    assert hashed == f"card [card:{digest}] or [card:{digest}] of a@b.example"
    assert TextMask({"email": "drop"}, PSEUDONYMS).apply(text) is None


def test_of_findings_that_overlap_the_strictest_action_counts() -> None:
    """Who keeps phones does not thereby keep cards, and a hash does not show what a redaction hides."""
    assert TextMask({"phone": "keep"}, PSEUDONYMS).apply("+4111111111111111") == "+[card]"
    assert TextMask({"national_id": "hash"}, PSEUDONYMS).apply("078051120") == "[national_id]"


@pytest.mark.parametrize(
    "text", ["1 ", "@", "a", "1", "DE89 3704 ", ":", "12 34.56-78 ", "1.2.3.4", "a@", "0:", '"@']
)
def test_hostile_text_takes_bounded_time(text: str) -> None:
    """As much text as a sample may hold is searched in well under what would hold up a worker."""
    began = time.thread_time()
    MASK.apply(text * (Allowance.CHARACTERS // len(text)))
    assert time.thread_time() - began < 3


def test_a_sample_keeps_only_so_much_text() -> None:
    """What goes beyond the allowance is not kept, and so not searched either."""
    allowance = Allowance(MASK)
    half = "x" * (Allowance.CHARACTERS // 2 + 1)
    assert allowance.keep(half) == half
    assert allowance.keep(half) is None
