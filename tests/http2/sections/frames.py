"""RFC 9113 section 6, frame by frame."""

from tests.http2.case import Answers, Case, Ends, Finishes, Ignores, Resets, case
from tests.http2.wire import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FIELDS,
    LEAST_FRAME,
    MOST_WINDOW,
    PADDED,
    Code,
    Flag,
    Kind,
    Setting,
    block,
    continuation,
    data,
    frame,
    goaway,
    headers,
    opened,
    ping,
    priority,
    request,
    reset,
    settings,
    window,
)

WHOLE = block(*FIELDS)
PROTOCOL = Ends(Code.PROTOCOL_ERROR)
SIZE = Ends(Code.FRAME_SIZE_ERROR)
BEGUN = headers(1, WHOLE[:9], END_STREAM)


def sized(kind: Kind, length: int, stream: int = 1, flags: int = 0) -> bytes:
    """A frame of that many zeros."""
    return frame(kind, flags, stream, bytes(length))


DATA: tuple[Case, ...] = (
    case("6.1", "DATA on stream 0", data(0), PROTOCOL),
    case(
        "6.1",
        "padding that is longer than the frame",
        opened(1) + frame(Kind.DATA, PADDED | END_STREAM, 1, b"\x06" + bytes(5)),
        PROTOCOL,
    ),
    case(
        "6.1",
        "padding where there is no room to say how long",
        opened(1) + frame(Kind.DATA, PADDED, 1),
        PROTOCOL,
        SIZE,
    ),
)
HEADERS: tuple[Case, ...] = (
    case(
        "6.2",
        "padding that is longer than what is left",
        frame(Kind.HEADERS, PADDED | END_HEADERS, 1, b"\xff" + WHOLE[:99]),
        PROTOCOL,
    ),
    case(
        "6.2",
        "padding where there is no room to say how long",
        frame(Kind.HEADERS, PADDED | END_HEADERS, 1),
        PROTOCOL,
        SIZE,
    ),
    case(
        "6.2",
        "a priority that is cut",
        frame(Kind.HEADERS, Flag.PRIORITY | END_HEADERS, 1, b"\0\0\0"),
        SIZE,
        PROTOCOL,
    ),
)
PRIORITY: tuple[Case, ...] = (
    case("6.3", "PRIORITY on stream 0", priority(0), PROTOCOL),
    *(
        case(
            "6.3",
            f"PRIORITY of {length} octets",
            opened(1) + sized(Kind.PRIORITY, length),
            Resets(Code.FRAME_SIZE_ERROR),
            SIZE,
        )
        for length in (0, 4, 6)
    ),
)
RST_STREAM: tuple[Case, ...] = (
    case("6.4", "RST_STREAM on stream 0", reset(0), PROTOCOL),
    *(
        case("6.4", f"RST_STREAM of {length} octets", opened(1) + sized(Kind.RST_STREAM, length), SIZE)
        for length in (0, 3, 5)
    ),
)
SETTINGS: tuple[Case, ...] = (
    case("6.5", "an acknowledgement that holds something", frame(Kind.SETTINGS, ACK, 0, bytes(6)), SIZE),
    case("6.5", "SETTINGS of a stream", frame(Kind.SETTINGS, 0, 1), PROTOCOL),
    *(
        case("6.5", f"SETTINGS of {length} octets", sized(Kind.SETTINGS, length, 0), SIZE)
        for length in (1, 5, 7)
    ),
    *(
        case("6.5.2", f"ENABLE_PUSH {value}", settings((Setting.ENABLE_PUSH, value)), PROTOCOL)
        for value in (2, 2**32 - 1)
    ),
    *(
        case(
            "6.5.2",
            f"INITIAL_WINDOW_SIZE {value}",
            settings((Setting.INITIAL_WINDOW_SIZE, value)),
            Ends(Code.FLOW_CONTROL_ERROR),
        )
        for value in (2**31, 2**32 - 1)
    ),
    *(
        case("6.5.2", f"MAX_FRAME_SIZE {value}", settings((Setting.MAX_FRAME_SIZE, value)), PROTOCOL)
        for value in (0, LEAST_FRAME - 1, 2**24, 2**32 - 1)
    ),
    *(
        case("6.5.2", f"setting {name} {value} is well", settings((name, value)) + request(1), Answers())
        for name, value in (
            (Setting.HEADER_TABLE_SIZE, 0),
            (Setting.HEADER_TABLE_SIZE, 2**32 - 1),
            (Setting.ENABLE_PUSH, 0),
            (Setting.ENABLE_PUSH, 1),
            (Setting.MAX_CONCURRENT_STREAMS, 0),
            (Setting.MAX_CONCURRENT_STREAMS, 2**32 - 1),
            (Setting.INITIAL_WINDOW_SIZE, MOST_WINDOW),
            (Setting.MAX_FRAME_SIZE, LEAST_FRAME),
            (Setting.MAX_FRAME_SIZE, 2**24 - 1),
            (Setting.MAX_HEADER_LIST_SIZE, 2**32 - 1),
            (0, 0),
            (0xFFFF, 5),
        )
    ),
    case(
        "6.5.3",
        "an acknowledgement that nobody asked for does no harm",
        frame(Kind.SETTINGS, ACK, 0),
        Ignores(),
        PROTOCOL,
    ),
)
PUSH_PROMISE: tuple[Case, ...] = (
    case(
        "6.6",
        "PUSH_PROMISE of a client",
        opened(1) + frame(Kind.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + WHOLE),
        PROTOCOL,
    ),
    case(
        "6.6",
        "PUSH_PROMISE on stream 0",
        frame(Kind.PUSH_PROMISE, END_HEADERS, 0, b"\0\0\0\2" + WHOLE),
        PROTOCOL,
    ),
)
PING: tuple[Case, ...] = (
    case("6.7", "PING of a stream", ping(stream=1), PROTOCOL),
    *(case("6.7", f"PING of {length} octets", sized(Kind.PING, length, 0), SIZE) for length in (0, 7, 9)),
    case("6.7", "an answer that nobody asked for is ignored", ping(flags=ACK), Ignores()),
)
GOAWAY: tuple[Case, ...] = (
    case("6.8", "GOAWAY of a stream", goaway(stream=1), PROTOCOL),
    case("6.8", "GOAWAY that is cut", sized(Kind.GOAWAY, 7, 0), SIZE),
    case("6.8", "what was asked before GOAWAY is answered", request(1) + goaway(), Answers(), Finishes()),
)
WINDOW_UPDATE: tuple[Case, ...] = (
    case("6.9", "an increment of 0 for the connection", window(0, 0), PROTOCOL),
    case(
        "6.9",
        "an increment of 0 for a stream",
        opened(1) + window(1, 0),
        Resets(Code.PROTOCOL_ERROR),
        PROTOCOL,
    ),
    case("6.9", "an increment of 0, the reserved bit apart", window(0, 2**31), PROTOCOL),
    *(
        case("6.9", f"WINDOW_UPDATE of {length} octets", sized(Kind.WINDOW_UPDATE, length, 0), SIZE)
        for length in (0, 3, 5)
    ),
    case(
        "6.9.1",
        "a window of the connection above 2^31-1",
        window(0, MOST_WINDOW),
        Ends(Code.FLOW_CONTROL_ERROR),
    ),
    case(
        "6.9.1",
        "a window of a stream above 2^31-1",
        opened(1) + window(1, MOST_WINDOW),
        Resets(Code.FLOW_CONTROL_ERROR),
    ),
    case("6.9.1", "a window of 2^31-1", opened(1) + window(1, MOST_WINDOW - 65_535) + data(1), Answers()),
    case(
        "6.9.2",
        "an initial window that lifts a stream's above 2^31-1",
        opened(1) + window(1, 2**30) + settings((Setting.INITIAL_WINDOW_SIZE, MOST_WINDOW)),
        Ends(Code.FLOW_CONTROL_ERROR),
    ),
)
CONTINUATION: tuple[Case, ...] = (
    case("6.10", "CONTINUATION on stream 0", BEGUN + continuation(0, WHOLE[9:]), PROTOCOL),
    case("6.10", "CONTINUATION of another stream", BEGUN + continuation(3, WHOLE[9:]), PROTOCOL),
    case("6.10", "DATA where CONTINUATION must be", BEGUN + data(1), PROTOCOL),
    case("6.10", "RST_STREAM where CONTINUATION must be", BEGUN + reset(1), PROTOCOL),
    case("6.10", "SETTINGS where CONTINUATION must be", BEGUN + settings(), PROTOCOL),
    case("6.10", "HEADERS where CONTINUATION must be", BEGUN + headers(1, WHOLE[9:]), PROTOCOL),
    case("6.10", "CONTINUATION behind a block that is whole", opened(1) + continuation(1, WHOLE), PROTOCOL),
    case(
        "6.10", "CONTINUATION behind the last CONTINUATION", BEGUN + continuation(1, WHOLE[9:]) * 2, PROTOCOL
    ),
    case(
        "6.10",
        "CONTINUATION behind DATA",
        opened(1) + data(1, bytes(2), 0) + continuation(1, WHOLE),
        PROTOCOL,
    ),
    case(
        "6.10",
        "a block in two pieces, the second of them empty",
        headers(1, WHOLE, 0) + continuation(1, b"") + data(1),
        Answers(),
    ),
)

FRAMES = (
    DATA
    + HEADERS
    + PRIORITY
    + RST_STREAM
    + SETTINGS
    + PUSH_PROMISE
    + PING
    + GOAWAY
    + WINDOW_UPDATE
    + CONTINUATION
)
