"""HTTP replies to a request of a sequence: where Triton says the id, the caller reads its own.

Ensembles say it in their parameters, which stand before the outputs; errors in their words.
"""

from gateway.dataplane.sequences.asked import Asked
from gateway.dataplane.sequences.json_request import own_id_text
from gateway.upstream.exchange import Headers, ReplySource, Sink

FIRST_BYTES = 4096
"""So much of a reply is looked at."""

_JSON_LENGTH = b"inference-header-content-length"
_FIRST_ERROR = 400


class OwnIdSink:
    """Passes a reply on to `sink`, with the caller's id instead of the one that went upstream."""

    def __init__(self, sink: Sink, asked: Asked, upstream_id: int) -> None:
        self._sink = sink
        self._own = own_id_text(asked)
        self._upstream = b"%d" % upstream_id
        self._held: tuple[int, Headers, int | None, ReplySource] | None = None
        self._first = b""

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A reply that is complete."""
        changed = self._changed(status, body)
        self._sink.reply_whole(status, _longer(headers, len(changed) - len(body)), changed)

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        """The head waits for the first bytes behind it, since their number may change."""
        self._held = (status, headers, length, source)

    def reply_data(self, data: bytes | memoryview) -> None:
        """The next bytes."""
        if self._held is None:
            self._sink.reply_data(data)
            return
        self._first += data
        length = self._held[2]
        if len(self._first) >= (FIRST_BYTES if length is None else min(FIRST_BYTES, length)):
            self._go_on()

    def reply_end(self) -> None:
        """The reply is complete."""
        self._go_on()
        self._sink.reply_end()

    def _go_on(self) -> None:
        if self._held is None:
            return
        (status, headers, length, source), self._held = self._held, None
        first, self._first = self._first, b""
        changed = self._changed(status, first)
        more = len(changed) - len(first)
        self._sink.reply_head(
            status, _longer(headers, more), None if length is None else length + more, source
        )
        if changed:
            self._sink.reply_data(changed)

    def _changed(self, status: int, body: bytes) -> bytes:
        if status >= _FIRST_ERROR:
            # Within words a text has no quotation marks, and the escapes that it has as JSON.
            own = self._own
            return body.replace(self._upstream, own[1:-1] if own.startswith(b'"') else own)
        said, end = b'"sequence_id":' + self._upstream, min(len(body), FIRST_BYTES)
        at = body.find(said, 0, end)
        if at < 0:
            return body
        return b"".join((body[:at], b'"sequence_id":', self._own, body[at + len(said) :]))


def _longer(headers: Headers, more: int) -> Headers:
    """The fields of a reply whose JSON has so many bytes more."""
    if not more:
        return headers
    return tuple(
        (name, b"%d" % (int(value) + more) if name.lower() == _JSON_LENGTH else value)
        for name, value in headers
    )
