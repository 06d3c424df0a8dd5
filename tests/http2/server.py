"""A small server on the gateway's HTTP/2, in a process of its own: `python -m tests.http2.server` prints its port; one that is
`hasty` waits a second where others wait long.

Every path is answered as a gRPC call that went well, but for `/hang`, which is never answered, `/hold`, which moreover never gives
back what it was sent, `/echo`, which sends that back, and `/large/N`, which sends N bytes.
"""

import asyncio
import sys
import time

import uvloop

from gateway.http2.connection import Connection
from gateway.http2.decode import Head
from gateway.http2.encode import encoded
from gateway.http2.limits import Limits
from gateway.http2.stream import Receiver, Stream
from tests.patience import PATIENT_S

REPLY = encoded([(b":status", b"200"), (b"content-type", b"application/grpc")])
END = encoded([(b"grpc-status", b"0")])
TOO_LARGE = encoded([(b":status", b"431")])
PIECE = bytes(64 * 1024)


class Listener:
    """Owns the connections of one port."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.connections: set[Connection] = set()

    def connection(self) -> Connection:
        """A new one."""
        owner = _Owner(self)
        owner.connection = made = Connection(owner, self.limits, server=True)
        self.connections.add(made)
        return made

    async def ticking(self) -> None:
        """Look after the time limits until cancelled."""
        while True:
            await asyncio.sleep(0.1)
            for each in tuple(self.connections):
                each.tick(time.monotonic())


class _Owner:
    connection: Connection

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def request(self, stream: Stream, head: Head, *, ended: bool) -> Receiver:
        receiver = _Call(stream, dict(head.fields).get(b":path", b""))
        if head.too_large:
            stream.send_head(TOO_LARGE, end=True)
        elif ended:
            receiver.answer()
        return receiver

    def ready(self) -> None:
        pass

    def room_made(self) -> None:
        pass

    def going_away(self, code: int, words: bytes) -> None:
        pass

    def ponged(self, data: bytes) -> None:
        pass

    def lost(self, fault: Exception | None) -> None:
        self._listener.connections.discard(self.connection)


class _Call:
    """A request and what is sent for it."""

    def __init__(self, stream: Stream, path: bytes) -> None:
        self._stream = stream
        self._path = path
        self._left = 0
        self._body = bytearray()

    def head(self, head: Head, *, ended: bool) -> None:
        raise AssertionError("a server receives no replies")

    def data(self, data: memoryview, *, ended: bool) -> None:
        if self._path == b"/echo":
            self._body += data
        if self._path != b"/hold":
            self._stream.consumed(len(data))
        if ended:
            self.answer()

    def trailers(self, head: Head) -> None:
        self.answer()

    def reset(self, code: int, *, unprocessed: bool) -> None:
        self._left = 0

    def drained(self) -> None:
        self._more()

    def answer(self) -> None:
        """The request is whole."""
        if self._path in (b"/hang", b"/hold"):
            return
        if self._path == b"/echo":
            self._stream.send_whole(REPLY, bytes(self._body), END)
        elif self._path.startswith(b"/large/"):
            self._stream.send_head(REPLY)
            self._left = int(self._path.rpartition(b"/")[2])
            self._more()
        else:
            self._stream.send_whole(REPLY, b"\0\0\0\0\0", END)

    def _more(self) -> None:
        while self._left:
            piece = PIECE[: self._left]
            self._left -= len(piece)
            taken = self._stream.send_data(piece)
            if not self._left:
                self._stream.send_trailers(END)
            elif not taken:
                return


async def main(limits: Limits) -> None:
    """Serve until the other side of standard input is gone."""
    listener = Listener(limits)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(listener.connection, "127.0.0.1", 0, backlog=1024)
    ticking = loop.create_task(listener.ticking())
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    ticking.cancel()
    server.close()


PATIENT = Limits(preface_s=PATIENT_S, settings_s=PATIENT_S, ping_s=0.0)
"""Tests ask by PING whether all was read, as often as they like."""
HASTY = Limits(preface_s=1.0, settings_s=1.0, idle_s=1.0)


if __name__ == "__main__":
    uvloop.run(main(HASTY if "hasty" in sys.argv else PATIENT))
