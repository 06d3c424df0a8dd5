"""The batch rows of an inference, read from the beginning of its JSON."""

import json
import re
from typing import Any

_MOST_STEPS = 2_000
"""Strings, brackets and what stands between them that are looked at, some 0.5 ms at most."""

_STEP = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"[ \t\r\n]*(:?)|[\[\]{}]|[^"\[\]{}]+', re.DOTALL)
_ESCAPE = b"\\u"
_SHAPES, _INPUTS = re.compile(rb'"shape"[ \t\r\n]*:'), re.compile(rb'"inputs"[ \t\r\n]*:')
_FIRST_NUMBER = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*([0-9]{1,18})[ \t\r\n]*[,\]]")


def rows_of(text: bytes) -> int | None:
    """The first number of `inputs[0].shape`, at least 1; None where it is not found. The text may be cut short.

    Nothing is found where one of its keys is seen to stand twice, nor behind an escape that could spell a key. Of a twin
    too far behind to be seen nobody knows: Triton takes the first, as this does.
    """
    depth = steps = at = rows = 0
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
                if rows or found is None or _ESCAPE in text[:at] or _INPUTS.search(text, at):
                    return None
                rows = max(1, int(found[1]))
                if _SHAPES.search(text, at) is None:
                    return rows
        elif first in (b"{", b"["):
            depth += 1
            in_inputs = in_inputs or (depth == 2 and first == b"[" and key == b"inputs")
        elif first in (b"}", b"]"):
            depth -= 1
            if in_inputs and depth < 3:
                break
    return rows or None


def rows_by_parsing(text: bytes) -> int | None:
    """The same from JSON that is whole, at some ten times the cost. None where there is no shape, which no model takes.

    Raises `ValueError` for what is no JSON, or not all of it, and `Twice` where one of its keys stands twice.
    """
    try:
        document = json.loads(text, object_pairs_hook=_Members)
    except RecursionError as error:
        raise ValueError("too deep") from error
    inputs = _one(document, "inputs")
    first = inputs[0] if isinstance(inputs, list) and inputs else None
    shape = _one(first, "shape")
    if not isinstance(shape, list) or not shape or not isinstance(shape[0], int):
        return None
    return max(1, shape[0])


class Twice(ValueError):
    """A key that counts stands twice in its object; it is named."""


class _Members(list[tuple[str, Any]]):
    """An object's members as they stand."""


def _one(value: Any, key: str) -> Any:
    """The member of an object; None where there is none, or no object. Raises `Twice`."""
    found = [member for name, member in value if name == key] if isinstance(value, _Members) else []
    if len(found) > 1:
        raise Twice(key)
    return found[0] if found else None
