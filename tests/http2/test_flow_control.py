"""Flow control (RFC 9113 sections 5.2 and 6.9): nobody sends more than the other side has allowed, and what was allowed comes back."""

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, RstStreamFrame, SettingsFrame

from tests.http2.conftest import Running
from tests.http2.peer import GOOD, Closed, Peer
from tests.http2.wire import (
    END_HEADERS,
    MOST_WINDOW,
    PADDED,
    PREFACE,
    Code,
    Kind,
    Setting,
    data,
    frame,
    opened,
    request,
    reset,
    settings,
    to,
    window,
)

FIRST_WINDOW = 65_535


def allowing(size: int) -> bytes:
    """SETTINGS that allow so many bytes on each stream."""
    return settings((Setting.INITIAL_WINDOW_SIZE, size))


def heard(peer: Peer, stream: int = 1) -> int:
    """How many bytes have come on the stream, once all that was sent here has been read there."""
    peer.pinged()
    return peer.body.get(stream, 0)


def test_a_window_is_kept_to_the_byte(server: Running) -> None:
    """However it grows: by updates, or by SETTINGS behind the request."""
    with Peer(server.address, hello=PREFACE + allowing(1)) as peer:
        peer.send(to(b"/large/1000", 1))
        peer.until(lambda found: isinstance(found, DataFrame))
        assert heard(peer) == 1
        peer.send(window(1, 1))
        assert heard(peer) == 2
        peer.send(allowing(10))
        assert heard(peer) == 11
        peer.send(allowing(20), window(1, 5))
        assert heard(peer) == 26
        peer.send(window(1, 10_000))
        assert peer.answered(1) == "0"
        assert peer.body[1] == 1000


def test_no_window_lets_the_head_pass_and_nothing_else(server: Running) -> None:
    """The end waits behind the data."""
    with Peer(server.address, hello=PREFACE + allowing(0)) as peer:
        peer.send(request(1))
        peer.until(lambda found: found.stream_id == 1)
        assert heard(peer) == 0
        assert not any("END_STREAM" in found.flags for found in peer.frames if found.stream_id == 1)
        peer.send(window(1, 5))
        assert peer.answered(1) == "0"


def test_a_window_can_be_negative(server: Running) -> None:
    """It must be made up for before anything comes."""
    with Peer(server.address, hello=PREFACE + allowing(50)) as peer:
        peer.send(to(b"/large/1000", 1))
        peer.until(lambda found: isinstance(found, DataFrame))
        assert heard(peer) == 50
        peer.send(allowing(20))
        assert heard(peer) == 50
        peer.send(window(1, 30))
        assert heard(peer) == 50
        peer.send(window(1, 1))
        assert heard(peer) == 51
        peer.send(allowing(0), allowing(2))
        assert heard(peer) == 51
        peer.send(window(1, 20))
        assert heard(peer) == 53


def test_of_two_values_the_last_counts(server: Running) -> None:
    """Within one frame of SETTINGS, which is acknowledged once (section 6.5.3)."""
    with Peer(
        server.address,
        hello=PREFACE + settings((Setting.INITIAL_WINDOW_SIZE, 100), (Setting.INITIAL_WINDOW_SIZE, 7)),
    ) as peer:
        peer.send(to(b"/large/1000", 1))
        peer.until(lambda found: isinstance(found, DataFrame))
        assert heard(peer) == 7
        acks = [found for found in peer.frames if isinstance(found, SettingsFrame) and "ACK" in found.flags]
        assert len(acks) == 1


def test_the_connection_has_a_window_of_its_own(server: Running) -> None:
    """All streams share it, and a stream that is reset frees the others."""
    with Peer(server.address, hello=PREFACE + allowing(MOST_WINDOW)) as peer:
        peer.send(to(b"/large/60000", 1), to(b"/large/60000", 3))
        while peer.body.get(1, 0) + peer.body.get(3, 0) < FIRST_WINDOW:
            peer.next()
        assert heard(peer, 1) + heard(peer, 3) == FIRST_WINDOW
        peer.send(window(0, 10))
        assert heard(peer, 1) + heard(peer, 3) == FIRST_WINDOW + 10
        waiting = 1 if peer.body.get(1, 0) < 60_000 else 3
        peer.send(reset(waiting), window(0, 1_000_000))
        peer.goes_on(5)


@pytest.mark.parametrize("size", [2**14, 2**14 + 1, 100_000, 2**24 - 1])
def test_frames_are_not_larger_than_allowed(server: Running, size: int) -> None:
    """Nor smaller than need be for that."""
    with Peer(server.address, hello=PREFACE + settings((Setting.MAX_FRAME_SIZE, size))) as peer:
        peer.send(allowing(MOST_WINDOW), window(0, 2**20), to(b"/large/500000", 1))
        assert peer.answered(1) == "0"
        assert max(found.body_len for found in peer.frames) <= size
        assert peer.body[1] == 500_000


# --- what the other side may send ---


def window_of(peer: Peer) -> int:
    """What the server allows on each stream."""
    found = peer.until(lambda found: isinstance(found, SettingsFrame) and "ACK" not in found.flags)
    assert isinstance(found, SettingsFrame)
    return found.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, FIRST_WINDOW)


def pieces(stream: int, count: int) -> bytes:
    """DATA frames of so many bytes, which do not end the stream."""
    sizes = [2**14] * (count // 2**14) + [count % 2**14]
    return b"".join(data(stream, bytes(size), 0) for size in sizes)


def test_more_than_a_stream_may_hold_is_an_error_of_the_stream(server: Running) -> None:
    """FLOW_CONTROL_ERROR; to the byte."""
    with Peer(server.address) as peer:
        allowed = window_of(peer)
        peer.send(to(b"/hold", 1, END_HEADERS), pieces(1, allowed))
        peer.pinged()
        peer.send(data(1, b"x", 0))
        found = peer.until(lambda found: isinstance(found, RstStreamFrame | GoAwayFrame))
        assert isinstance(found, RstStreamFrame)
        assert (found.stream_id, found.error_code) == (1, Code.FLOW_CONTROL_ERROR)
        peer.goes_on()


def test_more_than_the_connection_may_hold_ends_it(server: Running) -> None:
    """FLOW_CONTROL_ERROR, however many streams share in it."""
    with Peer(server.address) as peer:
        allowed = window_of(peer)
        for number in range(1, 201, 2):
            peer.send(to(b"/hold", number, END_HEADERS), pieces(number, allowed))
            try:
                peer.pinged()
            except Closed:
                break
        assert peer.until_closed() == Code.FLOW_CONTROL_ERROR


def test_what_was_held_comes_back_when_its_stream_is_reset(server: Running) -> None:
    """Else a connection would run dry."""
    with Peer(server.address) as peer:
        allowed = window_of(peer)
        for number in range(1, 401, 2):
            peer.send(to(b"/hold", number, END_HEADERS), pieces(number, allowed))
            peer.pinged()
            peer.send(reset(number))
        peer.goes_on(401)


def test_what_comes_on_a_stream_that_is_gone_comes_back_too(server: Running) -> None:
    """DATA that was under way when the server reset it."""
    with Peer(server.address) as peer:
        allowed = window_of(peer)
        for number in range(1, 301, 2):
            peer.send(opened(number, (b"Upper", b"x")), pieces(number, allowed))
            peer.pinged()
        peer.goes_on(301)


def test_padding_comes_back(server: Running) -> None:
    """Nobody else would give it back, as nobody sees it."""
    padding = frame(Kind.DATA, PADDED, 1, b"\xff" + bytes(256))
    with Peer(server.address) as peer:
        allowed = window_of(peer)
        peer.send(opened(1), data(1, bytes(5), 0))
        sent = 5
        # The stream's window at a time, so that it is never overdrawn; a byte of each frame is the body's.
        for _ in range(3):
            for _ in range((allowed - 1000) // 257):
                peer.send(padding)
                sent += 1
            peer.pinged()
        peer.send(data(1, b""))
        assert peer.answered(1) == "0"
        peer.goes_on(GOOD)
