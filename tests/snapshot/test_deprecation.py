"""What callers are told of the end of something, and announcements that cannot be meant."""

import pytest

from gateway.snapshot.deprecation import compile_deprecation, deprecation_problems
from gateway.snapshot.document import DeprecationEntry

START = 1_688_169_599.0
SUNSET = 1_719_791_999.0


def test_the_fields_are_those_of_the_standards() -> None:
    """The very examples of RFC 9745 and RFC 8594's successor forms."""
    entry = DeprecationEntry(START, SUNSET, "digits", "https://example.com/why")
    assert dict(compile_deprecation(entry).fields) == {
        b"Deprecation": b"@1688169599",
        b"Sunset": b"Sun, 30 Jun 2024 23:59:59 GMT",
        b"Link": b'<https://example.com/why>; rel="deprecation"; type="text/html", '
        b'<https://example.com/why>; rel="sunset"; type="text/html", '
        b'</v2/models/digits>; rel="successor-version"',
    }


def test_an_announcement_may_say_little() -> None:
    """Deprecated, and nothing more is known."""
    assert compile_deprecation(DeprecationEntry(START)).fields == ((b"Deprecation", b"@1688169599"),)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (DeprecationEntry(START, START - 1), "sunset lies before"),
        (DeprecationEntry(float("nan")), "lies outside"),
        (DeprecationEntry(START, 1e30), "lies outside"),
        (DeprecationEntry(START, after_sunset="gone"), "does not have"),
        (DeprecationEntry(START, successor="a b"), "no name"),
        (DeprecationEntry(START, info_url="https://x/>; rel=evil"), "no http"),
        (DeprecationEntry(START, info_url="javascript:alert(1)"), "no http"),
        (DeprecationEntry(START, info_url="https://x/\r\nX: y"), "no http"),
        (DeprecationEntry(START, SUNSET, brownouts=((START + 9, START + 5),)), "ends before it begins"),
        (DeprecationEntry(START, SUNSET, brownouts=((START, START + 5), (START + 4, START + 9))), "overlap"),
        (DeprecationEntry(START, SUNSET, brownouts=((START - 9, START),)), "before the deprecation"),
        (DeprecationEntry(START, SUNSET, brownouts=((SUNSET - 1, SUNSET + 1),)), "after the sunset"),
    ],
)
def test_what_cannot_be_meant_is_refused(entry: DeprecationEntry, says: str) -> None:
    """Each fault in words."""
    problems = deprecation_problems("alias a", entry)
    assert any(says in problem for problem in problems), problems
