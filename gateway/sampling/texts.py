"""Text that a rule keeps, without what the detectors find in it."""

from collections.abc import Mapping

from gateway.sampling.detect import find, plain
from gateway.sampling.finding import Finding
from gateway.secret import Pseudonyms
from gateway.snapshot.document import Detector, MaskAction

_STRICTNESS: dict[MaskAction, int] = {"keep": 0, "hash": 1, "redact": 2, "drop": 3}
_DIGEST_CHARACTERS = 16


class TextMask:
    """Masks text by one action for each detector; what is found by one that is not named is redacted.

    `keep` leaves what is found, `hash` puts a keyed digest in its place, `redact` the detector's name, `drop` gives up the whole text.
    """

    def __init__(self, actions: Mapping[Detector, MaskAction], pseudonyms: Pseudonyms) -> None:
        self._actions = actions
        self._pseudonyms = pseudonyms

    def apply(self, text: str) -> str | None:
        """The text as it may be kept; None where it may not."""
        text = plain(text)
        parts: list[str] = []
        at = 0
        for start, end, detector, action in self._stretches(text):
            if action == "drop":
                return None
            found = detector if action == "redact" else f"{detector}:{self._digest(text[start:end])}"
            parts += (text[at:start], f"[{found}]")
            at = end
        return "".join((*parts, text[at:])) if parts else text

    def holds_any(self, text: str) -> bool:
        """Whether anything is found in a text, whatever would be done about it."""
        return next(find(plain(text)), None) is not None

    def _digest(self, value: str) -> str:
        """Of the value alone: how it was grouped, and its letters' case, do not tell one value from another."""
        bare = "".join(char for char in value if char not in " \t\r\n-()/_").lower()
        return self._pseudonyms.of(bare)[:_DIGEST_CHARACTERS]

    def _stretches(self, text: str) -> list[tuple[int, int, Detector, MaskAction]]:
        """What to mask, in order. Findings that overlap are one stretch, named for the first one, masked as the strictest."""
        found: list[tuple[Finding, MaskAction]] = []
        for each in find(text):
            action = self._actions.get(each.detector, "redact")
            if action != "keep":
                found.append((each, action))
        merged: list[tuple[int, int, Detector, MaskAction]] = []
        for (start, end, detector), action in sorted(found, key=lambda each: (each[0].start, -each[0].end)):
            if merged and start < merged[-1][1]:
                first = merged[-1]
                strictest = max(first[3], action, key=_STRICTNESS.__getitem__)
                merged[-1] = (first[0], max(first[1], end), first[2], strictest)
            else:
                merged.append((start, end, detector, action))
        return merged


class Allowance:
    """How much text one sample may still keep: detectors take their time, and a sample is no archive."""

    CHARACTERS = 64 * 1024

    def __init__(self, mask: TextMask) -> None:
        self._mask = mask
        self._left = self.CHARACTERS

    def keep(self, text: str) -> str | None:
        """The masked text, or None where it may not be kept or the sample has enough."""
        self._left -= len(text)
        return self._mask.apply(text) if self._left >= 0 else None
