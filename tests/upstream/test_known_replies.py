"""A reply's head that was understood before is not parsed again: what reaches the caller is the same."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.types import OPERATIONS
from gateway.upstream.exchange import Exchange, Headers
from gateway.upstream.triton_http import TritonConnection
from gateway.upstream.triton_reply import KnownReplies

GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


LOOP = asyncio.new_event_loop()


class Forgetful(KnownReplies):
    """Knows nothing, so that all is parsed."""

    def learn(self, *_: object) -> None:
        """Do not."""


class Wire(asyncio.Transport):
    """A socket that nothing is behind."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: object) -> None: ...
    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Caller:
    """Takes replies over one connection, and tells all that it saw."""

    def __init__(self, known: KnownReplies) -> None:
        self.known = known
        self.idle = 0
        self._wire = Wire()
        self._connection = TritonConnection(b"x", 16_384, known, self._released)
        self._connection.connection_made(self._wire)
        self.seen: list[Any] = []

    def _released(self, _: TritonConnection) -> None:
        self.idle += 1

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.seen.append((status, headers, body))

    def reply_head(self, status: int, headers: Headers, length: int | None, source: object) -> None:
        self.seen.append((status, headers, length))

    def reply_data(self, data: bytes | memoryview) -> None:
        self.seen.append(bytes(data))

    def reply_end(self) -> None:
        self.seen.append("end")

    def call(self, *reads: bytes) -> None:
        """One call, and what each read brings of its reply."""
        if self._wire.aborted or not self._connection.usable:
            self.seen.append("no connection")
            return
        done = LOOP.create_future()
        exchange = Exchange(OPERATIONS["ready"], b"/", b"", None, self, 0.0, done)
        self._connection.begin(exchange)
        for data in reads:
            if not self._wire.aborted:
                buffer = self._connection.get_buffer(-1)
                buffer[: len(data)] = data
                self._connection.buffer_updated(len(data))
        fault = str(done.exception()) if done.done() and not done.cancelled() and done.exception() else None
        self.seen.append((fault, done.done(), exchange.status, exchange.reply_bytes, self._wire.aborted))
        exchange.abort()


def both(*replies: tuple[bytes, ...]) -> tuple[Caller, Caller]:
    """One caller who may remember heads, and one who may not."""
    callers = Caller(KnownReplies()), Caller(Forgetful())
    for caller in callers:
        for reads in replies:
            caller.call(*reads)
    return callers


def test_the_same_bytes_are_the_same_reply() -> None:
    """Whole or in pieces, and the connection is free again each time."""
    known, parsed = both((GOOD,), (GOOD,), (GOOD[:30], GOOD[30:]), (GOOD[:-1], GOOD[-1:]), (GOOD,))
    assert known.seen == parsed.seen
    assert known.idle == 5
    assert known.known.find(GOOD[:-2]) is not None


def test_a_known_head_lends_itself_to_no_longer_reply() -> None:
    """What nobody asked for behind a reply ends the connection, known or not."""
    known, parsed = both((GOOD,), (GOOD + GOOD,), (GOOD,))
    assert known.seen == parsed.seen
    assert known.seen[-1] == "no connection"


def test_an_interim_head_is_not_taken_for_a_final_one() -> None:
    """A 100 in front of the reply is nobody's head."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    known, parsed = both((interim + GOOD,), (interim + GOOD,), (interim, GOOD), (GOOD,))
    assert known.seen == parsed.seen
    assert known.known.find(interim) is None


HEADS = [
    GOOD[:-2],
    GOOD[:-2].replace(b"200 OK", b"503 Service Unavailable"),
    GOOD[:-2].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"\r\n",
]
BODIES = [b"{}", b"", b"2\r\n{}\r\n0\r\n\r\n", b"\r\n\r\n", GOOD]
REPLIES = st.tuples(st.sampled_from(HEADS), st.sampled_from(BODIES)).map(b"".join)


@given(st.lists(st.tuples(REPLIES, st.integers(0, 200)), min_size=1, max_size=6))
def test_known_or_parsed_is_the_same(replies: list[tuple[bytes, int]]) -> None:
    """Any replies, good and bad, in one piece or two."""
    reads = [tuple(piece for piece in (reply[:cut], reply[cut:]) if piece) for reply, cut in replies]
    known, parsed = both(*reads)
    assert known.seen == parsed.seen
    assert known.idle == parsed.idle
