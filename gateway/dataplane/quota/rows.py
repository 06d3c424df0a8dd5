"""The batch rows of an inference, read from the beginning of its JSON."""

import json
import re
from typing import Any

_MOST_STEPS = 2_000
"""Strings, brackets and what stands between them that are looked at, some 0.5 ms at most."""

_STEP = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"[ \t\r\n]*(:?)|[\[\]{}]|[^"\[\]{}]+', re.DOTALL)
_ESCAPE = b"\\u"
_FIRST_NUMBER = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*([0-9]{1,18})[ \t\r\n]*[,\]]")


def rows_of(text: bytes) -> int | None:
    """The first number of `inputs[0].shape`, at least 1; None where it is not found. The text may be cut short.

    Of keys that stand there twice the first counts, as in Triton. Behind an escape that could spell a key nothing is found.
    """
    depth = steps = at = 0
    key = b""
    in_inputs = False
    while steps < _MOST_STEPS and (step := _STEP.match(text, at)) is not None:
        steps += 1
        at = step.end()
        first = step[0][:1]
        if first == b'"':
            if step[2] and depth == 1:
                key = step[1]
            elif step[2] and depth == 3 and in_inputs and step[1] == b"shape":
                found = _FIRST_NUMBER.match(text, at)
                return None if found is None or _ESCAPE in text[:at] else max(1, int(found[1]))
        elif first in (b"{", b"["):
            depth += 1
            in_inputs = in_inputs or (depth == 2 and first == b"[" and key == b"inputs")
        elif first in (b"}", b"]"):
            depth -= 1
            if in_inputs and depth < 3:
                return None
    return None


def rows_by_parsing(text: bytes) -> int | None:
    """The same from JSON that is whole, at some ten times the cost. None where there is no shape, which no model takes.

    Raises `ValueError` for what is no JSON, or not all of it.
    """
    try:
        document = json.loads(text, object_pairs_hook=_first_of_each)
    except RecursionError as error:
        raise ValueError("too deep") from error
    shape: Any = document
    for step in ("inputs", 0, "shape", 0):
        try:
            shape = shape[step]
        except (LookupError, TypeError):
            return None
    return max(1, shape) if isinstance(shape, int) else None


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))
