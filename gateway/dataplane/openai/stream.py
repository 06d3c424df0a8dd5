"""An answer in pieces: the model's events, as they arrive, become the caller's."""

from collections.abc import Iterator

import msgspec

from gateway.dataplane.call import Trail
from gateway.dataplane.openai.answer import Answer
from gateway.dataplane.openai.errors import error_document
from gateway.dataplane.openai.events import EventReader
from gateway.dataplane.openai.gathered import Gathered, models_error
from gateway.dataplane.openai.limits import tell_limits
from gateway.dataplane.openai.wording import JSON_HEADERS, STREAM_HEADERS
from gateway.errors import GatewayError
from gateway.upstream.exchange import Headers, ReplySource, Sink


class Stream:
    """Takes a model's stream. The caller's begins with the first event: until then an error still has its own status.

    `begun`: the caller has its head.
    """

    def __init__(self, reply: Sink, trail: Trail, answer: Answer, *, include_usage: bool) -> None:
        self._reply = reply
        self._trail = trail
        self._answer = answer
        self._include_usage = include_usage
        self._events = EventReader()
        self._source: ReplySource | None = None
        self._refusal: Gathered | None = None
        self._worded = False
        self._over = False
        self.begun = False

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """It came whole: a refusal, or all events at once."""
        events = b"".join((*self._told(body), self._end())) if status == 200 else models_error(status, body)
        tell_limits(self._trail)
        self._reply.reply_whole(status, STREAM_HEADERS if status == 200 else JSON_HEADERS, events)

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        """Events follow, or a refusal."""
        self._source = source
        if status != 200:
            self._refusal = Gathered(self._reply, self._trail, lambda _, body: body)
            self._refusal.reply_head(status, headers, length, source)

    def reply_data(self, data: bytes | memoryview) -> None:
        """The next bytes. Raises BAD_GATEWAY for what cannot be read, once what came before it has been passed on."""
        if self._refusal is not None:
            self._refusal.reply_data(data)
            return
        told = bytearray()
        try:
            for event in self._told(bytes(data)):
                told += event
        finally:
            self._pass_on(bytes(told))
        if self._answer.ending.reason is not None and not self._over:
            self.reply_end()
            if self._trail.exchange is not None:
                # What the model would still say nobody hears.
                self._trail.exchange.enough()

    def reply_end(self) -> None:
        """The model has ended."""
        if self._refusal is not None:
            self._refusal.reply_end()
        elif not self._over:
            self._pass_on(self._end())
            self._reply.reply_end()

    def fail(self, error: GatewayError) -> None:
        """The stream has begun, and breaks off: its last event says why."""
        if not self._over:
            self._over = True
            self._reply.reply_data(
                b"event: error\ndata: " + msgspec.json.encode(error_document(error)) + b"\n\n"
            )
            self._reply.reply_end()

    def _told(self, data: bytes) -> Iterator[bytes]:
        """The caller's events of the model's bytes."""
        for event in self._events.feed(data):
            text = self._answer.heard(event)
            yield self._first()
            if text:
                yield self._answer.wording.piece(text)

    def _first(self) -> bytes:
        """What stands before all other events, once."""
        if self._worded:
            return b""
        self._worded = True
        return self._answer.wording.begin_stream(with_usage=self._include_usage)

    def _end(self) -> bytes:
        """The last events."""
        self._over = True
        answer, first = self._answer, self._first()
        held = answer.ending.end()
        usage = answer.usage() if self._include_usage else None
        last = answer.wording.end_stream(answer.ending.reason or "stop", usage)
        return first + (answer.wording.piece(held) if held else b"") + last

    def _pass_on(self, events: bytes) -> None:
        if not events:
            return
        if self._source is not None:
            source, self._source = self._source, None
            self.begun = True
            tell_limits(self._trail)
            self._reply.reply_head(200, STREAM_HEADERS, None, source)
        self._reply.reply_data(events)
