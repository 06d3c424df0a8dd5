"""JSON from callers: decoded strictly, in bounded time and memory, and read with Triton's words for what is wrong.

Triton's own reader answers 500 for a field of the wrong kind; here it is the caller's fault, so 400, in the same words.
"""

import json
from typing import Any

import msgspec

from gateway.upstream.embedded.messages import Body, Refusal

MAX_JSON_BYTES = 16 * 2**20
"""Decoded numbers take up to ten times their text. Larger tensors come as binary data."""

MAX_CONTAINERS = 2**20
"""Arrays and objects in one document; an empty one takes three bytes of text and sixty of memory."""


class _Duplicate(ValueError):
    """An object names a key twice."""


def decode(body: Body) -> Any:
    """The value of a JSON text. Refuses what JSON does not have (NaN), duplicate keys, and documents that are too much."""
    if len(body) > MAX_JSON_BYTES:
        raise Refusal(
            413, f"JSON of {len(body)} bytes is more than {MAX_JSON_BYTES}; send large tensors as binary data"
        )
    text = bytes(body)
    if text.count(b"[") + text.count(b"{") > MAX_CONTAINERS:
        raise Refusal(400, f"{_MALFORMED} more than {MAX_CONTAINERS} arrays and objects")
    try:
        value = msgspec.json.decode(text)
        # Each pair of an object brings one colon. As many colons as decoded pairs: none is in a string, and no pair
        # was dropped as a duplicate. Otherwise the slower decoder, which sees every pair, is the judge.
        if text.count(b":") != _pairs(value):
            json.loads(text, object_pairs_hook=_object_without_duplicates)
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        raise Refusal(400, f"{_MALFORMED} {fault}") from fault
    except _Duplicate as fault:
        raise Refusal(400, f"{_MALFORMED} key {fault} appears twice in one object") from fault
    except RecursionError as fault:
        raise Refusal(400, f"{_MALFORMED} nested too deeply") from fault
    return value


_MALFORMED = "failed to parse the request JSON buffer:"


def _pairs(value: Any) -> int:
    pairs = 0
    rest = [value]
    while rest:
        item = rest.pop()
        if type(item) is dict:
            pairs += len(item)
            rest.extend(item.values())
        elif type(item) is list and not _SCALARS.issuperset(map(type, item)):
            rest.extend(item)
    return pairs


_SCALARS = frozenset((int, float, str, bool, type(None)))


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Duplicate(repr(key[:64]))
            seen.add(key)


def member(value: Any, key: str) -> Any:
    """The value of an object's member. Refuses a missing member, and anything that is not an object."""
    if type(value) is dict and key in value:
        return value[key]
    raise Refusal(400, f"Unable to parse '{key}': attempt to access non-existing object member '{key}'")


def optional(value: Any, key: str) -> Any:
    """A member, or None where there is none. A null counts as present: it is returned as `Null`."""
    if type(value) is not dict or key not in value:
        return None
    found = value[key]
    return NULL if found is None else found


class Null:
    """A JSON null, told apart from an absent member."""


NULL = Null()


def as_array(value: Any, what: str) -> list[Any]:
    """An array, or a refusal that names the field."""
    if type(value) is list:
        return value
    raise _wrong(what, "array", "array")


def as_string(value: Any, what: str) -> str:
    """A string, or a refusal that names the field."""
    if type(value) is str:
        return value
    raise _wrong(what, "string", "string")


def as_bool(value: Any, what: str) -> bool:
    """A boolean, or a refusal that names the field."""
    if type(value) is bool:
        return value
    raise _wrong(what, "boolean", "boolean")


def as_unsigned(value: Any, what: str) -> int:
    """An integer of [0, 2^64), or a refusal that names the field."""
    if type(value) is int and 0 <= value < 2**64:
        return value
    raise _wrong(what, "unsigned-integer", "unsigned-integer")


def _wrong(what: str, kind: str, wanted: str) -> Refusal:
    return Refusal(400, f"Unable to parse '{what}': attempt to access JSON non-{kind} as {wanted}")
