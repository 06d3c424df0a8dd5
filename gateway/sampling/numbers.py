"""Numbers in text that may name a person: phones, cards and national numbers, however their digits are grouped.

Text is cut into runs of digits with short gaps between them; each stretch of up to eight groups of a run is looked at.
"""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec

from gateway.sampling import checksums
from gateway.sampling.finding import Finding
from gateway.snapshot.document import Detector

_RUN = re.compile(r"(?:\+ ?)?\(?[0-9](?:[ \t\r\n.\-/_()]{0,3}[0-9])*")
_DIGITS = re.compile(r"[0-9]+")
_MOST_GROUPS = 8
_LEAST_DIGITS, _MOST_DIGITS = 7, 19

Grouping = tuple[int, ...]


class _Number(msgspec.Struct, frozen=True):
    """How a kind of number is written (its groups of digits; None: any way) and checked."""

    detector: Detector
    digits: range
    holds: Callable[[str], bool]
    groupings: frozenset[Grouping] | None = None


def _north_american(digits: str) -> bool:
    """Numbering plan of North America (NANPA): area and exchange begin with 2 to 9."""
    ten = digits[1:] if len(digits) == 11 else digits
    return (len(digits) == 10 or digits[0] == "1") and ten[0] > "1" and ten[3] > "1"


def _written_as_american(gaps: list[str], first: int, last: int) -> bool:
    """Whether groups of 3, 3 and 4 digits, whatever they are, stand as Americans write phones: with dots or dashes between
    them, and none of those before or behind, where a version or an order number would go on.
    """
    around = {gaps[number] for number in (first - 1, last) if 0 <= number < len(gaps)}
    return gaps[first] == gaps[first + 1] and gaps[first] in (".", "-") and gaps[first] not in around


def _national(digits: str) -> bool:
    """A national number with its trunk prefix 0, or an international one behind 00 (ITU-T E.123)."""
    return digits[0] == "0"


def _nine_digits(digits: str) -> bool:
    """Countries without a trunk prefix whose numbers have nine digits, the first from 5 on."""
    return digits[0] >= "5"


_NUMBERS = (
    _Number("card", range(12, 20), checksums.card),
    _Number("national_id", range(9, 10), checksums.ssn, frozenset({(9,), (3, 2, 4)})),
    _Number("national_id", range(9, 10), checksums.luhn, frozenset({(9,), (3, 3, 3)})),
    _Number("national_id", range(9, 10), checksums.dutch_bsn),
    _Number("national_id", range(11, 12), checksums.german_tax_id),
    _Number("national_id", range(11, 12), checksums.brazilian_cpf),
    _Number("national_id", range(11, 12), checksums.polish_pesel, frozenset({(11,)})),
    _Number("national_id", range(11, 12), checksums.belgian_number),
    _Number("national_id", range(12, 13), checksums.verhoeff, frozenset({(12,), (4, 4, 4)})),
    _Number("national_id", range(10, 11), checksums.swedish_number, frozenset({(10,), (6, 4)})),
    _Number("national_id", range(12, 13), checksums.swedish_number, frozenset({(12,), (8, 4)})),
    _Number("national_id", range(13, 14), checksums.swiss_ahv),
    _Number("national_id", range(15, 16), checksums.french_nir),
    _Number("phone", range(9, 18), _national),
    _Number(
        "phone", range(10, 12), _north_american,
        frozenset({(3, 3, 4), (1, 3, 3, 4), (10,), (11,), (1, 10), (3, 7), (6, 4), (1, 3, 7)}),
    ),
    _Number("phone", range(9, 10), _nine_digits, frozenset({(9,), (3, 3, 3), (3, 2, 2, 2), (1, 2, 2, 2, 2)})),
)  # fmt: skip

_BY_DIGITS = {
    count: tuple(number for number in _NUMBERS if count in number.digits)
    for count in range(_LEAST_DIGITS, _MOST_DIGITS + 1)
}


def find_numbers(text: str) -> Iterator[Finding]:
    """Every stretch of digits that may be such a number; stretches may overlap. ASCII digits only."""
    for run in _RUN.finditer(text):
        if run.end() - run.start() >= _LEAST_DIGITS:
            yield from _in_run(text, run)


def _in_run(text: str, run: re.Match[str]) -> Iterator[Finding]:
    groups = [match.span() for match in _DIGITS.finditer(text, run.start(), run.end())]
    international = text[run.start()] == "+"
    if not international and len(groups) == 2 and text[groups[0][1] : groups[1][0]] == ".":
        # One number with a decimal point, as in 52.5200066.
        return
    gaps = [text[one[1] : other[0]] for one, other in pairwise(groups)]
    for first, (start, _) in enumerate(groups):
        digits = ""
        grouping: Grouping = ()
        for last in range(first, min(first + _MOST_GROUPS, len(groups))):
            digits += text[slice(*groups[last])]
            grouping += (groups[last][1] - groups[last][0],)
            if len(digits) > _MOST_DIGITS:
                break
            if len(digits) < _LEAST_DIGITS:
                continue
            end = groups[last][1]
            # E.164: a plus, and at most 15 digits behind it.
            if international and first == 0 and len(digits) <= 15:
                yield Finding(run.start(), end, "phone")
            if grouping == (3, 3, 4) and _written_as_american(gaps, first, last):
                yield Finding(start, end, "phone")
            for number in _BY_DIGITS[len(digits)]:
                if (number.groupings is None or grouping in number.groupings) and number.holds(digits):
                    yield Finding(start, end, number.detector)
