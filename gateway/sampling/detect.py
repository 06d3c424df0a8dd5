"""Personal data in text: e-mail and IP addresses, phone, card and account numbers, national numbers.

A detector looks at the form and, where there is one, the check digit. It cannot know a name or an address: text that may
hold those is not kept at all unless a rule says so. What is found by mistake is masked all the same.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator

from gateway.sampling import checksums
from gateway.sampling.finding import Finding
from gateway.sampling.numbers import find_numbers

_AT = re.compile(r"@|%40")
_DIGIT = re.compile(r"[0-9]")
_LONGEST_LOCAL_PART = 64 + 2
_LONGEST_DOMAIN = 255
# Both sides of the at sign are whatever is no space and no punctuation that encloses an address (RFC 5322, RFC 6531).
_LOCAL_REVERSED = re.compile(r'"[^"\r\n]+"|[^\s@"<>()\[\]{},;:]+')
_DOMAIN = re.compile(r'\[[^\]\s]+\]|[^\s@"<>()\[\]{},;:/?#&]+')

_IPV4 = re.compile(r"(?<![0-9])(?<![0-9]\.)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9])(?!\.[0-9])")
_MAYBE_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")

# Looked ahead for, so that one which is none does not hide another that begins within it.
_MAYBE_IBAN = re.compile(r"(?<![A-Za-z0-9])(?=([A-Za-z]{2}[0-9]{2}(?:[ \-]?[A-Za-z0-9]){11,30}))")
_IBAN_LENGTHS = {
    entry[:2]: int(entry[2:])
    for entry in [
        "AD24",
        "AE23",
        "AL28",
        "AT20",
        "AZ28",
        "BA20",
        "BE16",
        "BG22",
        "BH22",
        "BI27",
        "BR29",
        "BY28",
        "CH21",
        "CR22",
        "CY28",
        "CZ24",
        "DE22",
        "DJ27",
        "DK18",
        "DO28",
        "EE20",
        "EG29",
        "ES24",
        "FI18",
        "FK18",
        "FO18",
        "FR27",
        "GB22",
        "GE22",
        "GI23",
        "GL18",
        "GR27",
        "GT28",
        "HN28",
        "HR21",
        "HU28",
        "IE22",
        "IL23",
        "IQ23",
        "IS26",
        "IT27",
        "JO30",
        "KW30",
        "KZ20",
        "LB28",
        "LC32",
        "LI21",
        "LT20",
        "LU20",
        "LV21",
        "LY25",
        "MC27",
        "MD24",
        "ME22",
        "MK19",
        "MN20",
        "MR27",
        "MT31",
        "MU30",
        "NI28",
        "NL18",
        "NO15",
        "OM23",
        "PK24",
        "PL28",
        "PS29",
        "PT25",
        "QA29",
        "RO24",
        "RS22",
        "RU33",
        "SA24",
        "SC31",
        "SD18",
        "SE24",
        "SI19",
        "SK24",
        "SM27",
        "SO23",
        "ST25",
        "SV28",
        "TL23",
        "TN24",
        "TR26",
        "UA29",
        "VA22",
        "VG24",
        "XK20",
        "YE30",
    ]
}
"""Characters of an IBAN by country: the registry of ISO 13616 (SWIFT, IBAN registry)."""

# National numbers with letters in them. NINO: HMRC's National Insurance Manual NIM39110, which names the prefixes.
_LETTERED: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
            r"(?:[ \-]?[0-9]{2}){3}[ \-]?[A-D](?![A-Za-z0-9])",
            re.IGNORECASE,
        ),
        lambda _: True,
    ),
    (
        re.compile(r"(?<![A-Za-z0-9])(?:[XYZ][ \-]?[0-9]{7}|[0-9]{2}\.?[0-9]{3}\.?[0-9]{3})[ \-]?[A-Z](?![A-Za-z0-9])", re.IGNORECASE),
        checksums.spanish_id,
    ),
    (
        re.compile(
            r"(?<![A-Za-z0-9])[A-Z]{3} ?[A-Z]{3} ?[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2} ?[A-Z][0-9LMNP-V]{3}[A-Z]"
            r"(?![A-Za-z0-9])",
            re.IGNORECASE,
        ),
        checksums.italian_code,
    ),
    (
        # Corsica's departments have letters, and the key may stand apart or behind its name, as on the card: `clé 38`.
        re.compile(
            r"(?<![A-Za-z0-9])[1-478](?:[ .\-/]{0,3}[0-9]{2}){2}[ .\-/]{0,3}(?:2[AB]|[0-9]{2})(?:[ .\-/]{0,3}[0-9]{3}){2}"
            r"[ .\-/]{0,3}(?:CL[EÉ][: ]{0,3})?[0-9]{2}(?![A-Za-z0-9])",
            re.IGNORECASE,
        ),
        lambda text: checksums.french_nir(text[:13] + text[-2:]),
    ),
)  # fmt: skip
_NOT_ALPHANUMERIC = re.compile(r"[^A-Za-z0-9]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")


def plain(text: str) -> str:
    """The text as it is looked at, and kept: compatibility forms folded (NFKC), invisible characters gone, digits, dashes
    and spaces of any script in ASCII. Otherwise a number in full-width digits would pass every detector.
    """
    if not text.isascii():
        text = "".join(map(_plain_character, unicodedata.normalize("NFKC", text)))
    return text if text.isprintable() else _CONTROL.sub("", text)


def _plain_character(char: str) -> str:
    if char.isascii():
        return char
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category in ("Cf", "Cs") or (category in ("Mn", "Me") and not unicodedata.combining(char)):
        return ""
    return "-" if category == "Pd" else " " if category in ("Zs", "Zl", "Zp") else char


def find(text: str) -> Iterator[Finding]:
    """Everything found in a `plain` text, in no order; stretches may overlap."""
    if "@" in text or "%40" in text:
        yield from _emails(text)
    if _DIGIT.search(text):
        yield from _ipv4(text)
        yield from _ibans(text)
        yield from _lettered(text)
        yield from find_numbers(text)
    if ":" in text:
        yield from _ipv6(text)


def _emails(text: str) -> Iterator[Finding]:
    for at in _AT.finditer(text):
        before = text[max(0, at.start() - _LONGEST_LOCAL_PART) : at.start()][::-1]
        local = _LOCAL_REVERSED.match(before)
        domain = _DOMAIN.match(text, at.end(), at.end() + _LONGEST_DOMAIN)
        if local and domain:
            yield Finding(at.start() - local.end(), domain.end(), "email")


def _ipv4(text: str) -> Iterator[Finding]:
    for match in _IPV4.finditer(text):
        if all(int(part) <= 255 for part in match[0].split(".")):
            yield Finding(*match.span(), "ip")


def _ibans(text: str) -> Iterator[Finding]:
    """What follows an IBAN may look like more of it; its country says how long it is."""
    for match in _MAYBE_IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match[1][:2].upper(), 0)
        places = [place for place, char in enumerate(match[1]) if char.isalnum()][:length]
        if len(places) == length and checksums.iban("".join(match[1][place] for place in places).upper()):
            yield Finding(match.start(), match.start() + places[-1] + 1, "iban")


def _lettered(text: str) -> Iterator[Finding]:
    for pattern, holds in _LETTERED:
        for match in pattern.finditer(text):
            if holds(_NOT_ALPHANUMERIC.sub("", match[0]).upper()):
                yield Finding(*match.span(), "national_id")


def _ipv6(text: str) -> Iterator[Finding]:
    for match in _MAYBE_IPV6.finditer(text):
        if match[0].count(":") < 2:
            continue
        for start, end in _without_edges(match):
            if _is_ipv6(text[start:end]):
                yield Finding(start, end, "ip")
                break


def _without_edges(match: re.Match[str]) -> Iterator[tuple[int, int]]:
    """The run without what belongs to a word beside it (the d of `std::sort`); then without the punctuation around it,
    then without a word before it (as in `face:2001:db8::1`).
    """
    text, (start, end) = match.string, match.span()
    if start and text[start - 1].isalnum():
        start = text.index(":", start)
    if end < len(text) and text[end].isalnum():
        end = text.rindex(":", start, end) + 1
    run = text[start:end]
    for first in (start, end - len(run.lstrip(".:")), start + run.find(":") + 1):
        for last in (end, end - 1, start + len(run.rstrip(".:"))):
            yield first, last


def _is_ipv6(text: str) -> bool:
    if not 2 < len(text) <= 45:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
