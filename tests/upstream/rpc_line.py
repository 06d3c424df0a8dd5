"""Calls to a server over gRPC on a connection in memory: what a test has the server say, and what the exchange is told."""

import asyncio
import time
from typing import Any

from hpack import Decoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, RstStreamFrame
from tritonclient.grpc import service_pb2

from gateway.dataplane.whole_body import WholeBody
from gateway.http2.limits import Limits
from gateway.types import OPERATIONS, STREAM_INFER, Target
from gateway.upstream.exchange import Exchange, Headers, ReplySource
from gateway.upstream.rpc_call import Call, StreamedCall
from gateway.upstream.rpc_request import block_of, openings, pieces_of
from tests.http2.in_memory import Line
from tests.http2.wire import END_HEADERS, Field, block, data, headers, settings

TARGET = Target("m", 7, 10_000, "stable", "main", b"/v2/models/m/versions/7", b"m/7")
HEAD_FIELDS: tuple[Field, ...] = ((b":status", b"200"), (b"content-type", b"application/grpc"))
MOST_BYTES = 1_000_000


class Sink:
    """Notes what comes; `source` is whom it may hold back."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.source: ReplySource | None = None
        self.takes_one = False

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.told.append(("whole", status, headers, body))

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        self.source = source
        self.told.append(("head", status))

    def reply_data(self, data: bytes | memoryview) -> None:
        self.told.append(("data", bytes(data)))
        if self.takes_one and self.source is not None:
            self.source.pause_reading()

    def reply_end(self) -> None:
        self.told.append(("end",))


class Server:
    """The other end of the connection. `going` is what the connection's owner says of it."""

    def __init__(self, *pairs: tuple[int, int]) -> None:
        self.line = Line(server=False, limits=Limits(connection_window=2**31 - 1))
        self.going = False
        self.line.feed(settings(*pairs))
        self.heard()

    def asked(
        self,
        message: bytes = b"",
        fields: bytes = b"",
        *,
        stream: bool = False,
        left_s: float = 60.0,
        sink: Sink | None = None,
    ) -> tuple[Exchange, Sink]:
        """A call that has been sent; the first is on stream 1."""
        sink = sink or Sink()
        exchange = Exchange(
            STREAM_INFER if stream else OPERATIONS["infer"],
            b"",
            fields,
            WholeBody(message),
            sink,
            time.monotonic() + left_s,
            asyncio.get_running_loop().create_future(),
        )
        made = StreamedCall if stream else Call
        call = made(exchange, self, MOST_BYTES)
        opening = openings(b"h:1")[exchange.operation.name]
        call.stream = self.line.connection.open(block_of(opening, fields, left_s), call)
        exchange.on_abort = call
        *pieces, last = pieces_of(message, TARGET)
        for piece in pieces:
            call.stream.send_data(piece)
        call.stream.send_data(last, end=True)
        return exchange, sink

    def says(self, *parts: bytes) -> None:
        """The server sends these bytes."""
        self.line.feed(b"".join(parts))

    def heard(self) -> list[Frame]:
        """What it was sent since the last time."""
        return self.line.said()


def head(*fields: Field, end: bool = False, stream: int = 1) -> bytes:
    """The head of a reply."""
    return headers(stream, block(*HEAD_FIELDS, *fields), END_HEADERS | end)


def message(content: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """A message with its prefix."""
    return bytes([flag]) + (len(content) if length is None else length).to_bytes(4) + content


def sent(content: bytes, stream: int = 1) -> bytes:
    """DATA frames."""
    return b"".join(
        data(stream, content[at : at + 16_384], 0) for at in range(0, max(1, len(content)), 16_384)
    )


def trailers(status: bytes, *fields: Field, stream: int = 1) -> bytes:
    """The end of a call."""
    return headers(stream, block((b"grpc-status", status), *fields))


def outcome(exchange: Exchange) -> str:
    """How it ended: `ok`, the words of what it failed with, or `under way`."""
    if not exchange.done.done():
        return "under way"
    error = exchange.done.exception()
    return "ok" if error is None else str(error)


def fields_of(frames: list[Frame]) -> list[tuple[str, str]]:
    """What the request's head says."""
    (found,) = [frame for frame in frames if isinstance(frame, HeadersFrame)]
    return [(str(name), str(value)) for name, value in Decoder().decode(found.data)]


def data_of(frames: list[Frame]) -> bytes:
    """What was sent in DATA frames."""
    return b"".join(frame.data for frame in frames if isinstance(frame, DataFrame))


def resets(frames: list[Frame]) -> list[int]:
    """The codes of RST_STREAM."""
    return [frame.error_code for frame in frames if isinstance(frame, RstStreamFrame)]


def alone(status: bytes, words: bytes) -> bytes:
    """The block of a reply that is nothing but its end."""
    return block(
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", status),
        (b"grpc-message", words),
    )


REPLY = service_pb2.ModelInferResponse(model_name="m").SerializeToString()
GOOD = sent(message(REPLY)) + trailers(b"0")
NO_REPLY = "The model's server sent no whole reply."
