"""The reader alone: how often a body's pieces are passed on."""

from typing import Any

from gateway.dataplane.http.known_heads import KnownHeads
from gateway.dataplane.http.reader import RequestReader
from gateway.dataplane.request_id import RequestIds
from gateway.settings import Inference
from gateway.upstream.read_buffer import SMALL

MIB = 1024 * 1024
HEAD = b"POST /v2/models/a/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Owner:
    """Takes requests, and hands each body to itself."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended = False
        self.known_heads = KnownHeads(16_384, 64 * MIB)

    def route(self, *_: object) -> Any:
        """Any route will do."""
        return object()

    def request_arrived(self, request: Any) -> None:
        request.body.start(self)

    def body_data(self, data: bytes) -> None:
        self.pieces.append(bytes(data))

    def body_end(self) -> None:
        self.ended = True

    def request_ended(self) -> None: ...
    def body_wanted(self) -> None: ...
    def hold_body(self, hold: bool) -> None: ...


def feed(reader: RequestReader, data: bytes) -> None:
    """What one read brings."""
    SMALL[: len(data)] = data
    reader.read(len(data))


def test_chunks_of_one_read_are_passed_on_at_once() -> None:
    """Ten thousand one-byte chunks are one piece for the upstream: a caller cannot keep a worker busy with framing."""
    owner = Owner()
    reader = RequestReader(owner, owner, Inference(), RequestIds())  # type: ignore[arg-type]
    first, second = b"8000\r\n" + b"a" * 0x8000 + b"\r\n", b"1\r\nb\r\n" * 10_000
    feed(reader, HEAD + first)
    feed(reader, second)
    feed(reader, b"1\r\nc\r\n0\r\n\r\n")
    assert [len(piece) for piece in owner.pieces] == [0x8000, 10_000, 1]
    assert b"".join(owner.pieces) == b"a" * 0x8000 + b"b" * 10_000 + b"c"
    assert owner.ended
