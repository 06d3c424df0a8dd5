"""What callers make up and the gateway logs: their request ids, and paths and aliases that do not exist. Somebody may stand
in them, as in a sample.
"""

import re

from gateway.sampling.texts import TextMask
from gateway.secret import Pseudonyms

_RANDOM_ID = re.compile(r"[0-9a-f]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
"""An id of the gateway's own, or a UUID: nobody's, whatever its digits look like."""


class LoggedText:
    """Masks them by every detector."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms
        self._mask = TextMask({}, pseudonyms)

    def request_id(self, request_id: str) -> str:
        """The id, or its pseudonym where a detector finds something in it: the same that stands with its sample."""
        if _RANDOM_ID(request_id) or not self._mask.holds_any(request_id):
            return request_id
        return self._pseudonyms.of(request_id)

    def text(self, text: str) -> str:
        """The text, with the name of a detector in place of what it finds."""
        masked = self._mask.apply(text)
        assert masked is not None  # nothing here is dropped
        return masked
