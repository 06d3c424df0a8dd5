"""What a supervisor and its workers say to each other, over a socket that only the two of them hold."""

import asyncio
import socket
from typing import TypeVar

import msgspec


class Begin(msgspec.Struct, frozen=True, tag=True):
    """The first word to a new worker: who it is, what it inherits (file descriptors) and what its gateway was told.

    `place` is its own among `places` in the tables of `shares` and `loads`: while a worker is being replaced, two have its number.
    `sockets` are those of the inference port and, where there is one, of the gRPC port, whose shares are `grpc_shares`.
    """

    number: int
    place: int
    places: int
    shares: int
    loads: int
    pins: int
    sockets: list[int]
    secret: bytes
    settings: bytes
    grpc_shares: int = -1


class Leave(msgspec.Struct, frozen=True, tag=True):
    """Drain and end. `handing_over`: other workers go on with the port. Times in seconds."""

    notice_s: float
    handing_over: bool = False


class Reopen(msgspec.Struct, frozen=True, tag=True):
    """Open the log files anew."""


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Tell the metrics."""


class Beat(msgspec.Struct, frozen=True, tag=True):
    """Said by a worker twice a second, and at once when `ready` changes."""

    ready: bool


class Told(msgspec.Struct, frozen=True, tag=True):
    """A worker's metrics: the answer to `Ask`, its last word before it ends, and, not `asked`, what is to stand if it is
    killed.
    """

    metrics: bytes
    asked: bool = True


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Why a worker cannot start, one line for each fault."""

    problems: list[str]


FromSupervisor = Begin | Leave | Reopen | Ask
FromWorker = Beat | Told | Refused

T = TypeVar("T")

_LENGTH_BYTES = 4
_encode = msgspec.msgpack.Encoder().encode
to_worker = msgspec.msgpack.Decoder(FromSupervisor)
to_supervisor = msgspec.msgpack.Decoder(FromWorker)


def framed(message: FromSupervisor | FromWorker) -> bytes:
    """A message as it goes over the socket: its length, then itself."""
    data = _encode(message)
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


async def hear(reader: asyncio.StreamReader, decoder: "msgspec.msgpack.Decoder[T]") -> T | None:
    """The next message; None when the other side is gone."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        return decoder.decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def hear_first(line: socket.socket) -> Begin:
    """Wait for the first message, before there is an event loop. Raises `EOFError` when the supervisor is gone."""
    length = int.from_bytes(_exactly(line, _LENGTH_BYTES), "big")
    return msgspec.msgpack.decode(_exactly(line, length), type=Begin)


def _exactly(line: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = line.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
