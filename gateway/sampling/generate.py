"""Reads what the generate extension sends: a JSON document, or a stream of them as server-sent events."""

from typing import Any

from gateway.sampling.content import Content, NotKept
from gateway.sampling.infer import decode_json

_DATA = b"data:"
_SAID_AGAIN = frozenset({"id", "model_name", "model_version", "finish_reason"})
"""What each event says of itself (Triton's generate extension, and the output that its language models have)."""


def read_document(body: bytes) -> Content:
    """A request, or a reply that is no stream. Raises `NotKept`."""
    document = decode_json(body)
    if not isinstance(document, dict):
        raise NotKept("unreadable")
    return Content([], document)


def read_stream(body: bytes) -> Content:
    """A stream read as one document: the text of each output joined, since a name may be cut by the end of an event; of
    other members, and of what every event says of itself, the last value counts. Raises `NotKept`.
    """
    whole: dict[str, Any] = {}
    for line in body.splitlines():
        if not line.startswith(_DATA):
            continue
        text = line[len(_DATA) :].strip()
        if text == b"[DONE]":
            continue
        event = decode_json(text)
        if not isinstance(event, dict):
            raise NotKept("unreadable")
        for key, value in event.items():
            before = whole.get(key)
            goes_on = isinstance(before, str) and isinstance(value, str) and key not in _SAID_AGAIN
            whole[key] = before + value if goes_on else value
    return Content([], whole)
