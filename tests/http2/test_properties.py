"""What holds for any frames, in any pieces."""

import itertools
from collections.abc import Sequence

import pytest
from hyperframe.frame import DataFrame, Frame, WindowUpdateFrame
from hypothesis import given
from hypothesis import strategies as st

from gateway.http2.limits import Limits
from tests.http2.in_memory import Line
from tests.http2.wire import (
    ACK,
    END_STREAM,
    FIELDS,
    MOST_WINDOW,
    PADDED,
    PREFACE,
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
    reset,
    settings,
    window,
)

pytestmark = pytest.mark.usefixtures("without_timers")

LIMITS = Limits(ping_s=0.0)
WHOLE = block(*FIELDS)
SIZES = st.lists(st.one_of(st.integers(1, 30), st.integers(1, 20_000)), max_size=60)
BODY = st.one_of(st.binary(max_size=40), st.integers(0, 16_384).map(bytes))


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """What a good client says: requests of every shape, side by side, with control frames between them."""
    said = [
        PREFACE,
        settings(*draw(st.lists(st.sampled_from([(4, 70_000), (4, 10), (3, 5), (1, 0), (99, 1)])))),
    ]
    ways = draw(st.lists(st.lists(_pieces(), max_size=5), max_size=8))
    lines = []
    for number, pieces in enumerate(ways):
        stream = 2 * number + 1
        lines.append([_head(draw, stream), *(piece(stream) for piece in pieces), draw(_ends())(stream)])
    # The heads in their order; what is behind them as it comes.
    said.extend(line.pop(0) for line in lines)
    rest = list(itertools.chain.from_iterable(lines))
    said.extend(rest if draw(st.booleans()) else itertools.chain.from_iterable(zip(*lines, strict=False)))
    return b"".join(said)


def _head(draw: st.DrawFn, stream: int) -> bytes:
    cut = draw(st.integers(0, len(WHOLE)))
    return draw(
        st.sampled_from(
            [
                opened(stream),
                headers(stream, WHOLE[:cut], 0) + continuation(stream, WHOLE[cut:]),
                headers(stream, b"\x03\0\0\0\0\x0f" + WHOLE + bytes(3), 4 | PADDED | 0x20),
            ]
        )
    )


def _pieces() -> st.SearchStrategy:
    return st.one_of(
        BODY.map(lambda body: lambda stream: data(stream, body, 0)),
        BODY.map(
            lambda body: lambda stream: frame(Kind.DATA, PADDED, stream, b"\x05" + body[:16_000] + bytes(5))
        ),
        st.sampled_from(
            [
                lambda stream: ping(),
                priority,
                lambda stream: window(stream, 100),
                lambda stream: window(0, 7),
                lambda stream: frame(0xBE, 3, stream, b"?"),
                lambda stream: settings((Setting.INITIAL_WINDOW_SIZE, 3)),
                lambda stream: frame(Kind.SETTINGS, ACK, 0),
            ]
        ),
    )


def _ends() -> st.SearchStrategy:
    return st.sampled_from(
        [
            lambda stream: data(stream, b"xyz"),
            lambda stream: data(stream, b""),
            lambda stream: headers(stream, block((b"x", b"y"))),
            reset,
            lambda stream: frame(Kind.DATA, PADDED | END_STREAM, stream, b"\x01z\0"),
            lambda stream: b"",
        ]
    )


def without_windows(frames: Sequence[Frame]) -> list[str]:
    """What was sent, but for when windows were given back, which goes by pieces."""
    return [repr(found) for found in frames if not isinstance(found, WindowUpdateFrame)]


@given(conversations(), SIZES)
def test_pieces_make_no_difference(said: bytes, sizes: list[int]) -> None:
    """However TCP cuts it, the same is understood and the same is answered; no good conversation is an error."""
    whole, cut = Line(server=True, limits=LIMITS), Line(server=True, limits=LIMITS)
    whole.feed(said)
    cut.feed(said, sizes)
    assert cut.events == whole.events
    assert sorted(without_windows(cut.said())) == sorted(without_windows(whole.said()))
    assert not any(event[0] == "lost" for event in whole.events)
    assert not whole.transport.closed


@given(st.binary(max_size=300), SIZES, st.booleans())
def test_pieces_make_no_difference_to_garbage(said: bytes, sizes: list[int], begun: bool) -> None:
    """Behind a good beginning, or from the first byte."""
    begin = PREFACE + settings() + opened(1) if begun else b""
    whole, cut = Line(server=True, limits=LIMITS), Line(server=True, limits=LIMITS)
    whole.feed(begin + said)
    cut.feed(begin + said, sizes)
    assert cut.meaning() == whole.meaning()
    assert cut.transport.closed == whole.transport.closed


WINDOW_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("window"), st.sampled_from([0, 1, 3, 5]), st.integers(1, 50_000)),
        st.tuples(st.just("initial"), st.just(0), st.integers(0, 100_000)),
        st.tuples(st.just("frame"), st.just(0), st.sampled_from([16_384, 16_385, 40_000])),
        st.tuples(st.just("send"), st.sampled_from([1, 3, 5]), st.integers(0, 60_000)),
        st.tuples(st.just("end"), st.sampled_from([1, 3, 5]), st.just(0)),
        st.tuples(st.just("reset"), st.sampled_from([1, 3, 5]), st.just(0)),
    ),
    max_size=40,
)


@given(WINDOW_STEPS)
def test_windows_are_kept(steps: list[tuple[str, int, int]]) -> None:
    """At every moment: nothing beyond a window or a frame's size, nothing lost, and all that may go has gone."""
    line = Line(server=False)
    line.feed(settings())
    for _ in range(3):
        line.ask()
    line.said()
    initial, largest, connection = 65_535, 16_384, 65_535
    allowed = dict.fromkeys((1, 3, 5), 65_535)
    waiting = dict.fromkeys((1, 3, 5), 0)
    ending: set[int] = set()
    ended: set[int] = set()
    for what, stream, count in steps:
        if what == "window":
            line.feed(window(stream, count))
            if stream:
                allowed[stream] += count
            else:
                connection += count
        elif what == "initial":
            line.feed(settings((Setting.INITIAL_WINDOW_SIZE, count)))
            for each in allowed:
                allowed[each] += count - initial
            initial = count
        elif what == "frame":
            line.feed(settings((Setting.MAX_FRAME_SIZE, count)))
            largest = count
        elif what == "send" and stream not in ending:
            line.calls[stream].stream.send_data(bytes(count))
            waiting[stream] += count
        elif what == "end" and stream not in ending:
            line.calls[stream].stream.send_data(b"", end=True)
            ending.add(stream)
        elif what == "reset" and stream not in ended:
            line.calls[stream].stream.reset()
            waiting[stream] = 0
            ending.add(stream)
            ended.add(stream)
        for found in line.said():
            if not isinstance(found, DataFrame):
                continue
            size = len(found.data)
            assert found.stream_id not in ended
            assert size <= largest
            allowed[found.stream_id] -= size
            connection -= size
            waiting[found.stream_id] -= size
            assert size == 0 or min(allowed[found.stream_id], connection) >= 0
            assert waiting[found.stream_id] >= 0
            if "END_STREAM" in found.flags:
                assert waiting[found.stream_id] == 0
                ended.add(found.stream_id)
        for each, left in waiting.items():
            assert left == 0 or allowed[each] <= 0 or connection == 0, "it could have been sent"
            assert left or each not in ending or each in ended, "its end could have been sent"


@given(st.lists(st.tuples(st.sampled_from([1, 3]), st.integers(0, 16_384), st.booleans()), max_size=60))
def test_what_is_consumed_is_allowed_again(pieces: list[tuple[int, int, bool]]) -> None:
    """A sender that keeps to the windows it is given is never stopped, and never told that it did wrong."""
    line = Line(server=True, limits=LIMITS)
    line.feed(PREFACE + settings() + opened(1) + opened(3))
    allowed = {0: 65_535, 1: 65_535, 3: 65_535}
    for stream, size, padded in pieces:
        for found in line.said():
            if isinstance(found, WindowUpdateFrame):
                allowed[found.stream_id] += found.window_increment
        assert min(allowed.values()) >= 16_384, "half a window at the least is there"
        assert max(allowed.values()) <= MOST_WINDOW
        pad = b"\x10" if padded else b""
        body = pad + bytes(max(0, size - len(pad) - 16 * padded)) + bytes(16 * padded)
        line.feed(frame(Kind.DATA, PADDED * padded, stream, body[:16_384]))
        for each in (0, stream):
            allowed[each] -= len(body[:16_384])
    assert not line.transport.closed


def test_an_end_of_a_client_is_no_error() -> None:
    """GOAWAY behind everything."""
    line = Line(server=True)
    line.feed(PREFACE + settings() + opened(1) + data(1) + goaway())
    assert ("over", 1) in line.events
