"""Clients that let others wait (RFC 9113 sections 3.4 and 6.5.3): a second here, longer elsewhere, and they are let go."""

import pytest

from tests.http2.conftest import Running
from tests.http2.floods import WHOLE
from tests.http2.peer import Closed, Peer
from tests.http2.wire import PREFACE, Code, Kind, frame, headers, ping, request, settings, window


@pytest.mark.parametrize(
    "hello",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(PREFACE[:10], id="half a preface"),
        pytest.param(PREFACE, id="no SETTINGS"),
        pytest.param(PREFACE + settings()[:5], id="half of SETTINGS"),
    ],
)
def test_who_does_not_begin_is_let_go(hasty_server: Running, hello: bytes) -> None:
    """Whatever of its beginning is there."""
    with Peer(hasty_server.address, hello=hello) as peer:
        # An acknowledgement would be taken for the rest of what is missing.
        peer.acknowledges = False
        assert peer.until_closed() == Code.SETTINGS_TIMEOUT


def test_who_begins_a_byte_now_and_then_is_let_go(hasty_server: Running) -> None:
    """What counts is when it is whole."""
    with Peer(hasty_server.address, hello=b"") as peer:
        peer.sock.settimeout(0.1)
        for byte in PREFACE + settings(*[(99, 1)] * 200):
            peer.send(bytes([byte]))
            try:
                peer.next()
            except TimeoutError:
                pass
            except Closed:
                return
    pytest.fail("it was waited for")


def test_who_speaks_something_else_is_told_so(hasty_server: Running) -> None:
    """An invalid preface ends the connection (section 3.4), at once."""
    for hello in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\0\xff",
        PREFACE[:-2] + b"xx",
        bytes(100),
    ):
        with Peer(hasty_server.address, hello=hello) as peer:
            assert peer.until_closed() == Code.PROTOCOL_ERROR


def test_the_first_frame_is_settings(hasty_server: Running) -> None:
    """Of both sides (section 3.4)."""
    for first in (
        ping(),
        request(1),
        window(0, 5),
        frame(Kind.UNKNOWN, 0, 0),
        settings(),
        frame(Kind.SETTINGS, 1, 0),
    ):
        with Peer(hasty_server.address, hello=PREFACE + first) as peer:
            if first == settings():
                peer.goes_on()
            else:
                assert peer.until_closed() == Code.PROTOCOL_ERROR
            assert peer.frames[0].__class__.__name__ == "SettingsFrame"


def test_who_does_not_acknowledge_settings_is_let_go(hasty_server: Running) -> None:
    """SETTINGS_TIMEOUT (section 6.5.3)."""
    with Peer(hasty_server.address) as peer:
        peer.acknowledges = False
        assert peer.until_closed() == Code.SETTINGS_TIMEOUT


def test_a_block_that_is_not_ended_is_not_waited_for(hasty_server: Running) -> None:
    """It is no request yet: the connection is idle."""
    with Peer(hasty_server.address) as peer:
        peer.pinged()
        peer.send(headers(1, WHOLE[:20], 0))
        assert peer.until_closed() == Code.NO_ERROR
