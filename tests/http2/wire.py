"""HTTP/2 as bytes, right or wrong as a test wants them (RFC 9113, RFC 7541). Nothing here is of the gateway's code."""

import struct
from enum import IntEnum, IntFlag

from tests.dataplane.grpc.frames import PREFACE, Field, frame

__all__ = ["PREFACE", "Field", "frame"]


class Kind(IntEnum):
    """Frames (RFC 9113 section 6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    UNKNOWN = 0x16


class Flag(IntFlag):
    """Their flags."""

    NONE = 0
    ACK = 1
    END_STREAM = 1
    END_HEADERS = 4
    PADDED = 8
    PRIORITY = 0x20


class Code(IntEnum):
    """Errors (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Setting(IntEnum):
    """Settings (section 6.5.2)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


END_STREAM, END_HEADERS, PADDED, ACK = Flag.END_STREAM, Flag.END_HEADERS, Flag.PADDED, Flag.ACK
MOST_WINDOW = 2**31 - 1
LEAST_FRAME = 2**14

LIVE = b"/inference.GRPCInferenceService/ServerLive"
"""The path of a call that everybody may make."""

FIELDS: tuple[Field, ...] = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", LIVE),
    (b":authority", b"127.0.0.1"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)
"""A request as it should be."""

EMPTY_MESSAGE = b"\0\0\0\0\0"
"""The body of a call of that kind: one gRPC message of no bytes."""


def integer(value: int, prefix_bits: int, first: int = 0) -> bytes:
    """RFC 7541 section 5.1."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes([first | value])
    out = bytearray([first | most])
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(data: bytes) -> bytes:
    """Section 5.2, without Huffman's code."""
    return integer(len(data), 7) + data


def block(*fields: Field) -> bytes:
    """Fields as literals without indexing and with new names (section 6.2.2): they change no table."""
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def headers(stream: int, data: bytes, flags: int = END_HEADERS | END_STREAM) -> bytes:
    """HEADERS with a block of fields."""
    return frame(Kind.HEADERS, flags, stream, data)


def data(stream: int, body: bytes = EMPTY_MESSAGE, flags: int = END_STREAM) -> bytes:
    """DATA."""
    return frame(Kind.DATA, flags, stream, body)


def opened(stream: int, *more: Field) -> bytes:
    """The head of a good request; its body is yet to come."""
    return headers(stream, block(*FIELDS, *more), END_HEADERS)


def request(stream: int, *more: Field) -> bytes:
    """A good request."""
    return opened(stream, *more) + data(stream)


def instead(name: bytes, *values: bytes) -> tuple[Field, ...]:
    """A good request's fields with `name` as often as there are values."""
    found: list[Field] = []
    for key, value in FIELDS:
        found.extend(((key, each) for each in values) if key == name else ((key, value),))
    return tuple(found)


def to(path: bytes, stream: int, flags: int = END_HEADERS | END_STREAM) -> bytes:
    """A request to this path, without a body."""
    return headers(stream, block(*instead(b":path", path)), flags)


def settings(*pairs: tuple[int, int]) -> bytes:
    """SETTINGS."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def reset(stream: int, code: int = Code.CANCEL) -> bytes:
    """RST_STREAM."""
    return frame(Kind.RST_STREAM, 0, stream, struct.pack(">I", code))


def window(stream: int, increment: int) -> bytes:
    """WINDOW_UPDATE."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def priority(stream: int, depends_on: int = 0) -> bytes:
    """PRIORITY."""
    return frame(Kind.PRIORITY, 0, stream, struct.pack(">IB", depends_on, 15))


def ping(payload: bytes = b"are you?", flags: int = 0, stream: int = 0) -> bytes:
    """PING."""
    return frame(Kind.PING, flags, stream, payload)


def goaway(code: int = Code.NO_ERROR, last: int = 0, stream: int = 0) -> bytes:
    """GOAWAY."""
    return frame(Kind.GOAWAY, 0, stream, struct.pack(">II", last, code) + b"why")


def continuation(stream: int, piece: bytes, flags: int = END_HEADERS) -> bytes:
    """CONTINUATION."""
    return frame(Kind.CONTINUATION, flags, stream, piece)
