"""Takes credentials out of whatever is about to be logged: those that look like one, and those that this process knows.

Every pattern takes bounded time for each character, since callers have a say in what is logged.
"""

import re
from collections.abc import Iterable

GONE = "[redacted]"
_LEAST_KNOWN = 6

_PATTERNS = tuple(
    (re.compile(pattern, flags), replacement)
    for pattern, flags, replacement in (
        # An API key, also a mistyped or cut one. Its id is what people call it by.
        (r"(maas_(?:[0-9A-Za-z]{1,16}_)?)[0-9A-Za-z]{20,}?(?=maas_|[^0-9A-Za-z]|$)", 0, rf"\1{GONE}"),
        # A header field in a line, a dict, a list of pairs, of text or of bytes.
        (
            r"\b(authorization|x-api-key)\b(['\"]?\s{0,8}[:=,]\s{0,8}(?:b?['\"])?)(?:(bearer|basic)\s{1,8})?[^\s\"',;)\]}]+",
            re.IGNORECASE,
            rf"\1\2{GONE}",
        ),
        (
            r"\b((?:set-)?cookie)\b(['\"]?\s{0,8}[:=,]\s{0,8}(?:b?['\"])?)[^\r\n\"']+",
            re.IGNORECASE,
            rf"\1\2{GONE}",
        ),
        (r"\b(bearer|basic)(\s{1,8})[^\s\"',;]+", re.IGNORECASE, rf"\1\2{GONE}"),
        # Up to the last @, since a password may hold one that nobody escaped.
        (
            r"\b([a-z][a-z0-9+.-]{0,30}://[^\s:/?#@'\"]{0,128}):[^\s'\"]{1,512}@",
            re.IGNORECASE,
            rf"\1:{GONE}@",
        ),
        (
            r"((?:passw(?:or)?d|pwd|secret|token|api[_-]?key|signature)['\"]?\s{0,8}=\s{0,8}b?['\"]?)[^\s'\",;&)\]}]+",
            re.IGNORECASE,
            rf"\1{GONE}",
        ),
        (
            r"((?:passw(?:or)?d|pwd|secret|token|api[_-]?key)['\"]\s{0,8}:\s{0,8}b?['\"])[^'\"]+",
            re.IGNORECASE,
            rf"\1{GONE}",
        ),
        (r"\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_-]*)?", 0, GONE),
        (
            r"-----BEGIN ([A-Z ]{0,20})PRIVATE KEY-----[^-]{0,20000}(?:-----END [A-Z ]{0,20}PRIVATE KEY-----)?",
            0,
            GONE,
        ),
    )
)

_UNSAFE = re.compile(r"[^A-Za-z0-9._~/@:-]")


class Redactor:
    """Takes out what looks like a credential, and what it was told to `hide`."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._exactly: re.Pattern[str] | None = None
        self.hide(*known)

    def hide(self, *secrets: str) -> None:
        """From now on, take out these very texts too; very short ones are left, since they stand everywhere."""
        self._known |= {secret for secret in secrets if len(secret) >= _LEAST_KNOWN}
        longest_first = sorted(self._known, key=len, reverse=True)
        self._exactly = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """The text without them."""
        if self._exactly is not None:
            text = self._exactly.sub(GONE, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


_by_looks = Redactor()


def shown_path(target: bytes, most: int = 128) -> str:
    """A request target that nobody has checked, fit for a log: without its query, of few characters, bounded."""
    path = target[: 4 * most].partition(b"?")[0].decode("latin-1")
    return _UNSAFE.sub("?", _by_looks(path))[:most]
