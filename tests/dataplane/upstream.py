"""A Triton made of raw sockets: it answers readiness probes and otherwise does what a test tells it."""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable

LOADED = (("m", 1), ("m", 2))
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


class Talk:
    """One request that has arrived, and the connection to answer it on."""

    def __init__(self, sock: socket.socket, head: bytes, surplus: bytes) -> None:
        self.sock = sock
        self.head = head
        self._buffer = surplus
        self._took_body = False
        self.body = b""
        self.method, self.path = head.split(b" ", 2)[:2]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The request's fields, in order."""
        lines = self.head.split(b"\r\n")[1:]
        return [(name, value) for name, _, value in (line.partition(b": ") for line in lines if line)]

    def take_body(self, pause_s: float = 0.0) -> bytes:
        """Read the request's body, however it is framed."""
        if self._took_body:
            return self.body
        self._took_body = True
        length = _LENGTH.search(self.head)
        if _CHUNKED.search(self.head):
            assert length is None
            self.body = self._take_chunks()
        elif length is not None:
            parts = [self._buffer[: int(length[1])]]
            self._buffer = self._buffer[int(length[1]) :]
            left = int(length[1]) - len(parts[0])
            while left:
                time.sleep(pause_s)
                piece = self.sock.recv(min(1 << 20, left))
                if not piece:
                    raise ConnectionError("the request was cut short")
                parts.append(piece)
                left -= len(piece)
            self.body = b"".join(parts)
        return self.body

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def take_then_send(self, data: bytes) -> None:
        """Read the whole request, then send bytes as they are."""
        self.take_body()
        self.send(data)

    def take_then_hang(self, limit_s: float = 10.0) -> bool:
        """Read the whole request and say nothing; whether the gateway closed the connection."""
        self.take_body()
        return self.until_closed(limit_s)

    def answer(
        self,
        status: int = 200,
        body: bytes = b'{"outputs":[]}',
        headers: Iterable[bytes] = (b"Content-Type: application/json",),
    ) -> None:
        """A whole reply with a length."""
        self.take_body()
        lines = [b"HTTP/1.1 %d Whatever" % status, *headers, b"Content-Length: %d" % len(body), b"", b""]
        self.send(b"\r\n".join(lines) + body)

    def until_closed(self, limit_s: float = 10.0) -> bool:
        """Wait for the gateway to close the connection; whether it did."""
        self.sock.settimeout(limit_s)
        try:
            while self.sock.recv(1 << 20):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.sock.close()

    @property
    def surplus(self) -> bytes:
        """What came behind this request and was read with it."""
        return self._buffer

    def _take_chunks(self) -> bytes:
        body: list[bytes] = []
        stream = self.sock.makefile("rb")
        pending = _Prefixed(self._buffer, stream.read, stream.readline)
        self._buffer = b""
        while True:
            line = pending.line()
            if not line.endswith(b"\r\n"):
                raise ConnectionError("the request was cut short")
            size = int(line, 16)
            piece = pending.take(size + 2)
            if len(piece) < size + 2:
                raise ConnectionError("the request was cut short")
            body.append(piece[:-2])
            if not size:
                return b"".join(body)


class _Prefixed:
    """A stream with bytes before it that were read already."""

    def __init__(self, first: bytes, read: Callable[[int], bytes], line: Callable[[], bytes]) -> None:
        self._first, self._read, self._line = first, read, line

    def line(self) -> bytes:
        if b"\n" in self._first:
            line, end, self._first = self._first.partition(b"\n")
            return line + end
        found, self._first = self._first + self._line(), b""
        return found

    def take(self, count: int) -> bytes:
        data, self._first = self._first[:count], self._first[count:]
        return data + (self._read(count - len(data)) if len(data) < count else b"")


class Upstream:
    """Listens on a free port. `behave` answers each request that is no probe; it may use several replies or none."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.loaded: tuple[tuple[str, int], ...] = LOADED
        self.ready = True
        self.index: bytes | None = None
        self._open: set[socket.socket] = set()
        self.renew()
        threading.Thread(target=self._accept, daemon=True).start()

    def renew(self) -> None:
        """Forget what was asked, and answer every call with 200 from now on."""
        self.behave: Callable[[Talk], object] = Talk.answer
        self.talks: list[Talk] = []
        self.connections = 0
        self.errors: list[BaseException] = []

    def close(self) -> None:
        """Stop listening and close every connection: to the gateway, a server that was killed."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        self._open.add(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = b""
        calls = 0
        try:
            while sock.fileno() >= 0:
                while b"\r\n\r\n" not in buffer:
                    piece = sock.recv(1 << 20)
                    if not piece:
                        return
                    buffer += piece
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                talk = Talk(sock, head + b"\r\n", buffer)
                if not self._probe(talk):
                    calls += 1
                    self.connections += calls == 1
                    self.talks.append(talk)
                    self.behave(talk)
                buffer = talk.surplus
        except OSError:
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            self._open.discard(sock)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _probe(self, talk: Talk) -> bool:
        if talk.path == b"/v2/health/ready":
            talk.answer(200 if self.ready else 400, b"")
        elif talk.path == b"/v2/repository/index":
            rows = [{"name": name, "version": str(v), "state": "READY"} for name, v in self.loaded]
            talk.answer(200, json.dumps(rows).encode() if self.index is None else self.index)
        else:
            return False
        return True
