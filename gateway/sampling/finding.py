"""What was found in a text, and where."""

from typing import NamedTuple

from gateway.snapshot.document import Detector


class Finding(NamedTuple):
    """A stretch of text, from `start` up to, not including, `end`, that a detector takes for what it looks for."""

    start: int
    end: int
    detector: Detector
