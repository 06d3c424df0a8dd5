"""What a transport hands to the pipeline, and what the pipeline learns on the way."""

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from gateway.dataplane.concurrency.gate import Share
from gateway.dataplane.sample import Capture
from gateway.dataplane.sequences.asked import Asked
from gateway.dataplane.sequences.place import Place
from gateway.errors import GatewayError
from gateway.observe.trace_context import TraceContext
from gateway.observe.traces import RequestSpan
from gateway.snapshot.compile import Snapshot
from gateway.types import Alias, Field, Operation, Principal, Target
from gateway.upstream.exchange import Body, Exchange, Sink

CallProtocol = Literal["http", "grpc", "openai"]

CALLER_GONE = "caller_gone"
"""The outcome of a call whose caller went before the reply was whole."""


class SequenceRequest(Protocol):
    """A request that may be one of a sequence, as its transport has it."""

    async def read(self, call: "Call") -> Asked | None:
        """What it says of its sequence; None where it is of none. Raises BAD_REQUEST or TOO_LARGE where that cannot be told."""

    def send_as(self, call: "Call", asked: Asked, upstream_id: int) -> None:
        """Have the call go upstream with that id, and its reply come back with the caller's own."""


class Credentials(msgspec.Struct, gc=False):
    """The credential headers as they came; None where there was none. `count` is how many there were.

    `digest` is that of the key which they turned out to hold: callers repeat themselves, and it need not be computed anew.
    """

    authorization: bytes | None
    api_key: bytes | None
    count: int
    digest: bytes = b""


class Trail(msgspec.Struct, eq=False):
    """How far a call came: the steps leave here what `record` tells. `began` is monotonic seconds.

    `gone` says that the call was cut off because its caller went. `share` is where it holds a slot, once it does;
    `queued_s` is how long it waited for one, in seconds. `fields` are what steps tell the caller with the
    reply, whatever becomes of it. `inferences` are batch rows where somebody looked, `tokens` what the outcome told.
    `expected_tokens` are those that it will have used at most, where its request tells.
    `capture` notes a call that was chosen as a sample.
    `span` is where a step tells of what took time; None where the call is not traced.
    """

    began: float
    principal: Principal | None = None
    target: Target | None = None
    exchange: Exchange | None = None
    error: GatewayError | None = None
    gone: bool = False
    share: Share | None = None
    queued_s: float = 0.0
    fields: tuple[Field, ...] = ()
    inferences: int = 1
    tokens: int = 0
    expected_tokens: int = 0
    capture: Capture | None = None
    span: RequestSpan | None = None


class Call(msgspec.Struct, eq=False):
    """One request of a caller, whatever its protocol.

    `version` is the pinned version, if the caller named one. `query` goes upstream with its question mark,
    `headers` as the block that it is. `timeout_s` and `criticality` are the caller's own, if any.
    `rewrite`, where there is one, makes the reply's body from Triton's, the alias's and the target's. `translation`, where
    there is one, gives a permitted call in other words the body and sink of the target's own protocol. `sequence`, where there is
    one, says which sequence it belongs to, and `place` is then where that is.
    """

    protocol: CallProtocol
    operation: Operation
    alias: str
    version: int | None
    credentials: Credentials
    routing_key: bytes | None
    request_id: str
    query: bytes
    headers: bytes
    body: Body | None
    sink: Sink
    trace: TraceContext
    timeout_s: float | None
    criticality: bytes | None
    rewrite: Callable[[bytes, Alias, Target], bytes] | None
    trail: Trail
    translation: "Callable[[Target, Call, Snapshot], None] | None" = None
    sequence: SequenceRequest | None = None
    place: Place | None = None

    @property
    def trace_id(self) -> str:
        """The id of the trace that it belongs to, its caller's or one that began here; empty where there is none."""
        return self.trace.trace_id if self.trail.span is None else self.trail.span.trace_id
