"""A request's body on its way from the caller: bounded, looked at where it must be, passed on as it arrives."""

import asyncio
import zlib
from typing import Protocol

from gateway.dataplane.http.head import json_part_too_long, too_large
from gateway.dataplane.http.inspect import BodyInspector, search_unread, search_whole
from gateway.errors import GatewayError
from gateway.upstream.exchange import SEEN_BYTES, Receiver

_MOST_WAITING_BYTES = 64 * 1024


class BodyOwner(Protocol):
    """The connection that a body arrives on."""

    def hold_body(self, hold: bool) -> None:
        """Stop reading from the caller, or go on."""

    def body_wanted(self) -> None:
        """The body is really wanted: a caller may be waiting for 100 Continue."""

    def body_failed(self, error: GatewayError) -> None:
        """The body turned out, under way, to be one that may not pass."""


class Gather:
    """Receives a body that is wanted whole. `whole` is its bytes, once they are here, or fails as the body does."""

    def __init__(self, most_bytes: int) -> None:
        self.whole: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._most = most_bytes
        self._data = bytearray()

    def body_data(self, data: bytes | memoryview) -> None:
        """The next bytes."""
        if len(self._data) + len(data) > self._most:
            self.fail(too_large(self._most))
        elif not self.whole.done():
            self._data += data

    def body_end(self) -> None:
        """All are here."""
        if not self.whole.done():
            self.whole.set_result(bytes(self._data))

    def fail(self, error: GatewayError) -> None:
        """They will not come, or may not."""
        if not self.whole.done():
            self.whole.set_exception(error)


class IncomingBody:
    """One body, as long as `length` says (None: chunked), at most `max_body_bytes`. `sequence_read`: what it says of one is known."""

    __slots__ = (
        "_encoding",
        "_inspector",
        "_json_bytes",
        "_looked_at",
        "_max",
        "_owner",
        "_pieces",
        "_receiver",
        "complete",
        "length",
        "received",
        "sequence_read",
    )

    def __init__(self, length: int | None, max_body_bytes: int, owner: BodyOwner) -> None:
        self.length = length
        self.received = 0
        self.complete = length == 0
        self._max = max_body_bytes
        self._owner = owner
        self._looked_at = False
        self.sequence_read = False
        self._encoding = b""
        self._json_bytes: int | None = None
        self._inspector: BodyInspector | None = None
        self._pieces: list[bytes] = []
        self._receiver: Receiver | None = None

    # --- from the connection ---

    def whole(self, data: bytes) -> None:
        """All of it came with its head; its length has been checked."""
        self.received = len(data)
        self.complete = True
        self._pieces.append(data)

    def feed(self, data: bytes | memoryview) -> None:
        """Bytes have arrived; a view is only lent for the call."""
        self.received += len(data)
        if self.received > self._max:
            self._owner.body_failed(too_large(self._max))
            return
        if self._inspector is not None:
            try:
                self._inspector.feed(data)
            except GatewayError as error:
                self._owner.body_failed(error)
                return
        if self._receiver is not None:
            self._receiver.body_data(data)
        else:
            self._pieces.append(bytes(data))
            if self.received > _MOST_WAITING_BYTES:
                self._owner.hold_body(True)

    def await_start(self) -> None:
        """Read no more until the body is wanted."""
        if self._receiver is None:
            self._owner.hold_body(True)

    def end(self) -> None:
        """All of it has arrived."""
        self.complete = True
        self.length = self.received
        self._owner.hold_body(False)
        if self._receiver is not None:
            try:
                self._check_json_part()
            except GatewayError as error:
                self._owner.body_failed(error)
                return
            self._receiver.body_end()

    def look_at(self, encoding: bytes, json_bytes: int | None) -> bytes:
        """Have its JSON part looked at once it is opened: the first `json_bytes`, or all, of what `encoding` holds.

        What has arrived of that part; of a compressed body the first `SEEN_BYTES` at most.
        """
        self._looked_at = True
        self._encoding = encoding
        self._json_bytes = json_bytes
        if encoding:
            return self.text() or b""
        first = self._waiting()
        return first if json_bytes is None else first[:json_bytes]

    def json_part(self, json_bytes: int | None) -> bytes:
        """The JSON part (the first `json_bytes`, or all), if it is here whole; else nothing."""
        first = self._waiting()
        if json_bytes is not None:
            return first[:json_bytes] if json_bytes <= len(first) else b""
        return first if self.complete else b""

    # --- for the upstream ---

    def open(self) -> None:
        """Look at what has arrived, and from now on at what follows. Raises `GatewayError` for what may not pass."""
        if not self._looked_at:
            return
        if self.complete:
            self._check_json_part()
        if self.complete and not self._encoding and len(self._pieces) <= 1:
            if self._pieces:
                search = search_whole if self.sequence_read else search_unread
                search(self._pieces[0][: self._json_bytes])
            return
        self._inspector = BodyInspector(
            self._encoding, self._json_bytes, self._max, sequence_read=self.sequence_read
        )
        for piece in self._pieces:
            self._inspector.feed(piece)

    def text(self) -> bytes | None:
        """What has arrived of its JSON part and can be read; None for a raw body, which has none."""
        if self._json_bytes == 0:
            return None
        text = self._waiting()
        if self._encoding:
            # 32 + 15: zlib and gzip formats are told apart by their headers (zlib manual, inflateInit2).
            try:
                text = zlib.decompressobj(47).decompress(text, SEEN_BYTES)
            except zlib.error:
                return b""
        return text[: SEEN_BYTES if self._json_bytes is None else min(self._json_bytes, SEEN_BYTES)]

    def _check_json_part(self) -> None:
        if self._json_bytes is not None and not self._encoding and self._json_bytes > self.received:
            raise json_part_too_long(self._json_bytes, self.received)

    def take(self) -> bytes:
        """The whole body, once `complete`. It is kept, in case another server must be asked."""
        return self._waiting()

    def _waiting(self) -> bytes:
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0] if self._pieces else b""

    def start(self, receiver: Receiver) -> None:
        """Hand over what has arrived, then everything that follows."""
        self._receiver = receiver
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            receiver.body_data(piece)
        if self.complete:
            receiver.body_end()
        else:
            self._owner.body_wanted()
            self._owner.hold_body(False)

    def fail(self, error: GatewayError) -> bool:
        """It may not pass: whether somebody gathers it, and is told so."""
        if not isinstance(self._receiver, Gather):
            return False
        self._receiver.fail(error)
        return True

    def pause(self) -> None:
        """Stop reading from the caller; a body that is whole keeps nothing from being read."""
        if not self.complete:
            self._owner.hold_body(True)

    def resume(self) -> None:
        """Read from the caller again."""
        self._owner.hold_body(False)
