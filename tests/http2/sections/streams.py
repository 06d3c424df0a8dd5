"""RFC 9113 section 5: the states of streams, their numbers, and errors."""

from tests.http2.case import Answers, Case, Ends, Finishes, Ignores, Resets, case
from tests.http2.wire import (
    END_HEADERS,
    FIELDS,
    Code,
    Flag,
    block,
    continuation,
    data,
    goaway,
    headers,
    opened,
    ping,
    priority,
    request,
    reset,
    window,
)

CLOSED = (Resets(Code.STREAM_CLOSED), Ends(Code.STREAM_CLOSED))
"""A stream error where the stream is remembered, a connection error where it is not (section 5.1)."""

USED = (*CLOSED, Ends(Code.PROTOCOL_ERROR))
"""HEADERS on a stream that is closed may also be told by its number, which is none that is new (section 5.1.1)."""

FIELDS_AGAIN = headers(1, block(*FIELDS))

IDLE: tuple[Case, ...] = (
    case("5.1", "DATA on an idle stream", data(1), Ends(Code.PROTOCOL_ERROR)),
    case("5.1", "RST_STREAM on an idle stream", reset(1), Ends(Code.PROTOCOL_ERROR)),
    case("5.1", "WINDOW_UPDATE on an idle stream", window(1, 100), Ends(Code.PROTOCOL_ERROR)),
    case("5.1", "CONTINUATION on an idle stream", continuation(1, block(*FIELDS)), Ends(Code.PROTOCOL_ERROR)),
    case("5.1", "PRIORITY on an idle stream is none", priority(1) + request(3), Answers(3)),
    case("5.1", "RST_STREAM on a stream of the server's that never was", reset(2), Ends(Code.PROTOCOL_ERROR)),
)

ENDED: tuple[Case, ...] = (
    case("5.1", "DATA behind the end of a request", request(1) + data(1), *CLOSED),
    case("5.1", "HEADERS behind the end of a request", request(1) + FIELDS_AGAIN, *USED),
    case(
        "5.1",
        "CONTINUATION behind the end of a request",
        request(1) + continuation(1, block(*FIELDS)),
        Ends(Code.PROTOCOL_ERROR),
        Ends(Code.STREAM_CLOSED),
    ),
    case(
        "5.1",
        "WINDOW_UPDATE and PRIORITY behind it are none",
        request(1) + window(1, 9) + priority(1),
        Answers(),
    ),
    case("5.1", "RST_STREAM behind it is none", request(1) + reset(1), Ignores()),
)

RESET: tuple[Case, ...] = (
    case("5.1", "DATA behind RST_STREAM", opened(1) + reset(1) + data(1), *CLOSED),
    case("5.1", "HEADERS behind RST_STREAM", opened(1) + reset(1) + FIELDS_AGAIN, *USED),
    case(
        "5.1",
        "CONTINUATION behind RST_STREAM",
        opened(1) + reset(1) + continuation(1, block(*FIELDS)),
        Ends(Code.PROTOCOL_ERROR),
        Ends(Code.STREAM_CLOSED),
    ),
    case("5.1", "PRIORITY behind RST_STREAM is none", opened(1) + reset(1) + priority(1), Ignores()),
    case("5.1", "nor is WINDOW_UPDATE", opened(1) + reset(1) + window(1, 5), Ignores()),
)

NUMBERS: tuple[Case, ...] = (
    case("5.1.1", "an even number", request(2), Ends(Code.PROTOCOL_ERROR)),
    case(
        "5.1.1",
        "a number below the last",
        request(5) + request(3),
        Ends(Code.PROTOCOL_ERROR),
        Ends(Code.STREAM_CLOSED),
    ),
    case("5.1.1", "the number 0", headers(0, block(*FIELDS)), Ends(Code.PROTOCOL_ERROR)),
    case("5.1.1", "numbers may be left out", request(1) + request(77), Answers(77)),
    case(
        "5.1.1",
        "DATA on one that was left out",
        opened(5) + data(3),
        Ends(Code.STREAM_CLOSED),
        Resets(Code.STREAM_CLOSED, 3),
        Ends(Code.PROTOCOL_ERROR),
    ),
)

ITSELF = (Answers(), Ignores(), Resets(Code.PROTOCOL_ERROR), Ends(Code.PROTOCOL_ERROR))
"""RFC 7540 had it a stream error; RFC 9113 lets priorities be ignored altogether."""

DEPENDENCY: tuple[Case, ...] = (
    case(
        "5.3.1",
        "HEADERS that depend on themselves",
        headers(1, b"\0\0\0\x01\xff" + block(*FIELDS), END_HEADERS | Flag.PRIORITY) + data(1),
        *ITSELF,
    ),
    case("5.3.1", "PRIORITY that depends on itself", priority(1, 1), *ITSELF),
    case("5.3.2", "a dependence on a stream that never was", priority(1, 99) + request(1), Answers()),
)

ERRORS: tuple[Case, ...] = (
    case(
        "5.4.1",
        "a connection error is told by GOAWAY, then it is closed",
        ping(stream=3),
        Ends(Code.PROTOCOL_ERROR),
    ),
    case(
        "5.4.2",
        "what is still under way on a stream that was reset is let pass",
        headers(1, block((b":method", b"POST")), END_HEADERS) + data(1, b"xy", 0) + data(1, b"z"),
        Resets(Code.PROTOCOL_ERROR),
    ),
    case("7", "GOAWAY with a code that nobody knows", request(1) + goaway(0xFACE), Answers(), Finishes()),
    case("7", "RST_STREAM with a code that nobody knows", opened(1) + reset(1, 0xFACE), Ignores()),
)

STREAMS = IDLE + ENDED + RESET + NUMBERS + DEPENDENCY + ERRORS
