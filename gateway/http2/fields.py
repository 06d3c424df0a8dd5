"""What may stand in a request, a reply and in trailers (RFC 9113 sections 8.1 to 8.3)."""

import re
from collections.abc import Callable
from typing import Final

from gateway.http2.codes import Code
from gateway.http2.faults import StreamFault

Field = tuple[bytes, bytes]
Judge = Callable[[tuple[Field, ...]], int]
"""Looks at a whole list: its `content-length`, `NO_LENGTH` where it has none. Raises `StreamFault` where it is malformed."""

NO_LENGTH: Final = -1

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_VALUE = re.compile(rb"[^\0\r\n \t](?:[^\0\r\n]*[^\0\r\n \t])?").fullmatch
_PATH = re.compile(rb"/[!-\"$-~]*").fullmatch
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path", b":status"})
_OF_CONNECTION = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_MOST_DIGITS = 15


def is_sound(name: bytes, value: bytes) -> bool:
    """Whether a field may stand anywhere at all: its name in lower case and a token, its value without what ends a line."""
    if value and not _VALUE(value):
        return False
    if not _NAME(name):
        return name in _PSEUDO
    return name not in _OF_CONNECTION and (name != b"te" or value.lower() == b"trailers")


def judge_request(fields: tuple[Field, ...]) -> int:
    """A request's fields (section 8.3.1)."""
    pseudo, length = _split(fields)
    method, path, authority = pseudo.get(b":method"), pseudo.get(b":path"), pseudo.get(b":authority")
    if b":status" in pseudo or not method:
        raise _malformed("a request without a method, or with a status")
    if method == b"CONNECT":
        if path is not None or b":scheme" in pseudo or not authority:
            raise _malformed("a CONNECT with a path or a scheme, or to nowhere")
    elif not pseudo.get(b":scheme") or not path or not (_PATH(path) or (path, method) == (b"*", b"OPTIONS")):
        raise _malformed("a request without a scheme or a path")
    if authority is not None and any(name == b"host" and value != authority for name, value in fields):
        raise _malformed("another host than the authority")
    return length


def judge_reply(fields: tuple[Field, ...]) -> int:
    """A reply's fields (section 8.3.2)."""
    pseudo, length = _split(fields)
    status = pseudo.get(b":status", b"")
    if len(pseudo) != 1 or len(status) != 3 or not status.isdigit() or status < b"100":
        raise _malformed("a reply without a status, or with more than that")
    if status == b"101":
        raise _malformed("a reply that switches protocols")
    return length


def judge_trailers(fields: tuple[Field, ...]) -> int:
    """Fields behind the data (section 8.1)."""
    if any(name[:1] == b":" for name, _ in fields):
        raise _malformed("a pseudo-field among trailers")
    return NO_LENGTH


def _split(fields: tuple[Field, ...]) -> tuple[dict[bytes, bytes], int]:
    """The pseudo-fields, which come first and once each, and the `content-length`."""
    pseudo: dict[bytes, bytes] = {}
    length = NO_LENGTH
    over = False
    for name, value in fields:
        if name[0] == 0x3A:
            if over or name in pseudo:
                raise _malformed("a pseudo-field behind others, or twice")
            pseudo[name] = value
            continue
        over = True
        if name == b"content-length":
            if not value.isdigit() or len(value) > _MOST_DIGITS or length not in (NO_LENGTH, int(value)):
                raise _malformed("a content-length that is none, or two of them")
            length = int(value)
    return pseudo, length


def _malformed(words: str) -> StreamFault:
    return StreamFault(Code.PROTOCOL_ERROR, words)
