"""What goes into the engine and what comes out, and the refusal that becomes an error reply."""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from gateway.upstream.embedded.responses import Asker, Responses

Operation = Literal[
    "infer", "stream_infer", "generate", "generate_stream", "metadata", "config", "stats", "ready"
]
Protocol = Literal["http", "grpc"]
Body = bytes | bytearray | memoryview


class EngineRequest(msgspec.Struct, frozen=True):
    """One parsed call for a pinned model version.

    `asker` is who waits for the answer, and may leave before it.
    Over gRPC the body is a message, and so is that of the reply; an error's are its words alone. Over HTTP `headers` has lower-case names. The engine reads `inference-header-content-length`, `content-encoding` and
    `accept-encoding`; the content type is not looked at, as in Triton.
    """

    operation: Operation
    model: str
    version: int
    headers: Mapping[bytes, bytes]
    body: Body
    protocol: Protocol = "http"
    asker: Asker = msgspec.field(default_factory=Asker)


class EngineReply(msgspec.Struct):
    """What to send back. `headers` lack Content-Length, which is the transport's.

    `events` stands instead of `body` for `generate_stream`: each item is one whole server-sent event. Where the model
    makes them one after another, `stream` says when the next need not be waited for.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    events: Iterator[bytes] | None = None
    stream: Responses | None = None


class Refusal(Exception):
    """A call that gets an error reply: its HTTP status and Triton's words for the fault."""

    def __init__(self, status: int, words: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.headers = headers


def cancelled() -> Refusal:
    """What becomes of a request whose asker has left; nobody reads it."""
    return Refusal(499, "the request was cancelled: nobody waits for its answer")


class LoadFailure(Exception):
    """Why a model, or one version of it, cannot be served."""
