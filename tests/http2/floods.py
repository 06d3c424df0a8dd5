"""What costs little to send without end, and how to send it until the other side has had enough."""

import itertools
from collections.abc import Callable, Iterator

from hyperframe.frame import GoAwayFrame

from tests.http2.peer import Closed, Peer
from tests.http2.wire import (
    FIELDS,
    MOST_WINDOW,
    Code,
    Kind,
    Setting,
    block,
    frame,
    opened,
    ping,
    reset,
    settings,
    window,
)
from tests.patience import PATIENT_S

MOST_GROWTH = 24 * 1024 * 1024
"""What a hostile client may make the process grow by, some of which its allocator only keeps."""

WHOLE = block(*FIELDS)
CALM = Code.ENHANCE_YOUR_CALM

RESETS: dict[str, Callable[[int], bytes]] = {
    "reset by the client": reset,
    "reset by the server, for an increment of 0": lambda stream: window(stream, 0),
    "reset by the server, for a window that is too large": lambda stream: window(stream, MOST_WINDOW),
    "reset by the server, for a short PRIORITY": lambda stream: frame(Kind.PRIORITY, 0, stream, b""),
    "reset by the server, for a second head": opened,
}
"""Ends of a stream that was just opened."""

FLOODS = {
    "SETTINGS": settings((Setting.MAX_CONCURRENT_STREAMS, 100)),
    "SETTINGS of nothing": settings(),
    "PING": ping(),
    "PRIORITY": frame(Kind.PRIORITY, 0, 1, bytes(5)),
    "unknown frames": frame(Kind.UNKNOWN, 0, 0, b""),
    "acknowledgements": ping(flags=1),
    "WINDOW_UPDATE of streams that are gone": window(1, 1),
}


def flood(peer: Peer, pieces: Iterator[bytes], most_bytes: int, first: bytes = b"") -> int | None:
    """Send until the other side has closed; its last GOAWAY's code. `first` goes before, once."""
    sent = 0
    # What is not acknowledged has its own limit.
    peer.pinged()
    peer.send(first)
    peer.sock.setblocking(False)
    for piece in pieces:
        left = memoryview(piece)
        while left:
            try:
                left = left[peer.sock.send(left) :]
            except BlockingIOError:
                peer.sock.settimeout(0.01)
                try:
                    peer.next()
                except TimeoutError:
                    pass
                except Closed:
                    return code_of(peer)
                peer.sock.setblocking(False)
            except OSError:
                peer.sock.settimeout(PATIENT_S)
                return peer.until_closed()
        sent += len(piece)
        if sent > most_bytes:
            break
    peer.sock.settimeout(PATIENT_S)
    return peer.until_closed()


def code_of(peer: Peer) -> int | None:
    """The last GOAWAY's."""
    codes = [found.error_code for found in peer.frames if isinstance(found, GoAwayFrame)]
    return codes[-1] if codes else None


def many(piece: bytes) -> Iterator[bytes]:
    """It again and again, in large writes."""
    return itertools.repeat(piece * max(1, 32_768 // len(piece)))
