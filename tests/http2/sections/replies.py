"""What servers may and may not say to a client: replies (RFC 9113 sections 8.1 to 8.4), and what only they can do wrong.

The client has asked on streams 1 and 3, whole, and on 5 and 7 has yet to end its request.
"""

import struct
from typing import Any

import msgspec

from tests.http2.wire import (
    END_HEADERS,
    END_STREAM,
    LEAST_FRAME,
    MOST_WINDOW,
    Code,
    Field,
    Kind,
    Setting,
    block,
    continuation,
    data,
    frame,
    goaway,
    headers,
    integer,
    ping,
    priority,
    reset,
    settings,
    window,
)

OK: tuple[Field, ...] = ((b":status", b"200"), (b"content-type", b"application/grpc"))
HEAD = headers(1, block(*OK), END_HEADERS)
TRAILERS = headers(1, block((b"grpc-status", b"0")))
WHOLE = HEAD + data(1, flags=0) + TRAILERS
HEADS = (("head", 1, OK, False),)
WHOLE_EVENTS = (*HEADS, ("data", 1, bytes(5)), ("trailers", 1, ((b"grpc-status", b"0"),)), ("over", 1))


class Case(msgspec.Struct, frozen=True):
    """What the server sends; what the client's receivers are told, and what is seen on the wire of it: GOAWAY or RST_STREAM with
    a code, or nothing.
    """

    section: str
    what: str
    sent: bytes
    events: tuple[tuple[Any, ...], ...] | None = ()
    goaway: Code | None = None
    resets: tuple[tuple[int, Code], ...] = ()

    def __str__(self) -> str:
        return f"{self.section} {self.what}"


def ends(section: str, what: str, sent: bytes, code: Code = Code.PROTOCOL_ERROR) -> Case:
    """A connection error."""
    return Case(section, what, sent, None, code)


def malformed(section: str, what: str, sent: bytes, *before: tuple[Any, ...]) -> Case:
    """A stream error: the call ends, its neighbours do not."""
    code = Code.PROTOCOL_ERROR
    return Case(section, what, sent, (*before, ("reset", 1, code, False)), None, ((1, code),))


def replied(*fields: Field) -> bytes:
    """A reply of nothing but these fields."""
    return headers(1, block(*fields))


def unprocessed(*streams: int) -> tuple[tuple[Any, ...], ...]:
    """These calls were not begun."""
    return tuple(("reset", stream, int(Code.REFUSED_STREAM), True) for stream in streams)


GOOD: tuple[Case, ...] = (
    Case("8.1", "a reply", WHOLE, WHOLE_EVENTS),
    Case("8.1", "a reply of one frame", headers(1, block(*OK)), (*HEADS, ("over", 1))),
    Case("8.1", "a reply without trailers", HEAD + data(1), (*HEADS, ("data", 1, bytes(5)), ("over", 1))),
    Case("8.1", "an end by DATA of no bytes", HEAD + data(1, b""), (*HEADS, ("over", 1))),
    Case(
        "8.1",
        "informational replies before it",
        headers(1, block((b":status", b"103")), END_HEADERS) * 2 + WHOLE,
        WHOLE_EVENTS,
    ),
    Case(
        "6.10",
        "a head in pieces",
        headers(1, block(*OK)[:5], 0) + continuation(1, block(*OK)[5:]) + data(1, flags=0) + TRAILERS,
        WHOLE_EVENTS,
    ),
    Case(
        "8.1",
        "a reply to a request that goes on",
        WHOLE.replace(struct.pack(">I", 1), struct.pack(">I", 5)),
        tuple((name, 5, *more) for name, _, *more in WHOLE_EVENTS),
    ),
    Case("5.5", "frames that nobody knows", frame(Kind.UNKNOWN, 9, 1, b"?") + WHOLE, WHOLE_EVENTS),
    Case("6.3", "priorities", priority(1) + priority(99, 7) + WHOLE, WHOLE_EVENTS),
    Case(
        "7541 4.2",
        "a table that is given up",
        headers(1, b"\x20" + block(*OK), END_HEADERS) + data(1, flags=0) + TRAILERS,
        WHOLE_EVENTS,
    ),
)

RESETS: tuple[Case, ...] = (
    *(
        Case(
            "6.4",
            f"RST_STREAM {int(code)} before a reply",
            reset(1, code),
            (("reset", 1, int(code), code == Code.REFUSED_STREAM),),
        )
        for code in (Code.NO_ERROR, Code.INTERNAL_ERROR, Code.REFUSED_STREAM, Code.CANCEL, 0xFACE)
    ),
    Case(
        "6.4",
        "RST_STREAM inside a reply",
        HEAD + data(1, b"ab", 0) + reset(1, 2),
        (*HEADS, ("data", 1, b"ab"), ("reset", 1, 2, False)),
    ),
    Case(
        "8.7",
        "a reply that has begun was not refused",
        HEAD + reset(1, Code.REFUSED_STREAM),
        (*HEADS, ("reset", 1, int(Code.REFUSED_STREAM), False)),
    ),
    Case(
        "8.1",
        "RST_STREAM NO_ERROR behind a reply, since the request need not go on",
        headers(5, block(*OK)) + reset(5, 0),
        (("head", 5, OK, False), ("over", 5)),
    ),
)

GONE: tuple[Case, ...] = (
    Case(
        "6.8",
        "GOAWAY: what is above its stream was not begun",
        goaway(0, 3),
        (*unprocessed(5, 7), ("going away", 0, b"why")),
    ),
    Case(
        "6.8",
        "what is below goes on",
        goaway(0, 1) + WHOLE,
        (*unprocessed(3, 5, 7), ("going away", 0, b"why"), *WHOLE_EVENTS),
    ),
    Case(
        "6.8",
        "twice, the second one final",
        goaway(0, MOST_WINDOW) + goaway(0, 5),
        (("going away", 0, b"why"), *unprocessed(7), ("going away", 0, b"why")),
    ),
    ends("6.8", "GOAWAY of a stream", goaway(stream=1)),
)

REFUSED: tuple[Case, ...] = (
    ends(
        "8.4",
        "PUSH_PROMISE, which was not allowed",
        frame(Kind.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + block(*OK)),
    ),
    ends("6.5.2", "ENABLE_PUSH of a server", settings((Setting.ENABLE_PUSH, 1))),
    ends("5.1.1", "HEADERS on a stream of the server's", headers(2, block(*OK))),
    ends("5.1.1", "HEADERS on a stream that was not opened", headers(99, block(*OK))),
    ends("5.1", "DATA on a stream that was not opened", data(99)),
    ends("5.1", "RST_STREAM on a stream that was not opened", reset(99)),
    ends("5.1", "WINDOW_UPDATE on a stream that was not opened", window(99, 1)),
    ends("6.1", "DATA on stream 0", data(0)),
    ends("6.10", "CONTINUATION alone", continuation(1, block(*OK))),
    ends("6.10", "PING inside a block", headers(1, block(*OK)[:4], 0) + ping()),
    ends(
        "4.2",
        "a frame that is too large",
        frame(Kind.DATA, 0, 1, bytes(LEAST_FRAME + 1)),
        Code.FRAME_SIZE_ERROR,
    ),
    ends("4.3", "a block that cannot be decoded", headers(1, integer(99, 7, 0x80)), Code.COMPRESSION_ERROR),
    ends("6.9.1", "a window that is too large", window(0, MOST_WINDOW), Code.FLOW_CONTROL_ERROR),
    ends("6.7", "PING of seven octets", ping(b"1234567"), Code.FRAME_SIZE_ERROR),
)

REPLIES: tuple[Case, ...] = (
    malformed("8.1", "DATA before the head", data(1)),
    malformed("8.1", "an informational reply that ends", replied((b":status", b"103"))),
    malformed("8.6", "101", replied((b":status", b"101"))),
    malformed("8.3.2", "no status", replied((b"x", b"y"))),
    malformed("8.3.2", "two statuses", replied(OK[0], *OK)),
    malformed("8.3.2", "a status behind a plain field", replied(OK[1], OK[0])),
    malformed("8.3", "that of a request", replied(OK[0], (b":path", b"/"))),
    malformed("8.3", "an unknown one", replied(OK[0], (b":x", b"/"))),
    *(
        malformed("8.3.2", f"status {bad!r}", replied((b":status", bad)))
        for bad in (b"", b"20", b"2000", b"ok!", b"-20", b"099")
    ),
    malformed("8.2.1", "upper case", replied(*OK, (b"X-Upper", b"1"))),
    malformed("8.2.1", "a line break", replied(*OK, (b"x", b"1\r\ny: 2"))),
    malformed("8.2.2", "connection", replied(*OK, (b"connection", b"close"))),
    malformed(
        "8.1",
        "fields in its middle",
        HEAD + data(1, flags=0) + headers(1, block((b"x", b"y")), END_HEADERS),
        *HEADS,
        ("data", 1, bytes(5)),
    ),
    malformed(
        "8.1", "a pseudo-header field in trailers", HEAD + headers(1, block((b":status", b"200"))), *HEADS
    ),
    malformed(
        "8.1.1",
        "content-length of another body",
        headers(1, block(*OK, (b"content-length", b"4")), END_HEADERS) + data(1),
        ("head", 1, (*OK, (b"content-length", b"4")), False),
    ),
    malformed(
        "8.1.1",
        "content-length of more than came",
        headers(1, block(*OK, (b"content-length", b"6")), END_HEADERS)
        + frame(Kind.DATA, 0, 1, bytes(5))
        + TRAILERS,
        ("head", 1, (*OK, (b"content-length", b"6")), False),
        ("data", 1, bytes(5)),
    ),
)

OVER: tuple[Case, ...] = (
    Case(
        "5.1",
        "DATA behind the end",
        WHOLE + frame(Kind.DATA, END_STREAM, 1, b"x"),
        WHOLE_EVENTS,
        None,
        ((1, Code.STREAM_CLOSED),),
    ),
    Case(
        "5.1",
        "WINDOW_UPDATE, PRIORITY and RST_STREAM behind the end",
        WHOLE + window(1, 5) + priority(1) + reset(1),
        WHOLE_EVENTS,
    ),
)

CASES = GOOD + RESETS + GONE + REFUSED + REPLIES + OVER
