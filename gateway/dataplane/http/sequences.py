"""An HTTP request that may be one of a sequence: its JSON read, and sent on with the gateway's id."""

from gateway.dataplane.call import Call
from gateway.dataplane.http.body import Gather, IncomingBody
from gateway.dataplane.http.decompress import decompressed
from gateway.dataplane.http.head import Head, json_part_too_long
from gateway.dataplane.http.inspect import names_sequence, search_whole, unreadable_sequence
from gateway.dataplane.sequences.asked import Asked
from gateway.dataplane.sequences.json_request import JsonRequest, Unreadable
from gateway.dataplane.sequences.own_id import OwnIdSink
from gateway.dataplane.whole_body import WholeBody
from gateway.errors import GatewayError, Kind
from gateway.upstream.exchange import SEEN_BYTES, Receiver

MOST_BYTES = 4 * 1024 * 1024
"""Of a body that is all JSON, or compressed, and of a sequence: it is held whole. Tensors in binary form pass as they come."""

_CHANGED = (b"content-encoding", b"accept-encoding", b"inference-header-content-length")


class HttpSequence:
    """One `infer` request whose first bytes name a sequence, as far as can be told without reading them."""

    def __init__(self, head: Head, body: IncomingBody, most_bytes: int) -> None:
        self._head = head
        self._body = body
        self._most = min(MOST_BYTES, most_bytes)
        self._request: JsonRequest | None = None
        self._text = self._rest = b""
        self._gathered = False

    async def read(self, call: Call) -> Asked | None:
        """What it says of its sequence. Raises BAD_REQUEST where it says it in two ways, or in one that is not understood."""
        body, json_bytes = self._body, self._head.json_bytes
        self._text = b"" if self._head.content_encoding else body.json_part(json_bytes)
        if not self._text:
            await self._gather(call)
        body.sequence_read = True
        try:
            self._request = JsonRequest(self._text)
        except Unreadable as error:
            if names_sequence(self._text):
                raise unreadable_sequence() from error
            return None
        return self._request.asked

    def send_as(self, call: Call, asked: Asked, upstream_id: int) -> None:
        """As `SequenceRequest` says. The reply is not compressed, so that it can be looked at."""
        assert self._request is not None
        text = self._request.with_id(upstream_id)
        headers = without(call.headers, _CHANGED)
        if self._head.json_bytes is not None:
            headers += b"Inference-Header-Content-Length: %d\r\n" % len(text)
        call.headers = headers
        if self._gathered:
            call.body = WholeBody(text + self._rest, text=text)
        else:
            call.body = RewrittenBody(text, len(self._text), self._body)
        call.sink = OwnIdSink(call.sink, asked, upstream_id)

    async def _gather(self, call: Call) -> None:
        """Have the body whole, and as it was before it was compressed."""
        body, head = self._body, self._head
        if (body.length or 0) > self._most:
            raise _too_much(self._most)
        if body.complete:
            data = body.take()
        else:
            gather = Gather(self._most)
            body.start(gather)
            data = await gather.whole
        plain = decompressed(data, self._most) if head.content_encoding else data
        if head.json_bytes is not None and head.json_bytes > len(plain):
            raise json_part_too_long(head.json_bytes, len(plain))
        self._gathered = True
        self._text = plain[: head.json_bytes]
        self._rest = plain[len(self._text) :]
        call.body = WholeBody(data, text=self._text)
        search_whole(self._text)


class RewrittenBody:
    """A body that begins with `text` instead of its own first `skipped` bytes."""

    def __init__(self, text: bytes, skipped: int, body: IncomingBody) -> None:
        self._text = text
        self._skipped = skipped
        self._more = len(text) - skipped
        self._body = body

    @property
    def length(self) -> int | None:
        """Its size in bytes, as far as it is known."""
        return None if self._body.length is None else self._body.length + self._more

    @property
    def received(self) -> int:
        """How many bytes of it are here."""
        return self._body.received + self._more

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        return self._body.complete

    def open(self) -> None:
        """Look at what has arrived. Raises `GatewayError` for what may not pass."""
        self._body.open()

    def text(self) -> bytes | None:
        """Its JSON part."""
        return self._text[:SEEN_BYTES]

    def take(self) -> bytes:
        """All of it."""
        return self._text + self._body.take()[self._skipped :]

    def start(self, receiver: Receiver) -> None:
        """Hand it over as it comes."""
        receiver.body_data(self._text)
        self._body.start(_Behind(receiver, self._skipped))

    def pause(self) -> None:
        """Stop reading from the caller."""
        self._body.pause()

    def resume(self) -> None:
        """Read from the caller again."""
        self._body.resume()


class _Behind:
    """Passes on what of a body is behind its first `skip` bytes. Refers to no body, so that none refers to itself."""

    def __init__(self, receiver: Receiver, skip: int) -> None:
        self._receiver = receiver
        self._skip = skip

    def body_data(self, data: bytes | memoryview) -> None:
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        if len(data) > skipped:
            self._receiver.body_data(data[skipped:])

    def body_end(self) -> None:
        self._receiver.body_end()


def without(block: bytes, names: tuple[bytes, ...]) -> bytes:
    """A block of header fields without those of these names (in lower case)."""
    lines = block.splitlines(keepends=True)
    return b"".join(line for line in lines if line.partition(b":")[0].lower() not in names)


def _too_much(most_bytes: int) -> GatewayError:
    return GatewayError(
        Kind.TOO_LARGE,
        f"The JSON of a request of a sequence may have {most_bytes} bytes; send its tensors in binary form.",
        close=True,
    )
