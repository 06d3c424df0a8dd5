"""One HTTP/2 connection, either side of it: frames in, calls to its owner and its streams' receivers out."""

import asyncio
from typing import Protocol

from gateway.http2.codes import Code
from gateway.http2.limits import Limits
from gateway.http2.stream import Head, Receiver, Stream


class Owner(Protocol):
    """Whoever the connection belongs to: a listener's caller, or a client."""

    def request(self, stream: Stream, head: Head, *, ended: bool) -> Receiver:
        """A server's: a request has begun, and what follows goes to the receiver; `ended`: nothing does.

        What it does at once (`stream.send_…`) goes out with the rest of this read.
        """

    def ready(self) -> None:
        """The other side's first SETTINGS are here: `room` is what it allows."""

    def room_made(self) -> None:
        """A client's: `room` was 0 and is not any more."""

    def going_away(self, code: int, words: bytes) -> None:
        """The other side has sent GOAWAY: no stream can be opened any more; those that it will not serve have been reset."""

    def ponged(self, data: bytes) -> None:
        """The answer to a `ping` is here."""

    def lost(self, fault: Exception | None) -> None:
        """The connection is gone, all its streams having been reset. `fault` is a `ConnectionFault`, an `OSError`, or None."""


class Connection(asyncio.BufferedProtocol):
    """Speaks HTTP/2 with one peer, as its server or its client. `streams` are the open ones by number.

    Whoever owns it calls `tick` about once a second.
    """

    def __init__(self, owner: Owner, limits: Limits, *, server: bool) -> None:
        self.streams: dict[int, Stream] = {}
        raise NotImplementedError

    @property
    def room(self) -> int:
        """A client's: how many streams may be opened now; 0 before the server's settings are here, and once it is going."""
        raise NotImplementedError

    def open(self, block: bytes, receiver: Receiver, *, end: bool = False) -> Stream:
        """A client's: begin a request with its header block. Raises `NoRoom`."""
        raise NotImplementedError

    def ping(self, data: bytes) -> None:
        """Ask whether the other side is there; `data` are eight bytes, which come back (`Owner.ponged`)."""
        raise NotImplementedError

    def leave(self) -> None:
        """Take no more streams, and close once those under way have ended (GOAWAY, section 6.8: announced, then final)."""
        raise NotImplementedError

    def close(self, code: Code = Code.NO_ERROR, words: str = "") -> None:
        """End it at once, all that is under way with it, telling why."""
        raise NotImplementedError

    def tick(self, now: float) -> None:
        """Look after the time limits. `now` is monotonic seconds."""
        raise NotImplementedError
