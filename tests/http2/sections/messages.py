"""RFC 9113 section 8: requests that are malformed are a stream error, PROTOCOL_ERROR, and nobody else's loss."""

from tests.http2.case import Answers, Case, Resets, case
from tests.http2.wire import (
    END_HEADERS,
    FIELDS,
    Code,
    Field,
    block,
    data,
    headers,
    instead,
    opened,
)

MALFORMED = Resets(Code.PROTOCOL_ERROR)


def asked(*fields: Field) -> bytes:
    """A request with exactly these fields."""
    return headers(1, block(*fields), END_HEADERS) + data(1)


def wrong(section: str, what: str, *fields: Field) -> Case:
    """Such a request is malformed."""
    return case(section, what, asked(*fields), MALFORMED)


def trailed(*fields: Field) -> bytes:
    """A request with trailers."""
    return opened(1) + data(1, flags=0) + headers(1, block(*fields))


EXCHANGE: tuple[Case, ...] = (
    case(
        "8.1",
        "fields in the middle of a request, which do not end it",
        opened(1) + data(1, flags=0) + headers(1, block((b"x", b"y")), END_HEADERS) + data(1, b""),
        MALFORMED,
    ),
    case("8.1", "a second head at once", opened(1) + headers(1, block(*FIELDS), END_HEADERS), MALFORMED),
)

LENGTHS: tuple[Case, ...] = (
    case("8.1.1", "a content-length that is true", opened(1, (b"content-length", b"5")) + data(1), Answers()),
    *(
        case(
            "8.1.1",
            f"content-length {length} of {sent}",
            opened(1, (b"content-length", b"%d" % length)) + pieces,
            MALFORMED,
        )
        for length, sent, pieces in (
            (1, "5", data(1)),
            (6, "5", data(1)),
            (4, "2 + 3", data(1, bytes(2), 0) + data(1, bytes(3))),
            (6, "2 + 3", data(1, bytes(2), 0) + data(1, bytes(3))),
            (5, "5 + 1", data(1, flags=0) + data(1, b"x")),
            (5, "none", data(1, b"")),
            (6, "5 and trailers", data(1, flags=0) + headers(1, block((b"x", b"y")))),
        )
    ),
    case(
        "8.1.1",
        "content-length of a request without a body",
        headers(1, block(*FIELDS, (b"content-length", b"5"))),
        MALFORMED,
    ),
    *(
        wrong("8.1.1", f"content-length {text!r}", *FIELDS, (b"content-length", text))
        for text in (b"", b"-5", b"+5", b"5x", b"0x5", b"5,5", b"5, 6", b"5 ", b"\xd9\xa5", b"9" * 40)
    ),
    wrong("8.1.1", "two lengths", *FIELDS, (b"content-length", b"5"), (b"content-length", b"6")),
)

NAMES: tuple[Case, ...] = (
    wrong("8.2.1", "upper case", *FIELDS, (b"X-Upper", b"1")),
    *(
        wrong("8.2.1", f"a name with {bad!r}", *FIELDS, (b"x" + bad + b"y", b"1"))
        for bad in (b"\0", b"\n", b"\r", b" ", b"\t", b":", b"A", b"Z", b"\x1f", b"\x7f", b"\x80", b"\xff")
    ),
    wrong("8.2.1", "a name of no bytes", *FIELDS, (b"", b"1")),
    *(
        wrong("8.2.1", f"a value with {bad!r}", *FIELDS, (b"x", b"y" + bad + b"z"))
        for bad in (b"\0", b"\n", b"\r", b"\r\nx: y")
    ),
    *(
        wrong("8.2.1", f"a value {value!r}", *FIELDS, (b"x", value))
        for value in (b" y", b"y ", b"\ty", b"y\t", b" ")
    ),
    wrong("8.2.1", "a line break in a path", *instead(b":path", b"/a\r\nx: y")),
    wrong("8.2.1", "a space in a path", *instead(b":path", b"/a b")),
    case("8.2.1", "upper case in trailers", trailed((b"X-Upper", b"1")), MALFORMED),
    case(
        "8.2.1",
        "all other bytes may stand in a value",
        asked(*FIELDS, (b"x", bytes(range(33, 127)) + b"\t \x80\xff.")),
        Answers(),
    ),
)

CONNECTION_SPECIFIC: tuple[Case, ...] = (
    *(
        wrong("8.2.2", name.decode(), *FIELDS, (name, value))
        for name, value in (
            (b"connection", b"keep-alive"),
            (b"keep-alive", b"timeout=5"),
            (b"proxy-connection", b"keep-alive"),
            (b"transfer-encoding", b"chunked"),
            (b"upgrade", b"h2c"),
        )
    ),
    *(
        wrong("8.2.2", f"te: {value.decode()}", *instead(b"te", value))
        for value in (b"gzip", b"trailers, deflate", b"")
    ),
    case("8.2.2", "connection in trailers", trailed((b"connection", b"close")), MALFORMED),
)

PSEUDO: tuple[Case, ...] = (
    *(wrong("8.3.1", f"no {name.decode()}", *instead(name)) for name in (b":method", b":scheme", b":path")),
    *(wrong("8.3.1", f"{name.decode()} twice", *instead(name, value, value)) for name, value in FIELDS[:4]),
    *(
        wrong("8.3.1", f"{name.decode()} of no bytes", *instead(name, b""))
        for name in (b":method", b":scheme", b":path")
    ),
    wrong("8.3.1", "a path that does not begin with /", *instead(b":path", b"inference")),
    wrong("8.3", ":authority behind a plain field", *instead(b":authority"), (b":authority", b"x")),
    wrong("8.3", ":path behind a plain field", *instead(b":path"), (b":path", b"/")),
    wrong("8.3", "an unknown one", (b":unknown", b"1"), *FIELDS),
    wrong("8.3", "that of a reply", (b":status", b"200"), *FIELDS),
    wrong("8.3", "that of a reply behind the others", *FIELDS, (b":status", b"200")),
    wrong("8.5", ":protocol that was not agreed on", (b":protocol", b"websocket"), *FIELDS),
    case("8.1", "one in trailers", trailed((b":path", b"/")), MALFORMED),
    case("8.1", "that of a reply in trailers", trailed((b":status", b"200")), MALFORMED),
    wrong("8.5", "CONNECT with a path", *instead(b":method", b"CONNECT")),
    case("8.3.1", "the order of pseudo-header fields is free", asked(*FIELDS[3::-1], *FIELDS[4:]), Answers()),
)

MESSAGES = EXCHANGE + LENGTHS + NAMES + CONNECTION_SPECIFIC + PSEUDO
