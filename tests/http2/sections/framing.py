"""RFC 9113 sections 3.4, 4 and 5.5: the preface, frames as such, and those that nobody knows."""

from tests.http2.case import Answers, Case, Ends, Ignores, Resets, case
from tests.http2.wire import (
    END_HEADERS,
    END_STREAM,
    FIELDS,
    LEAST_FRAME,
    PADDED,
    Code,
    Flag,
    Kind,
    block,
    continuation,
    data,
    frame,
    headers,
    integer,
    opened,
    ping,
    priority,
    request,
    settings,
)

WHOLE = block(*FIELDS)
BEGUN = headers(1, WHOLE[:20], END_STREAM)
"""A block of fields of which more must follow."""

FULL = WHOLE + block((b"x", b"y" * (LEAST_FRAME - len(WHOLE) - 6)))
assert len(FULL) == LEAST_FRAME

FRAME_FORMAT: tuple[Case, ...] = (
    case("4.1", "a frame of an unknown type is ignored", frame(Kind.UNKNOWN, 0xFF, 0, b"what?"), Ignores()),
    case("4.1", "so is one on a stream that is idle", frame(Kind.UNKNOWN, 0xFF, 77, b"what?"), Ignores()),
    case("4.1", "flags that are not defined are ignored", ping(flags=0xFE) + request(1), Answers()),
    case(
        "4.1",
        "so are those of DATA",
        opened(1) + frame(Kind.DATA, 0xF6 & ~PADDED | END_STREAM, 1, bytes(5)),
        Answers(),
    ),
    case(
        "4.1",
        "the reserved bit is ignored",
        opened(1) + frame(Kind.DATA, END_STREAM, 1 | 1 << 31, bytes(5)),
        Answers(),
    ),
)

FRAME_SIZE: tuple[Case, ...] = (
    case("4.2", "a frame of 2^14 octets is taken", headers(1, FULL, END_HEADERS) + data(1), Answers()),
    case(
        "4.2",
        "DATA that is larger is an error",
        opened(1) + data(1, bytes(LEAST_FRAME + 1)),
        Ends(Code.FRAME_SIZE_ERROR),
        Resets(Code.FRAME_SIZE_ERROR),
    ),
    case(
        "4.2",
        "HEADERS that are larger end the connection: what they hold is lost",
        headers(1, block(*FIELDS, (b"x", b"y" * LEAST_FRAME))),
        Ends(Code.FRAME_SIZE_ERROR),
    ),
    case(
        "4.2",
        "and so does an unknown frame",
        frame(Kind.UNKNOWN, 0, 0, bytes(LEAST_FRAME + 1)),
        Ends(Code.FRAME_SIZE_ERROR),
    ),
    case(
        "4.2",
        "SETTINGS that are larger end it",
        settings(*((99, 1) for _ in range(LEAST_FRAME // 6 + 1))),
        Ends(Code.FRAME_SIZE_ERROR),
    ),
    case("4.2", "16 MiB are not waited for", b"\xff\xff\xff\0\0\0\0\0\1", Ends(Code.FRAME_SIZE_ERROR)),
)

HEADER_BLOCKS: tuple[Case, ...] = (
    case(
        "4.3",
        "a block that cannot be decoded",
        headers(1, b"\x40" * 16 + b"\xff"),
        Ends(Code.COMPRESSION_ERROR),
    ),
    case("4.3", "a block that ends too early", headers(1, WHOLE[:-2]), Ends(Code.COMPRESSION_ERROR)),
    case("4.3", "PRIORITY inside a block", BEGUN + priority(1), Ends(Code.PROTOCOL_ERROR)),
    case("4.3", "HEADERS of another stream inside a block", BEGUN + request(3), Ends(Code.PROTOCOL_ERROR)),
    case("4.3", "PING inside a block", BEGUN + ping(), Ends(Code.PROTOCOL_ERROR)),
    case(
        "4.3",
        "a block in pieces, one of them empty",
        headers(1, WHOLE[:1], 0)
        + continuation(1, WHOLE[1:30], 0)
        + continuation(1, b"", 0)
        + continuation(1, WHOLE[30:-1], 0)
        + continuation(1, WHOLE[-1:])
        + data(1),
        Answers(),
    ),
    case(
        "4.3.1",
        "a table larger than what was allowed",
        headers(1, integer(2**20, 5, 0x20) + WHOLE),
        Ends(Code.COMPRESSION_ERROR),
    ),
)

EXTENSIONS: tuple[Case, ...] = (
    case("5.5", "an unknown frame between others", frame(0xB, 0, 1, b"?") + request(1), Answers()),
    case("5.5", "an unknown frame in a request", opened(1) + frame(0xB, 0, 1, b"?") + data(1), Answers()),
    case("5.5", "an unknown frame inside a block", BEGUN + frame(0xB, 0, 1, b"?"), Ends(Code.PROTOCOL_ERROR)),
    case("5.5", "an unknown setting", settings((0x99, 7)) + request(1), Answers()),
)

ALLOWED: tuple[Case, ...] = (
    case(
        "6.1",
        "padding",
        opened(1) + frame(Kind.DATA, PADDED | END_STREAM, 1, b"\x05" + bytes(5) + b"x" * 5),
        Answers(),
    ),
    case(
        "6.1",
        "nothing but padding",
        opened(1) + frame(Kind.DATA, PADDED, 1, b"\x09" + bytes(9)) + data(1),
        Answers(),
    ),
    case(
        "6.2",
        "padding and a priority before the fields",
        headers(1, b"\x04" + b"\0\0\0\0\xff" + WHOLE + bytes(4), END_HEADERS | PADDED | Flag.PRIORITY)
        + data(1),
        Answers(),
    ),
    case(
        "8.1",
        "DATA of no bytes before, between and behind",
        opened(1)
        + data(1, b"", 0)
        + data(1, bytes(2), 0)
        + data(1, b"", 0)
        + data(1, bytes(3), 0)
        + data(1, b""),
        Answers(),
    ),
    case(
        "8.1",
        "trailers",
        opened(1) + data(1, bytes(5), 0) + headers(1, block((b"x-checksum", b"1"))),
        Answers(),
    ),
)

FRAMING = FRAME_FORMAT + FRAME_SIZE + HEADER_BLOCKS + EXTENSIONS + ALLOWED
