"""What must hold for any bytes, from a client or from a server, in whatever pieces they come."""

import random
import time
import tracemalloc

from gateway.http2.limits import Limits
from tests.http2.in_memory import Line
from tests.http2.wire import PREFACE, opened, settings

LIMITS = Limits(header_list_bytes=8192, streams=20)
MOST_BYTES_KEPT = 4 * 1024 * 1024
MOST_SENT_FOR_A_BYTE = 64
MOST_SECONDS = 20.0
"""Of this thread's computing, for one input of some kilobytes; it takes milliseconds."""
_ATTEMPTS = 10
"""What other threads of the process take meanwhile counts too."""


def as_server(data: bytes, sizes: list[int]) -> Line:
    """A server that reads this behind a good beginning, and while a request is under way."""
    line = Line(server=True, limits=LIMITS)
    line.feed(PREFACE + settings() + opened(1))
    _read(line, data, sizes)
    return line


def as_client(data: bytes, sizes: list[int]) -> Line:
    """A client that has asked on streams 1 and 3, is still sending on 5, where the window is used up, and on 7."""
    line = Line(server=False, limits=LIMITS)
    line.feed(settings())
    for end in (True, True, False, False):
        line.ask(end=end)
    line.calls[5].stream.send_data(bytes(100_000))
    _read(line, data, sizes)
    for call in line.calls.values():
        call.stream.send_data(b"late", end=True)
    return line


ROLES = {"server": as_server, "client": as_client}


def _read(line: Line, data: bytes, sizes: list[int]) -> None:
    before = len(line.transport.out)
    began = time.thread_time()
    line.feed(data, sizes)
    line.connection.tick(time.monotonic() + 1.0)
    sent = len(line.transport.out) - before
    line.lose()
    assert time.thread_time() - began < MOST_SECONDS
    # A client's large request goes out as the windows open, whatever opened them.
    assert sent <= MOST_SENT_FOR_A_BYTE * len(data) + 200_000
    assert not line.connection.streams
    _check_events(line)


def _check_events(line: Line) -> None:
    """Each call hears of its end, and of nothing that came behind it; it is reset once at most. The connection's own end is the last."""
    assert [event[0] for event in line.events].count("lost") == 1
    assert line.events[-1][0] == "lost"
    over: set[int] = set()
    resets: set[int] = set()
    for what, *more in line.events:
        if what in ("head", "data", "trailers", "over"):
            assert more[0] not in over | resets, (what, more[0])
        if what == "reset":
            assert more[0] not in resets, more[0]
            resets.add(more[0])
        elif what == "over":
            over.add(more[0])
    assert over | resets == set(line.calls), "a call was left alone"


def replay(role: str, data: bytes) -> Line:
    """Read it whole, a byte at a time where it is small, and in pieces of a size by chance that is the same each time."""
    chance = random.Random(data)
    whole = ROLES[role](data, [])
    cuts = [chance.choice((1, 2, 8, 9, 10, 50, 1000)) for _ in range(200)]
    for sizes in ([1] * len(data) if len(data) < 600 else cuts, cuts):
        cut = ROLES[role](data, sizes)
        assert cut.meaning() == whole.meaning()
    return whole


def replay_bounded(role: str, data: bytes) -> None:
    """The same, and what is kept of it while it is read is bounded."""
    assert any(_kept_bytes(role, data) < MOST_BYTES_KEPT for _ in range(_ATTEMPTS))


def _kept_bytes(role: str, data: bytes) -> int:
    tracemalloc.start()
    try:
        replay(role, data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
