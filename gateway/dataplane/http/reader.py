"""Bytes to requests. The parser (llhttp) runs as bytes arrive; a body of known length that did not come whole with
its head goes past the parser, and so does a head that is known already.
"""

import time
from typing import Protocol

import httptools

from gateway.dataplane.http.body import BodyOwner, IncomingBody
from gateway.dataplane.http.faults import head_too_large, malformed
from gateway.dataplane.http.handler import Handler
from gateway.dataplane.http.head import Fields, Head, read_head
from gateway.dataplane.http.known_heads import HeadMemory, KnownHead
from gateway.dataplane.http.request import Request
from gateway.dataplane.request_id import RequestIds
from gateway.errors import GatewayError, Kind, internal_fault
from gateway.observe.trace_context import NO_TRACE
from gateway.settings import Inference
from gateway.upstream.exchange import SEEN_BYTES
from gateway.upstream.read_buffer import BYTES, LARGE, SMALL


class Owner(BodyOwner, Protocol):
    """The connection that requests arrive on."""

    def request_arrived(self, request: Request) -> None:
        """A request's head is whole, or the request is refused."""

    def request_ended(self) -> None:
        """The last byte of a request is here."""


class RequestReader:
    """Reads the requests of one connection. `forget` must be called when that is gone.

    `stopped` says that nothing more is read: after a refusal that ends the connection, or the last request on it.
    `receiving` is the request whose body is still arriving, handed over or not. `head_bytes` have arrived, since
    `head_since` (monotonic seconds), of a head that is not whole yet; `body_bytes` of the current body.
    """

    __slots__ = (
        "_fields",
        "_framing_bytes",
        "_handed_over",
        "_handler",
        "_ids",
        "_left",
        "_limits",
        "_memory",
        "_owner",
        "_parser",
        "_pieces",
        "_target",
        "body_bytes",
        "head_bytes",
        "head_since",
        "in_body",
        "receiving",
        "stopped",
    )

    def __init__(self, owner: Owner, handler: Handler, limits: Inference, ids: RequestIds) -> None:
        self._owner = owner
        self._handler = handler
        self._limits = limits
        self._ids = ids
        self._parser = httptools.HttpRequestParser(self)
        self._left = 0
        self._memory = HeadMemory(handler.known_heads)
        self._framing_bytes = 0
        self._pieces: list[bytes] = []
        self._handed_over = False
        self.head_since = 0.0
        self.receiving: Request | None = None
        self.body_bytes = 0
        self.stopped = False
        self._expect_head()

    def _expect_head(self) -> None:
        self._target = b""
        self._fields: Fields = []
        self.head_bytes = 0
        self.in_body = False

    def _expect_body(self, request: Request) -> None:
        self.in_body = True
        self.body_bytes = 0
        self._framing_bytes = 0
        self._handed_over = False
        self.receiving = request

    @property
    def body_incomplete(self) -> bool:
        """Whether a body is still arriving."""
        request = self.receiving
        return request is not None and request.body is not None and not request.body.complete

    def forget(self) -> None:
        """Let go of the parser, which refers back to this reader: the two would wait for the garbage collector."""
        self.stopped = True
        self.receiving = None
        del self._parser

    def buffer(self) -> memoryview:
        """Where the next bytes go: a large buffer while a large body passes, else a small one."""
        return LARGE if self._left else SMALL

    def read(self, nbytes: int) -> None:
        """That many bytes are in the buffer."""
        if not self._left:
            start = 0 if self.in_body or self.head_bytes else self._read_known(nbytes)
            if start < nbytes:
                self._parse(SMALL[start:nbytes])
            return
        taken = min(nbytes, self._left)
        self._pass_on(taken)
        if taken < nbytes and not self.stopped:
            self._parse(LARGE[taken:nbytes])

    def refuse(self, error: GatewayError) -> None:
        """Have the connection answer with `error` once all before it are answered, and read no more."""
        if self.stopped:
            return
        self.stopped = True
        error.close = True
        request = self.receiving
        if request is None or not self.in_body:
            request = Request(True, False, self._target, self._ids.new())
        elif self._handed_over:
            self._owner.body_failed(error)
            return
        self.refuse_whole(request, error)
        self._hand_over(request)

    def refuse_whole(self, request: Request, error: GatewayError) -> None:
        """Have a request that nobody answers yet be answered with `error`; the first one said stands."""
        if request.refusal is None:
            request.refusal = error
            trace = NO_TRACE if request.head is None else request.head.trace
            self._handler.refused(error, request.request_id, request.target, trace, self.head_since)

    def _read_known(self, nbytes: int) -> int:
        """Take requests whose heads are known from the front of the buffer; where what is not known begins."""
        start = 0
        while start < nbytes and not self._left and not self.stopped:
            found = self._memory.find(BYTES, start, nbytes)
            if found is None:
                break
            start = self._take_known(*found, nbytes)
        self._memory.watch(BYTES, start, nbytes)
        return start

    def _take_known(self, known: KnownHead, head: Head, start: int, nbytes: int) -> int:
        """A request with a known head, whose body begins at `start`; where what came of it ends."""
        self.head_since = time.monotonic()
        length = head.length or 0
        body = IncomingBody(length, self._limits.max_body_bytes, self._owner)
        request_id = head.request_id or self._ids.new()
        request = Request(True, True, known.target, request_id, None, known.route, head, body)
        end = start + length
        if end <= nbytes:
            body.whole(bytes(SMALL[start:end]))
            self._owner.request_arrived(request)
            self._owner.request_ended()
            return end
        self._expect_body(request)
        self.body_bytes = nbytes - start
        if self.body_bytes:
            body.feed(SMALL[start:nbytes])
        self._body_goes_on(request)
        return nbytes

    def _pass_on(self, nbytes: int) -> None:
        request = self.receiving
        assert request is not None and request.body is not None
        self._left -= nbytes
        self.body_bytes += nbytes
        request.body.feed(LARGE[:nbytes])
        if not self._left:
            self._parser = httptools.HttpRequestParser(self)
            self.on_message_complete()
        elif not self._handed_over and request.body.received >= SEEN_BYTES:
            self._hand_over(request)
            request.body.await_start()

    def _hand_over(self, request: Request) -> None:
        self._handed_over = True
        self._owner.request_arrived(request)

    def _parse(self, data: memoryview) -> None:
        if self.in_body:
            self.body_bytes += len(data)
            self._framing_bytes += len(data)
        else:
            if not self.head_bytes:
                self.head_since = time.monotonic()
            self.head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            self._stay(data[pause.args[0] :])
            return
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self.refuse(cause if isinstance(cause, GatewayError) else internal_fault())
        except httptools.HttpParserError as error:
            self.refuse(malformed(error))
        self._feed_body()
        if not self.in_body:
            if self.head_bytes > self._limits.max_header_bytes:
                self.refuse(head_too_large())
        elif self.receiving is not None and not self.stopped:
            self._body_goes_on(self.receiving)

    def _stay(self, data: memoryview) -> None:
        """The caller asks for another protocol, and the parser left off behind the head: go on in this one (RFC 9110
        section 7.8). `data` follows the head.
        """
        request = self.receiving
        self._parser = httptools.HttpRequestParser(self)
        if self.stopped or request is None or request.head is None or request.body is None:
            return
        length = request.head.length or 0
        self.body_bytes = min(length, len(data))
        if self.body_bytes:
            request.body.feed(data[:length])
        if len(data) < length:
            self._body_goes_on(request)
            return
        self.on_message_complete()
        if len(data) > length and not self.stopped:
            self._parse(data[length:])

    def _body_goes_on(self, request: Request) -> None:
        """The parser has seen all that came, and the body is not whole yet."""
        body = request.body
        if body is None or body.complete:
            return
        if body.length is not None:
            self._left = body.length - body.received
        elif self._framing_bytes > self._limits.max_header_bytes + len(SMALL):
            self.refuse(head_too_large())
            return
        if not self._handed_over and body.received >= SEEN_BYTES:
            self._hand_over(request)
        if self._handed_over:
            # What follows goes straight on once there is somewhere for it to go.
            body.await_start()

    # --- called by the parser ---

    def on_url(self, url: bytes) -> None:
        """The request target, perhaps in pieces."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field; trailers are dropped."""
        if self.in_body:
            return
        self._fields.append((name, value))
        if len(self._fields) > self._limits.max_headers:
            raise head_too_large()

    def on_headers_complete(self) -> None:
        """A head is whole: decide what the request is, without waiting for its body."""
        parser = self._parser
        if parser.get_method() == b"CONNECT":
            raise GatewayError(Kind.NOT_IMPLEMENTED, "The gateway is no tunnel.", close=True)
        version = parser.get_http_version()
        http_11 = version == "1.1"
        request = Request(http_11, parser.should_keep_alive(), self._target, self._ids.new())
        self._expect_body(request)
        head: Head | None = None
        try:
            if not http_11 and version != "1.0":
                raise GatewayError(Kind.BAD_REQUEST, "Speak HTTP/1.1.", close=True)
            head = request.head = read_head(self._fields, http_11, self._limits.max_body_bytes)
            if head.request_id is not None:
                request.request_id = head.request_id
            request.route = self._handler.route(self._target, parser.get_method())
            if http_11 and request.keep_alive:
                self._memory.learn(self._fields, self._target, request.route, head)
        except GatewayError as error:
            self.refuse_whole(request, error)
            # Without a head that is understood there is no telling where the next request begins.
            error.close = error.close or head is None
            self.stopped = error.close
        length = 0 if head is None else head.length
        request.body = IncomingBody(length, self._limits.max_body_bytes, self._owner)
        if (
            request.refusal is not None
            or request.body.complete
            or (head is not None and head.expects_continue)
        ):
            self._hand_over(request)

    def on_body(self, data: bytes) -> None:
        """A piece of a body: of a small one, or of a chunked one."""
        self._framing_bytes = 0
        self._pieces.append(data)

    def _feed_body(self) -> None:
        """Pass on at once all that one read brought: chunks may be of one byte, ten thousand to a read."""
        pieces, request = self._pieces, self.receiving
        if pieces:
            self._pieces = []
            if request is not None and request.body is not None and not self.stopped:
                request.body.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def on_message_complete(self) -> None:
        """A request is whole, unless it asked for another protocol: then this is said behind its head."""
        if self._parser.should_upgrade():
            return
        self._feed_body()
        request = self.receiving
        if request is not None and request.body is not None and not self.stopped:
            request.body.end()
            self.stopped = not request.keep_alive
            if not self._handed_over:
                self._hand_over(request)
        self.receiving = None
        self._expect_head()
        self._owner.request_ended()
