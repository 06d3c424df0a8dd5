"""Bytes to one reply of Triton's at a time: its head, what has come of its body, and whether it is complete."""

import httptools
import msgspec

from gateway.types import Field
from gateway.upstream.exchange import Headers

_GOOD, _END = b"HTTP/1.1 200 ", b"\r\n\r\n"
_LONGEST_BYTES = 2048
_MOST = 256
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"})


class KnownReply(msgspec.Struct, frozen=True, gc=False):
    """A head with status 200 that keeps the connection; its body has a length."""

    headers: Headers
    length: int


class KnownReplies:
    """Heads of one server's replies that were understood before: the same bytes mean the same."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownReply] = {}
        self.find = self._known.get

    def learn(self, raw: bytes, headers: Headers, length: int) -> None:
        """The parser found this in these bytes."""
        if not raw.startswith(_GOOD) or raw.find(_END) != len(raw) - len(_END) or len(raw) > _LONGEST_BYTES:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[raw] = KnownReply(headers, length)


class ReplyParser:
    """Parses replies with httptools (llhttp). After each one, `expect` makes it ready for the next.

    `length` is the body's in bytes where the head tells it; `framing_bytes` have come since the last byte of a body:
    heads, chunk framing and trailers. `surplus` says that something follows a reply that nobody asked for.
    """

    __slots__ = (
        "_fields",
        "_parser",
        "_pieces",
        "chunked",
        "complete",
        "framing_bytes",
        "head_done",
        "headers",
        "keep_alive",
        "length",
        "status",
        "surplus",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.expect()

    def expect(self) -> None:
        """A new reply comes next."""
        self._pieces: list[bytes] = []
        self.status = 0
        self.headers: Headers = ()
        self._fields: list[Field] = []
        self.framing_bytes = 0
        self.head_done = False
        self.complete = False
        self.chunked = False
        self.keep_alive = False
        self.surplus = False
        self.length: int | None = None

    def skip_body(self) -> None:
        """The rest of the body went past the parser, which is therefore made anew."""
        self._parser = httptools.HttpResponseParser(self)

    def forget(self) -> None:
        """Let go of the parser, which refers back to this one: the two would wait for the garbage collector."""
        del self._parser

    def feed(self, data: memoryview) -> None:
        """Bytes have come. Raises `httptools.HttpParserError` for what is no HTTP reply."""
        self.framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            # Bytes after a `Connection: close` reply end the connection, not the reply.
            if not (self.complete and self.head_done):
                raise
            self.surplus = True

    def take_body(self) -> bytes:
        """What has come of the body and was not taken yet."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def fresh(self) -> bool:
        """Whether nothing of the next reply has come."""
        return not self.framing_bytes and not self.head_done

    # --- called by httptools ---

    def on_message_begin(self) -> None:
        """A reply begins; behind another one it is nobody's."""
        self.surplus = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """A reply header, or a trailer, which is not passed on."""
        if self.head_done:
            return
        lower = name.lower()
        if lower == b"content-length":
            self.length = int(value)
        elif lower == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise ValueError("a transfer coding that nobody asked for")
            self.chunked = True
        elif lower not in _HOP_BY_HOP:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete; an interim one (1xx) is dropped."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._fields = []
            return
        self.status = status
        self.headers = tuple(self._fields)
        self.keep_alive = self._parser.should_keep_alive()
        self.head_done = True

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self.framing_bytes = 0
        if not self.complete:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """The reply is complete."""
        self.complete = self.complete or self.head_done
