"""A message over gRPC that is one of a sequence: sent on with the gateway's id, and answered with the caller's own.

Of a key that stands twice in a map protobuf keeps the last value, so both are written behind what is there.
"""

from gateway.dataplane.call import Call
from gateway.dataplane.grpc.messages import error_words, is_told, numbered, said_again
from gateway.dataplane.sequences.asked import Asked
from gateway.dataplane.whole_body import WholeBody
from gateway.types import STREAM_INFER
from gateway.upstream.exchange import Headers, ReplySource, Sink


class MessageSequence:
    """One `ModelInferRequest`, and what was read of it."""

    def __init__(self, message: bytes, asked: Asked) -> None:
        self._message = message
        self._asked = asked

    async def read(self, _: Call) -> Asked | None:
        """What it says of its sequence."""
        return self._asked

    def send_as(self, call: Call, asked: Asked, upstream_id: int) -> None:
        """As `SequenceRequest` says."""
        call.body = WholeBody(self._message + numbered(upstream_id))
        call.sink = OwnIdMessages(call.sink, asked, upstream_id, streamed=call.operation is STREAM_INFER)


class OwnIdMessages:
    """Passes replies on to `sink`, with the caller's id where Triton says the one that went upstream."""

    def __init__(self, sink: Sink, asked: Asked, upstream_id: int, *, streamed: bool) -> None:
        self._sink = sink
        self._asked = asked
        self._upstream = str(upstream_id)
        self._streamed = streamed

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A message, or the words of an error."""
        if status == 200:
            body = self._changed(body)
        else:
            body = body.replace(self._upstream.encode(), str(self._asked.id).encode())
        self._sink.reply_whole(status, headers, body)

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        """Messages follow."""
        self._sink.reply_head(status, headers, length, source)

    def reply_data(self, data: bytes | memoryview) -> None:
        """The next message."""
        self._sink.reply_data(self._changed(bytes(data)))

    def reply_end(self) -> None:
        """There are no more."""
        self._sink.reply_end()

    def _changed(self, message: bytes) -> bytes:
        words = error_words(message) if self._streamed else ""
        if self._upstream in words:
            return message + said_again(words.replace(self._upstream, str(self._asked.id)))
        if is_told(message, streamed=self._streamed):
            return message + numbered(self._asked.id, streamed=self._streamed)
        return message
