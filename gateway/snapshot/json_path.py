"""Where something stands in a JSON document: a small, closed part of JSONPath (RFC 9535).

`$` is the document; `.name` and `['any name']` go into an object, `[0]` and `[*]` into an array. Nothing else.
"""

import re

Step = str | int | None
"""A member's name, an element's number, or None: every element."""

MOST_STEPS = 32

_STEP = re.compile(
    r"\.(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\['(?P<quoted>[^'\\\x00-\x1f\x7f]{1,128})'\]"
    r"|\[(?P<number>0|[1-9][0-9]{0,5})\]|(?P<every>\[\*\])"
)


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps from the document to what is meant. Raises `ValueError`, which says what may be written."""
    if not text.startswith("$"):
        raise ValueError(f"{text!r} does not begin with $, which stands for the document; {_WRITE}")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or len(steps) == MOST_STEPS:
            raise ValueError(f"{text!r} cannot be read from {text[at : at + 20]!r} on; {_WRITE}")
        steps.append(_step(match))
        at = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["every"]:
        return None
    if match["number"] is not None:
        return int(match["number"])
    return match["name"] or match["quoted"]


_WRITE = "write $.name, $['any name'], $.list[0] or $.list[*], and combine them"
