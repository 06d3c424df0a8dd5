"""HTTP/2 by hand (RFC 9113): frames, and a server of a model that does with its connections what a test tells it."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from tests.dataplane.upstream import Upstream

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4

ITS_OWN = 0x7FFF_FFFE
"""Stands for the stream of the call that is answered: `RawCall.send` puts its number there."""

Field = tuple[bytes, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame (section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def headers(*fields: Field, stream: int = ITS_OWN, end: bool = False) -> bytes:
    """A HEADERS frame whose fields are literals without indexing (RFC 7541 section 6.2.2)."""
    block = b"".join(
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields
    )
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)


def message(data: bytes, length: int | None = None) -> bytes:
    """A gRPC message with its prefix; `length` is what the prefix says, if that is not the truth."""
    return b"\0" + struct.pack(">I", len(data) if length is None else length) + data


def sent(data: bytes, stream: int = ITS_OWN, *, end: bool = False) -> bytes:
    """DATA frames."""
    pieces = [data[at : at + 16_384] for at in range(0, len(data), 16_384)] or [b""]
    last = len(pieces) - 1
    return b"".join(
        frame(DATA, END_STREAM if end and number == last else 0, stream, piece)
        for number, piece in enumerate(pieces)
    )


HEAD = headers((b":status", b"200"), (b"content-type", b"application/grpc"))


def trailers(status: bytes, *fields: Field, end: bool = True) -> bytes:
    """The end of a call."""
    return headers((b"grpc-status", status), *fields, end=end)


class RawCall:
    """A call, whole, and the connection to answer it on."""

    def __init__(self, sock: socket.socket, stream: int = 0) -> None:
        self.sock = sock
        self.stream = stream

    def send(self, data: bytes) -> None:
        """Send bytes as they are, but for the number of the stream."""
        self.sock.sendall(data.replace(struct.pack(">I", ITS_OWN), struct.pack(">I", self.stream)))

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.sock.close()

    def until_closed(self) -> None:
        """Read until the other side closes."""
        with contextlib.suppress(OSError):
            while self.sock.recv(1 << 16):
                pass


class RawRpcServer:
    """Begins each connection by `greet` and answers each call by `behave`, one after the other."""

    def __init__(self) -> None:
        self.probed = Upstream()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.renew()
        threading.Thread(target=self._accept, daemon=True).start()

    def renew(self) -> None:
        """As good as new: every call gets an empty reply."""
        self.greet: Callable[[RawCall], object] = lambda call: call.send(frame(SETTINGS, 0, 0))
        self.behave: Callable[[RawCall], object] = lambda call: call.send(
            HEAD + sent(message(b"")) + trailers(b"0")
        )
        self.connections = self.calls = 0

    def close(self) -> None:
        """To the gateway, a server that was killed."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.probed.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            self.greet(RawCall(sock))
            take = _Take(sock)
            take(len(PREFACE))
            while True:
                call = RawCall(sock, _next_call(sock, take))
                self.calls += 1
                self.behave(call)


class _Take:
    """Reads so many bytes. Raises `OSError` when there are no more."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._read = bytearray()

    def __call__(self, count: int) -> bytes:
        while len(self._read) < count:
            piece = self._sock.recv(1 << 16)
            if not piece:
                raise ConnectionError("the other side has closed")
            self._read += piece
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken


def _next_call(sock: socket.socket, take: _Take) -> int:
    """The stream of the next call that has come whole."""
    while True:
        head = take(9)
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
        payload = take(int.from_bytes(head[:3]))
        if kind == SETTINGS and not flags & ACK:
            sock.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            sock.sendall(frame(PING, ACK, 0, payload))
        elif kind in (DATA, HEADERS) and flags & END_STREAM:
            return stream
