"""The server's side of a connection, where timing matters: it leaves, and it lets go."""

import time

import pytest
from hyperframe.frame import Frame, GoAwayFrame, PingFrame, RstStreamFrame

from gateway.http2 import codes
from gateway.http2.limits import Limits
from tests.http2.in_memory import Line
from tests.http2.wire import (
    ACK,
    MOST_WINDOW,
    PREFACE,
    Code,
    Kind,
    data,
    frame,
    opened,
    ping,
    request,
    reset,
    settings,
    window,
)

pytestmark = pytest.mark.usefixtures("without_timers")


def serving(*, limits: Limits | None = None) -> Line:
    """A server with a client that has begun well."""
    line = Line(server=True, limits=limits)
    line.feed(PREFACE + settings() + frame(Kind.SETTINGS, ACK, 0))
    line.said()
    return line


def gone(frames: list[Frame]) -> list[tuple[int, int]]:
    """The GOAWAYs among them: last stream and code."""
    return [(found.last_stream_id, found.error_code) for found in frames if isinstance(found, GoAwayFrame)]


def words(frames: list[Frame]) -> list[bytes]:
    """What the GOAWAYs among them say."""
    return [bytes(found.additional_data) for found in frames if isinstance(found, GoAwayFrame)]


def leaving() -> Line:
    """A server that has said that it leaves, while a request on stream 1 is under way, and has been heard."""
    line = serving()
    line.feed(opened(1))
    line.said()
    line.connection.leave()
    said = line.said()
    assert gone(said) == [(MOST_WINDOW, Code.NO_ERROR)]
    (asked,) = [found for found in said if isinstance(found, PingFrame)]
    # What the client sent before it heard of that is served.
    line.feed(request(3) + ping(asked.opaque_data, ACK))
    assert gone(line.said()) == [(3, Code.NO_ERROR)]
    return line


def test_leaving_loses_nothing_that_was_on_its_way() -> None:
    """GOAWAY twice: announced, and final after a round trip (section 6.8); the connection ends behind the last reply."""
    line = leaving()
    assert ("over", 3) in line.events
    assert not line.transport.closed
    line.feed(data(1))
    assert ("over", 1) in line.events
    assert line.transport.closed


@pytest.mark.parametrize(
    "late",
    [
        request(5),
        opened(5) + reset(5),
        opened(5) + window(5, 10) + data(5),
        opened(5) + window(5, MOST_WINDOW),
        opened(5) + request(7),
    ],
    ids=["a request", "a reset", "an update of its window", "one that is too large", "two requests"],
)
def test_what_comes_behind_the_end_is_ignored(late: bytes) -> None:
    """It is not served, and ends nothing: its client knows that it was not begun (section 6.8)."""
    line = leaving()
    before = list(line.events)
    line.feed(late)
    assert line.events == before
    assert not any(isinstance(found, GoAwayFrame | RstStreamFrame) for found in line.said())
    line.feed(data(1))
    assert ("over", 1) in line.events


def test_leaving_with_nothing_under_way_is_leaving() -> None:
    """GOAWAY, and the connection ends."""
    line = serving()
    line.connection.leave()
    assert gone(line.said())[-1][1] == Code.NO_ERROR
    assert line.transport.closed


def test_closing_tells_why() -> None:
    """And ends what is under way."""
    line = serving()
    line.feed(opened(1))
    line.connection.close(codes.Code.ENHANCE_YOUR_CALM, "enough")
    said = line.said()
    assert gone(said) == [(1, Code.ENHANCE_YOUR_CALM)]
    assert words(said) == [b"enough"]
    assert line.events[-1][:2] == ("reset", 1)
    line.lose()
    assert line.events[-1][0] == "lost"
    line.feed(request(3))
    assert line.events[-1][0] == "lost"


def test_pings_that_come_too_often_are_too_many() -> None:
    """As gRPC's servers have it, in the words that its clients know; those behind replies are none of that."""
    line = serving()
    for stream in range(1, 41, 2):
        line.feed(ping() + request(stream))
    assert not gone(line.said())
    line.feed(ping() * 4)
    said = line.said()
    assert gone(said) == [(39, Code.ENHANCE_YOUR_CALM)]
    assert words(said) == [b"too_many_pings"]


def test_a_request_is_told_as_it_stands() -> None:
    """Fields in order, body, trailers."""
    line = serving()
    line.feed(
        opened(1, (b"x", b"1"), (b"x", b"2"), (b"cookie", b"a=b")) + data(1, b"abc", 0) + data(1, b"de")
    )
    request_event, *rest = line.events[1:]
    assert request_event[2][-3:] == ((b"x", b"1"), (b"x", b"2"), (b"cookie", b"a=b"))
    assert rest == [("data", 1, b"abcde"), ("over", 1)]


def test_idle_connections_are_let_go() -> None:
    """Well, and only while nothing is under way."""
    line = serving(limits=Limits(idle_s=10.0))
    now = time.monotonic()
    line.feed(opened(1))
    for later in (1, 20, 40):
        line.connection.tick(now + later)
    assert not line.transport.closed
    line.feed(data(1))
    line.connection.tick(now + 45)
    assert not line.transport.closed
    line.connection.tick(now + 55)
    assert line.transport.closed
    assert gone(line.said())[-1][1] == Code.NO_ERROR
