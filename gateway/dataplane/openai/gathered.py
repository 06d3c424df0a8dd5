"""Where a model's replies go that are given to the caller whole."""

from collections.abc import Callable
from typing import Final

import msgspec

from gateway.dataplane.call import Trail
from gateway.dataplane.openai import errors
from gateway.dataplane.openai.limits import tell_limits
from gateway.dataplane.openai.wording import JSON_HEADERS
from gateway.errors import GatewayError, Kind, Source
from gateway.upstream.exchange import Headers, ReplySource, Sink

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of a reply that is gathered whole."""


class Gathered:
    """Gathers a reply, and gives the caller what `answer` makes of its fields and body. Errors of the model's server are
    passed on in OpenAI's form.
    """

    def __init__(self, reply: Sink, trail: Trail, answer: Callable[[Headers, bytes], bytes]) -> None:
        self._reply = reply
        self._trail = trail
        self._answer = answer
        self._status = 0
        self._headers: Headers = ()
        self._body = bytearray()

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """It came whole."""
        answer = self._answer(headers, body) if status == 200 else models_error(status, body)
        tell_limits(self._trail)
        self._reply.reply_whole(status, JSON_HEADERS, answer)

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        """Its body follows."""
        self._status, self._headers = status, headers

    def reply_data(self, data: bytes | memoryview) -> None:
        """The next bytes. Raises BAD_GATEWAY for too many."""
        self._body += data
        if len(self._body) > MOST_BYTES:
            raise GatewayError(
                Kind.BAD_GATEWAY, "The model's server sent too large a reply.", source=Source.UPSTREAM
            )

    def reply_end(self) -> None:
        """It is whole now."""
        self.reply_whole(self._status, self._headers, bytes(self._body))


def models_error(status: int, body: bytes) -> bytes:
    """What the model's server said, in OpenAI's form."""
    try:
        words = str(msgspec.json.decode(body)["error"])
    except (msgspec.DecodeError, RecursionError, LookupError, TypeError):
        words = f"The model's server answered with status {status}."
    kind = "invalid_request_error" if status < 500 else "server_error"
    return msgspec.json.encode(
        errors.document(words, kind, "model_refused" if status < 500 else "model_failed")
    )
