"""Messages with their prefix: a flag, whether it is compressed, and its length (PROTOCOL-HTTP2, Length-Prefixed-Message)."""

import struct
import zlib
from collections.abc import Callable

from gateway.rpc.codes import RpcFault, Status

PREFIX = struct.Struct(">BI")
PREFIX_BYTES = PREFIX.size

ACCEPTED = b"identity, deflate, gzip"
"""For `grpc-accept-encoding`."""

# zlib's window bits: with a zlib header (RFC 1950), which is what gRPC calls deflate, or a gzip one (RFC 1952).
_WINDOW_BITS = {b"deflate": zlib.MAX_WBITS, b"gzip": zlib.MAX_WBITS | 16}


def prefix(length: int) -> bytes:
    """What stands before a message that is not compressed."""
    return PREFIX.pack(0, length)


def is_encoding(name: bytes) -> bool:
    """Whether messages that are compressed so can be read."""
    return name == b"identity" or name in _WINDOW_BITS


class MessageReader:
    """Takes bytes as they come and makes messages of them, of `most_bytes` at most, compressed or not.

    `encoding` is the `grpc-encoding` of what comes. `missing` are the bytes that the message under way still needs, as far as is
    known; `empty`: none is under way.
    """

    __slots__ = ("_encoding", "_flag", "_head", "_length", "_most_bytes", "_parts", "missing")

    def __init__(self, most_bytes: int, encoding: bytes) -> None:
        self._most_bytes = most_bytes
        self._encoding = encoding
        self._head = b""
        self._flag = self._length = 0
        self._parts: list[bytes] = []
        self.missing = 0

    @property
    def empty(self) -> bool:
        """Whether no message is under way."""
        return not self._head and not self.missing

    def feed(self, data: memoryview, take: Callable[[bytes], None]) -> None:
        """Read what has come, and `take` each message that is whole. Raises `RpcFault` for what may not be."""
        at, end = 0, len(data)
        while True:
            if self.missing:
                part = bytes(data[at : at + self.missing])
                if not part:
                    return
                at += len(part)
                self.missing -= len(part)
                self._parts.append(part)
                if self.missing:
                    return
                parts, self._parts = self._parts, []
                take(self._whole(part if len(parts) == 1 else b"".join(parts)))
                continue
            if at == end:
                return
            head = self._head + bytes(data[at : at + PREFIX_BYTES - len(self._head)])
            at += len(head) - len(self._head)
            if len(head) < PREFIX_BYTES:
                self._head = head
                return
            self._head = b""
            flag, length = PREFIX.unpack(head)
            if flag > 1:
                raise RpcFault(Status.INTERNAL, "A message begins with a flag that is none.")
            if length > self._most_bytes:
                # Nothing is missing of it: whoever asks for that would let it come.
                raise too_large(self._most_bytes)
            self._flag, self.missing = flag, length
            if not self.missing:
                take(self._whole(b""))

    def _whole(self, data: bytes) -> bytes:
        return decompressed(data, self._encoding, self._most_bytes) if self._flag else data


def decompressed(data: bytes, encoding: bytes, most_bytes: int) -> bytes:
    """A message as it was, held to `most_bytes` while it grows. Raises `RpcFault`."""
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise RpcFault(Status.INTERNAL, "A message is compressed, and no grpc-encoding says how.")
    inflate = zlib.decompressobj(bits)
    try:
        found = inflate.decompress(data, most_bytes + 1)
    except zlib.error as error:
        raise RpcFault(Status.INTERNAL, f"A message cannot be decompressed: {error}.") from None
    if len(found) > most_bytes:
        raise too_large(most_bytes)
    if not inflate.eof:
        raise RpcFault(Status.INTERNAL, "A message cannot be decompressed: it is cut off.")
    return found


def too_large(most_bytes: int) -> RpcFault:
    """A message is beyond the limit."""
    return RpcFault(
        Status.RESOURCE_EXHAUSTED, f"The message is larger than the {most_bytes} bytes that are allowed."
    )
