"""Frames, written (RFC 9113 section 4.1)."""

import struct

from gateway.http2.codes import (
    CONTINUATION,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

FRAME_HEAD = struct.Struct(">IBI")
"""Length and type as one number, flags, stream: nine bytes."""
HEAD_BYTES = FRAME_HEAD.size

SETTING = struct.Struct(">HI")
"""One of a SETTINGS frame: its number and its value."""

_HEAD_AND_NUMBER = struct.Struct(">IBII")

head = FRAME_HEAD.pack


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame, whole."""
    return head(len(payload) << 8 | kind, flags, stream) + payload


def headers(block: bytes, flags: int, stream: int, most: int) -> bytes:
    """A header block of any length: HEADERS, and CONTINUATION where `most` bytes are not enough."""
    if len(block) <= most:
        return head(len(block) << 8 | HEADERS, flags | END_HEADERS, stream) + block
    pieces = [block[at : at + most] for at in range(0, len(block), most)]
    last = len(pieces) - 1
    return frame(HEADERS, flags, stream, pieces[0]) + b"".join(
        frame(CONTINUATION, END_HEADERS if number == last else 0, stream, piece)
        for number, piece in enumerate(pieces)
        if number
    )


def reset(stream: int, code: int) -> bytes:
    """RST_STREAM."""
    return _HEAD_AND_NUMBER.pack(4 << 8 | RST_STREAM, 0, stream, code)


def window_update(stream: int, count: int) -> bytes:
    """WINDOW_UPDATE; stream 0 is the connection."""
    return _HEAD_AND_NUMBER.pack(4 << 8 | WINDOW_UPDATE, 0, stream, count)


def settings(values: dict[int, int]) -> bytes:
    """SETTINGS."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*item) for item in values.items()))


def go_away(last: int, code: int, words: bytes = b"") -> bytes:
    """GOAWAY."""
    return frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + words)
