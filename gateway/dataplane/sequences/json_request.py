"""The JSON of an inference request that names a sequence: read, and written anew with another id.

Triton takes the first of two keys that are alike, others the last, so a request that has two is refused; and one that cannot be
read here, but names a sequence, goes nowhere: whoever can read it would take the caller's id for the server's own.
"""

import json
import re

import msgspec

from gateway.dataplane.sequences.asked import Asked, asked_of, kind_of, no_id
from gateway.errors import GatewayError, Kind

_ID, _START, _END = "sequence_id", "sequence_start", "sequence_end"
_ESCAPE = b"\\u00"
_KEY = b'"parameters"'
_SPELLED_KEY = re.compile(
    b'"' + b"".join(b"(?:%c|\\\\u00(?i:%02x))" % (char, char) for char in b"parameters") + b'"'
)
_MOST_BYTES = 64 * 1024
"""Of parameters, which are read value by value."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Unreadable(ValueError):
    """The text is no JSON here; others may read it."""


class JsonRequest:
    """The text, taken apart. Raises `Unreadable`, and BAD_REQUEST for keys that stand twice and for what is no sequence's id or flag."""

    def __init__(self, text: bytes) -> None:
        try:
            self._top = _members.decode(text)
            raw = self._top.get("parameters")
            self._parameters = {} if raw is None or not bytes(raw).startswith(b"{") else _members.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unreadable from error
        self.asked: Asked | None = None
        if raw is not None:
            # Also where this one names no sequence: the other one may.
            _look_for_two(text, self._top)
        if raw is not None and not self._parameters.keys().isdisjoint((_ID, _START, _END)):
            values = _values(bytes(raw))
            if _ID in values and values[_ID] is None:
                raise no_id(kind_of(None))
            self.asked = asked_of(values.get(_ID), values.get(_START, False), values.get(_END, False))

    def with_id(self, upstream_id: int) -> bytes:
        """The text with this id of the sequence; all other values are spelled as they were."""
        parameters = self._parameters | {_ID: msgspec.Raw(b"%d" % upstream_id)}
        return msgspec.json.encode(self._top | {"parameters": parameters})


def _look_for_two(text: bytes, top: dict[str, msgspec.Raw]) -> None:
    """Of two keys that are alike the decoder keeps one: what is not in the values it kept stood beside them."""
    if _count(text) != 1 + sum(_count(bytes(value)) for value in top.values()):
        raise _twice("parameters")


def _count(text: bytes) -> int:
    return len(_SPELLED_KEY.findall(text)) if _ESCAPE in text else text.count(_KEY)


def _values(text: bytes) -> dict[str, object]:
    if len(text) > _MOST_BYTES:
        raise GatewayError(
            Kind.BAD_REQUEST, f"The parameters of the request have more than {_MOST_BYTES} bytes."
        )
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Unreadable from error
    assert isinstance(found, dict)
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _twice(next(name for name in names if names.count(name) > 1))
    return found


def _twice(key: str) -> GatewayError:
    return GatewayError(Kind.BAD_REQUEST, f"The key {key[:100]!a} stands twice in the request.")


def own_id_text(asked: Asked) -> bytes:
    """The caller's id as JSON."""
    return msgspec.json.encode(asked.id)
