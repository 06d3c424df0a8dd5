"""The fixed-reply upstream: it reads each body to its end into one reused buffer, then answers.

nginx would cost the load's core a little less for small requests (70 000 requests/s beside wrk on one core, this 61 000),
but its `return` replies before the body is there, which no Triton does, and all that waits for the body gathers it
first: 16 MB for each connection, and half as fast as this. `python -m loadtests.drain PORT`.
"""

import asyncio
import sys
from typing import ClassVar, cast

import uvloop

from loadtests.replies import READ_HEADER, routes

_BUFFER_BYTES = 1 << 20
_BUFFER = memoryview(bytearray(_BUFFER_BYTES))
"""One buffer for all connections: what is in it is consumed before the next read."""
_MAX_HEAD_BYTES = 64 * 1024


def _replies() -> dict[bytes, tuple[bytes, bytes]]:
    """A reply by path: what comes before the count of body bytes, and what comes after it."""
    return {
        path.encode(): (
            (
                f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                f"{READ_HEADER}: "
            ).encode(),
            b"\r\n\r\n" + body,
        )
        for path, body in routes().items()
    }


class Drain(asyncio.BufferedProtocol):
    """One keep-alive connection. No pipelining: a request comes after the reply to the one before it."""

    replies: ClassVar = _replies()

    def __init__(self) -> None:
        self._head = b""
        self._path = b""
        self._length = 0
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        # uvloop's transports have the methods of asyncio.Transport without being one.
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The one buffer that all connections read into."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Count a body's bytes; else read a head."""
        if self._left:
            self._left -= nbytes
            if self._left == 0:
                self._answer()
            elif self._left < 0:
                self._refuse("400 Bad Request")
            return
        data = self._head + bytes(_BUFFER[:nbytes])
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            self._head = b""
            self._begin(data[:end], len(data) - end - 4)
        elif len(data) <= _MAX_HEAD_BYTES:
            self._head = data
        else:
            self._refuse("431 Request Header Fields Too Large")

    def _begin(self, head: bytes, body_bytes: int) -> None:
        self._path = head.split(b" ", 2)[1]
        lowered = head.lower()
        if b"\r\ntransfer-encoding:" in lowered:
            # A peer that turns a body of known length into chunks is not doing the job that is measured.
            self._refuse("501 Not Implemented")
            return
        _, _, rest = lowered.partition(b"\r\ncontent-length:")
        self._length = int(rest.partition(b"\r\n")[0] or 0)
        self._left = self._length - body_bytes
        if self._left == 0:
            self._answer()
        elif self._left < 0:
            self._refuse("400 Bad Request")

    def _answer(self) -> None:
        reply = self.replies.get(self._path)
        if reply is None:
            self._refuse("404 Not Found")
        else:
            self._transport.write(b"%b%d%b" % (reply[0], self._length, reply[1]))

    def _refuse(self, status: str) -> None:
        self._transport.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        self._transport.close()


async def serve(port: int) -> None:
    """Answer on 127.0.0.1 until cancelled."""
    server = await asyncio.get_running_loop().create_server(Drain, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
