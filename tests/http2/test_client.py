"""The client's side of a connection, told by what a server says."""

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from gateway.http2.faults import NoRoom
from gateway.http2.limits import Limits
from tests.http2.in_memory import Line
from tests.http2.sections.replies import CASES, HEAD, WHOLE, WHOLE_EVENTS, Case
from tests.http2.wire import (
    MOST_WINDOW,
    PREFACE,
    Code,
    Setting,
    data,
    goaway,
    headers,
    reset,
    settings,
    window,
)

pytestmark = pytest.mark.usefixtures("without_timers")


def asking(**limits: int) -> Line:
    """A client that has asked on streams 1 and 3, and is still asking on 5 and 7."""
    line = Line(server=False, limits=Limits(**limits))
    line.feed(settings())
    for end in (True, True, False, False):
        line.ask(end=end)
    line.said()
    line.events.clear()
    return line


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case) -> None:
    """The receivers are told what happened, and the server what it did; calls beside it go on."""
    line = asking()
    line.feed(case.sent)
    said = line.said()
    gone = [frame.error_code for frame in said if isinstance(frame, GoAwayFrame)]
    assert gone == ([] if case.goaway is None else [case.goaway])
    if case.goaway is not None:
        assert line.transport.closed
        line.lose()
        assert {event[1] for event in line.events if event[0] in ("reset", "over")} == {1, 3, 5, 7}
        return
    assert tuple(line.events) == case.events
    assert [(f.stream_id, f.error_code) for f in said if isinstance(f, RstStreamFrame)] == list(case.resets)
    over = {event[1] for event in line.events if event[0] in ("reset", "over")}
    assert line.transport.closed == (over == {1, 3, 5, 7})
    if 3 not in over:
        line.events.clear()
        line.feed(headers(3, b"\x88"))
        assert line.events[-1] == ("over", 3)


def test_it_begins_with_the_preface_and_allows_no_push() -> None:
    """Section 3.4, and 8.4: nobody here wants what it has not asked for."""
    line = Line(server=False)
    assert line.transport.out.startswith(PREFACE)
    first = line.said()[0]
    assert isinstance(first, SettingsFrame)
    assert first.settings[SettingsFrame.ENABLE_PUSH] == 0


def test_nothing_is_asked_before_the_server_has_said_what_it_allows() -> None:
    """And then no more than that."""
    line = Line(server=False)
    assert line.connection.room == 0
    with pytest.raises(NoRoom):
        line.ask()
    line.feed(settings((Setting.MAX_CONCURRENT_STREAMS, 2)))
    assert line.events == [("ready",), ("room",)]
    assert line.connection.room == 2
    calls = [line.ask(end=True), line.ask(end=True)]
    assert [call.stream.id for call in calls] == [1, 3]
    with pytest.raises(NoRoom):
        line.ask()
    line.feed(WHOLE)
    assert line.events[-1] == ("room",)
    line.ask()
    line.feed(settings((Setting.MAX_CONCURRENT_STREAMS, 0)))
    assert line.connection.room == 0
    line.feed(headers(3, b"\x88"))
    assert line.connection.room == 0


def test_a_connection_that_is_going_takes_no_more() -> None:
    """Nor one that is gone."""
    line = asking()
    line.feed(goaway(0, 7))
    assert line.connection.room == 0
    with pytest.raises(NoRoom):
        line.ask()
    line.lose(OSError("cut"))
    assert line.connection.room == 0
    with pytest.raises(NoRoom):
        line.ask()


@pytest.mark.parametrize(
    "first", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\x08\x06\0\0\0\0\0" + bytes(8), b"\xff" * 40]
)
def test_a_server_that_does_not_begin_with_settings_is_none(first: bytes) -> None:
    """Whatever else it says, the connection ends and takes no call."""
    line = Line(server=False)
    line.feed(first)
    assert line.transport.closed
    assert line.connection.room == 0


def test_a_connection_that_is_cut_ends_all_calls() -> None:
    """None of them is known not to have been begun; afterwards nothing can be sent, which is no error."""
    line = asking()
    line.feed(HEAD)
    line.lose(OSError("cut"))
    assert {event[1:] for event in line.events if event[0] == "reset"} == {
        (stream, event[2], False) for stream in (1, 3, 5, 7) for event in line.events if event[0] == "reset"
    }
    assert line.events[-1][0] == "lost"
    for call in line.calls.values():
        call.stream.send_data(b"x")
        call.stream.consumed(0)
        call.stream.reset()


def test_a_reset_tells_nobody_else() -> None:
    """What is under way on it then is dropped and given back; the receiver hears no more."""
    line = asking()
    line.calls[5].stream.reset()
    assert [(f.stream_id, f.error_code) for f in line.said() if isinstance(f, RstStreamFrame)] == [(5, 8)]
    line.feed(HEAD.replace(b"\0\0\0\1", b"\0\0\0\5"))
    line.feed(data(5, bytes(16_000), 0) * 3)
    line.feed(reset(5))
    assert line.events == []
    line.feed(WHOLE)
    assert tuple(line.events) == WHOLE_EVENTS


def sent(line: Line, stream: int) -> int:
    """How many bytes of DATA went out on the stream since the last time."""
    return sum(
        len(frame.data) for frame in line.said() if isinstance(frame, DataFrame) and frame.stream_id == stream
    )


def test_a_large_request_keeps_to_the_windows() -> None:
    """The stream's, the connection's, and the size of frames; whoever sends hears when all is gone."""
    line = asking()
    assert not line.calls[5].stream.send_data(bytes(200_000), end=True)
    assert sent(line, 5) == 65_535
    line.feed(window(5, 100))
    assert sent(line, 5) == 0
    line.feed(window(0, 50))
    assert sent(line, 5) == 50
    line.feed(settings((Setting.INITIAL_WINDOW_SIZE, 65_535 + 1000)) + window(0, 2000))
    assert sent(line, 5) == 1050
    line.feed(window(5, 2**20) + window(0, 2**20))
    frames = line.said()
    last = [frame for frame in frames if isinstance(frame, DataFrame)]
    assert sum(len(frame.data) for frame in last) == 200_000 - 65_535 - 50 - 1050
    assert max(len(frame.data) for frame in last) <= 16_384
    assert [("END_STREAM" in frame.flags) for frame in last] == [False] * (len(last) - 1) + [True]


def test_a_request_that_waits_holds_up_no_other() -> None:
    """Streams take turns; a small one is not behind a large one."""
    line = asking()
    line.calls[5].stream.send_data(bytes(10_000_000), end=True)
    line.said()
    line.calls[7].stream.send_data(b"small", end=True)
    assert sent(line, 7) == 0
    line.feed(window(5, MOST_WINDOW - 65_535) + window(0, 40_000))
    order = [frame.stream_id for frame in line.said() if isinstance(frame, DataFrame)]
    assert 7 in order[:2]


def test_what_waits_goes_when_its_stream_does() -> None:
    """Whoever ends it."""
    for end in ("server", "client"):
        line = asking()
        line.calls[5].stream.send_data(bytes(10_000_000), end=True)
        line.said()
        if end == "server":
            line.feed(reset(5))
        else:
            line.calls[5].stream.reset()
        line.feed(window(0, 2**20))
        assert sent(line, 5) == 0


@pytest.mark.parametrize("size", [0, 4095, 65_536])
def test_a_server_may_keep_a_table_of_any_size(size: int) -> None:
    """Blocks are written so that a decoder of that table reads them (RFC 7541 section 4.2)."""
    from hpack import Decoder

    line = Line(server=False)
    line.feed(settings((Setting.HEADER_TABLE_SIZE, size)))
    decoder = Decoder()
    decoder.header_table_size = decoder.max_allowed_table_size = size
    for _ in range(2):
        line.ask(end=True)
    heads = [frame for frame in line.said() if isinstance(frame, HeadersFrame)]
    assert len(heads) == 2
    for head in heads:
        assert (":scheme", "http") in [(str(name), str(value)) for name, value in decoder.decode(head.data)]


def test_leaving_ends_what_is_under_way_well() -> None:
    """GOAWAY, nothing new, and the connection closes behind the last reply."""
    line = asking()
    line.connection.leave()
    gone = [frame.error_code for frame in line.said() if isinstance(frame, GoAwayFrame)]
    assert set(gone) <= {Code.NO_ERROR}
    assert line.connection.room == 0
    line.feed(WHOLE)
    for stream in (3, 5, 7):
        assert not line.transport.closed
        if stream != 3:
            line.calls[stream].stream.send_data(b"", end=True)
        line.feed(headers(stream, b"\x88"))
    assert line.transport.closed
