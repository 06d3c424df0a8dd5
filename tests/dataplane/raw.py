"""HTTP/1.1 by hand: sends the bytes that a test wants sent and reads exactly what comes back."""

import json
import socket
import time
from types import TracebackType

import msgspec

from tests.gateway_process import APP, Gateway
from tests.patience import PATIENT_S

CREDENTIAL = f"X-API-Key: {APP}\r\n".encode()
INFER = "/v2/models/a/infer"


class Reply(msgspec.Struct):
    """One reply. `interim` are the 1xx statuses before it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    interim: list[int]

    def header(self, name: str) -> str | None:
        """The one value of a field; None where there is none."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) < 2, f"{name} stands there twice: {found}"
        return found[0] if found else None


class RawClient:
    """One connection."""

    def __init__(
        self, address: tuple[str, int], timeout_s: float = PATIENT_S, receive_buffer: int = 0
    ) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout_s)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, *parts: bytes) -> None:
        """Send; what the gateway no longer takes (it may have answered and closed) is let go."""
        try:
            for part in parts:
                self.sock.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def reply(self) -> Reply:
        """The next reply, whole. Raises `EOFError` when the connection ends before that."""
        interim: list[int] = []
        while True:
            status, headers = self.head()
            if status >= 200:
                break
            interim.append(status)
        return Reply(status, headers, self._body(status, headers), interim)

    def head(self) -> tuple[int, list[tuple[str, str]]]:
        """Status and fields of the next reply."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._more()
        head = self.read(end + 4)[:-4]
        line, *fields = head.decode("latin-1").split("\r\n")
        version, status = line.split(" ")[:2]
        assert version == "HTTP/1.1"
        pairs = [field.split(": ", 1) for field in fields]
        return int(status), [(name, value) for name, value in pairs]

    def read(self, count: int) -> bytes:
        """So many bytes."""
        while len(self._buffer) < count:
            self._more(count - len(self._buffer))
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def ended(self, limit_s: float = PATIENT_S) -> bool:
        """Whether the gateway closes the connection without another byte."""
        self.sock.settimeout(limit_s)
        try:
            return not self._buffer and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def _body(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        fields = {name.lower(): value for name, value in headers}
        if status == 204 or status == 304:
            return b""
        if "content-length" in fields:
            assert "transfer-encoding" not in fields
            return self.read(int(fields["content-length"]))
        if fields.get("transfer-encoding") == "chunked":
            return self._chunks()
        body, self._buffer = self._buffer, bytearray()
        while piece := self.sock.recv(65536):
            body += piece
        return bytes(body)

    def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            while (end := self._buffer.find(b"\r\n")) < 0:
                self._more()
            size = int(self.read(end + 2), 16)
            body += self.read(size)
            assert self.read(2) == b"\r\n"
            if not size:
                return bytes(body)

    def _more(self, wanted: int = 0) -> None:
        piece = self.sock.recv(max(65536, min(wanted, 1 << 20)))
        if not piece:
            raise EOFError(f"the connection ended after {bytes(self._buffer[:200])!r}")
        self._buffer += piece


def request(
    path: str = INFER,
    body: bytes = b"{}",
    *,
    method: str = "POST",
    headers: bytes = b"",
    credential: bytes = CREDENTIAL,
    length: bool = True,
) -> bytes:
    """A request as its bytes, with Host, a credential and a length unless told otherwise."""
    head = f"{method} {path} HTTP/1.1\r\nHost: gateway\r\n".encode() + credential + headers
    if length and method != "GET":
        head += b"Content-Length: %d\r\n" % len(body)
    return head + b"\r\n" + (b"" if method == "GET" else body)


def chunked(*pieces: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + last


def ask(address: tuple[str, int], data: bytes, timeout_s: float = PATIENT_S) -> Reply:
    """Send one request on a new connection; its reply."""
    with RawClient(address, timeout_s) as client:
        client.send(data)
        return client.reply()


def expect_problem(reply: Reply, status: int) -> str:
    """The reply is a problem document (RFC 9457) that Triton's clients understand too; its detail."""
    assert reply.status == status, (reply.status, reply.body[:300])
    assert reply.header("Content-Type") == "application/problem+json"
    found = json.loads(reply.body)
    assert found["status"] == status
    assert found["error"] == found["detail"]
    assert all(found[member] for member in ("type", "title", "code", "detail"))
    assert found["instance"] == f"urn:maas:request:{reply.header('X-Request-Id')}"
    if status in (429, 503):
        assert int(reply.header("Retry-After") or "0") >= 1
    return str(found["detail"])


def until_answered(address: tuple[str, int], limit_s: float = PATIENT_S, path: str = INFER) -> None:
    """Wait until a good request is answered: the probes have found the endpoint ready. Waits for `PATIENT_S` at the least."""
    until = time.monotonic() + max(limit_s, PATIENT_S)
    answer: object = None
    while answer != 200:
        assert time.monotonic() < until, answer
        try:
            answer = ask(address, request(path)).status
        except (EOFError, OSError) as error:
            answer = error
        time.sleep(0.02)


def expect_well(gateway: Gateway) -> None:
    """Whatever was done to the gateway, the next good request on a new connection succeeds."""
    assert gateway.exit_status is None
    reply = ask(gateway.address, request())
    assert (reply.status, reply.body) == (200, b'{"outputs":[]}')
