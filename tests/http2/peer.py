"""One end of a connection on a plain socket: sends the bytes that a test wants sent, and tells what comes back."""

import contextlib
import socket
import time
from collections.abc import Callable
from types import TracebackType

from hpack import Decoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

from tests.http2.wire import ACK, PREFACE, Kind, frame, request, settings
from tests.patience import PATIENT_S

GOOD = 100_001
"""The stream on which `Peer.goes_on` asks."""


class Closed(Exception):
    """The other side has closed, or reset, the connection."""


class Peer:
    """A client. `frames` are all that came; `fields` what they said at last on each stream; a reset by TCP is a close too."""

    def __init__(
        self, address: tuple[str, int], *, hello: bytes = PREFACE + settings(), receive_buffer: int = 0
    ) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENT_S)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.acknowledges = True
        self.frames: list[Frame] = []
        self.fields: dict[int, dict[str, str]] = {}
        self.body: dict[int, int] = {}
        self._decoder = Decoder()
        self._read = bytearray()
        self.send(hello)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, *parts: bytes) -> None:
        """Send; what the other side, having closed, takes no more is let go."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                self.sock.sendall(part)

    def next(self) -> Frame:
        """The next frame; SETTINGS are acknowledged. Raises `Closed`, and `TimeoutError` where nothing comes."""
        head = self._take(9)
        found, length = Frame.parse_frame_header(memoryview(head))
        found.parse_body(memoryview(self._take(length)))
        self.frames.append(found)
        if isinstance(found, SettingsFrame):
            if self.acknowledges and "ACK" not in found.flags:
                self.send(frame(Kind.SETTINGS, ACK, 0))
        elif isinstance(found, HeadersFrame):
            self.fields[found.stream_id] = {
                str(name): str(value) for name, value in self._decoder.decode(found.data)
            }
        elif isinstance(found, DataFrame):
            self.body[found.stream_id] = self.body.get(found.stream_id, 0) + len(found.data)
        return found

    def until(self, wanted: Callable[[Frame], bool]) -> Frame:
        """The first frame from now on that is `wanted`. Raises `Closed`."""
        while True:
            found = self.next()
            if wanted(found):
                return found

    def until_closed(self) -> int | None:
        """The code of the last GOAWAY before the other side closed; None where there was none."""
        with contextlib.suppress(Closed):
            while True:
                self.next()
        codes = [found.error_code for found in self.frames if isinstance(found, GoAwayFrame)]
        return codes[-1] if codes else None

    def answered(self, stream: int) -> str:
        """The `grpc-status` of a call, or the code of what reset it, once it has ended. Raises `Closed`."""
        self.until(
            lambda found: (
                found.stream_id == stream
                and (isinstance(found, RstStreamFrame) or "END_STREAM" in found.flags)
            )
        )
        last = self.frames[-1]
        if isinstance(last, RstStreamFrame):
            return f"reset {last.error_code}"
        return self.fields[stream].get("grpc-status", "none")

    def goes_on(self, stream: int = GOOD) -> None:
        """The connection lives: a good request is answered."""
        self.send(request(stream))
        assert self.answered(stream) == "0"

    def pinged(self, payload: bytes = b"12345678") -> None:
        """Everything that was sent has been read over there."""
        self.send(frame(Kind.PING, 0, 0, payload))
        self.until(
            lambda found: (
                isinstance(found, PingFrame) and "ACK" in found.flags and found.opaque_data == payload
            )
        )

    def _take(self, count: int) -> bytes:
        limit = time.monotonic() + PATIENT_S
        while len(self._read) < count:
            assert time.monotonic() < limit, f"half a frame: {bytes(self._read[:40])!r}"
            try:
                piece = self.sock.recv(1 << 16)
            except ConnectionResetError as error:
                raise Closed from error
            if not piece:
                raise Closed
            self._read += piece
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken
