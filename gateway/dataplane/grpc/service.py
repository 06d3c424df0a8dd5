"""`inference.GRPCInferenceService`: each of its methods about a model is a call of the pipeline.

A message is read only once its caller is known (`connection` sees to that, and `_stream` here): who sends no valid credential
cannot make the gateway hold 64 MiB.
"""

import time
from functools import partial

from gateway.dataplane import about, pipeline
from gateway.dataplane.authenticate import is_known
from gateway.dataplane.call import Call, Trail
from gateway.dataplane.grpc.messages import (
    READY,
    InferHead,
    Named,
    metadata_of_alias,
    read_infer,
    read_named,
    server_metadata,
)
from gateway.dataplane.grpc.metadata import Head
from gateway.dataplane.grpc.opening import REPLY, Method, Opening
from gateway.dataplane.grpc.reply import Reply
from gateway.dataplane.grpc.sequences import MessageSequence
from gateway.dataplane.grpc.status import kind_of_fault
from gateway.dataplane.grpc.stream import Decoupled, Stream, StreamReply, answer_message, refuse_message
from gateway.dataplane.grpc.stream_call import StreamCall
from gateway.dataplane.grpc.unary_call import UnaryCall
from gateway.dataplane.plane import Plane
from gateway.dataplane.request_id import RequestIds
from gateway.dataplane.resolve import read_version
from gateway.dataplane.whole_body import WholeBody
from gateway.errors import GatewayError, Kind
from gateway.observe.trace_context import NO_TRACE
from gateway.rpc.codes import RpcFault
from gateway.types import NAME, OPERATIONS, RPC_METHODS, STREAM_INFER, Operation

SERVICE = b"/inference.GRPCInferenceService/"

_NOT_PASSED_ON = (
    b"RepositoryIndex",
    b"RepositoryModelLoad",
    b"RepositoryModelUnload",
    b"SystemSharedMemoryStatus",
    b"SystemSharedMemoryRegister",
    b"SystemSharedMemoryUnregister",
    b"CudaSharedMemoryStatus",
    b"CudaSharedMemoryRegister",
    b"CudaSharedMemoryUnregister",
    b"TraceSetting",
    b"LogSettings",
)
_SERVER_METADATA = server_metadata(about.NAME, about.VERSION, about.EXTENSIONS)

_MOST_ASKED_BYTES = 4096
"""A message to the server itself, from whoever sends it."""

_EARLIER_MOST_S = 0.05
_EARLIER_PART = 0.1
"""So much before a caller's own deadline the gateway's passes, for its answer to arrive in time."""


class Service:
    """Answers calls from one plane. `running` are the trails of those under way, `streams` the callers' streams.

    `methods` are those that it has.
    """

    def __init__(self, plane: Plane, ids: RequestIds) -> None:
        self.running: set[Trail] = set()
        self.streams: set[Stream] = set()
        self._decoupled = Decoupled()
        self._plane = plane
        self._ids = ids
        most = plane.limits.max_body_bytes
        stream = SERVICE + RPC_METHODS[STREAM_INFER.name].encode()
        self.methods = [
            Method(SERVICE + b"ServerLive", self._live, _MOST_ASKED_BYTES),
            Method(SERVICE + b"ServerReady", self._ready, _MOST_ASKED_BYTES),
            Method(SERVICE + b"ServerMetadata", self._metadata, _MOST_ASKED_BYTES),
            Method(stream, self._stream, most, streamed=True),
        ]
        for operation in OPERATIONS.values():
            if operation.name in RPC_METHODS:
                answer = partial(self._answer, operation)
                path = SERVICE + RPC_METHODS[operation.name].encode()
                self.methods.append(Method(path, answer, most, named=True))
        self.methods += [Method(SERVICE + name, self._deny, _MOST_ASKED_BYTES) for name in _NOT_PASSED_ON]

    # --- about the server ---

    async def _live(self, call: UnaryCall) -> None:
        call.whole()
        call.reply(REPLY, READY)

    async def _ready(self, call: UnaryCall) -> None:
        call.whole()
        call.reply(REPLY, READY if self._plane.ready else b"")

    async def _metadata(self, call: UnaryCall) -> None:
        call.whole()
        call.reply(REPLY, _SERVER_METADATA)

    async def _deny(self, call: UnaryCall) -> None:
        error = GatewayError(
            Kind.FORBIDDEN, "The gateway passes on no repository, shared-memory, logging or trace call."
        )
        call.fault = None
        self._refused(error, Reply(call, self._ids.new()), call)

    # --- about a model ---

    async def _answer(self, operation: Operation, incoming: UnaryCall) -> None:
        reply = Reply(incoming, "")
        try:
            call = self._read(operation, reply, incoming)
        except GatewayError as error:
            reply.request_id = reply.request_id or self._ids.new()
            self._refused(error, reply, incoming)
            return
        self.running.add(call.trail)
        try:
            await pipeline.serve(call, self._plane)
            reply.send()
        except GatewayError as error:
            reply.refuse(error)
        finally:
            self.running.discard(call.trail)
            _let_go(call)

    def _read(self, operation: Operation, reply: Reply, incoming: UnaryCall) -> Call:
        """The call as it is, its message read if its caller is known. Raises what is wrong with either."""
        head = _head(incoming.opening)
        reply.request_id = head.request_id or self._ids.new()
        try:
            message = incoming.whole()
        except RpcFault as fault:
            raise GatewayError(kind_of_fault(fault.status), fault.words) from None
        named: Named | InferHead = _NOBODYS
        if message is not None:
            named = read_infer(message) if operation.name == "infer" else read_named(message)
            _check_name(named.name)
        return self._call(operation, head, named, WholeBody(message or b""), reply, incoming)

    async def _stream(self, incoming: StreamCall) -> None:
        plane = self._plane
        reply = Reply(incoming, "")
        try:
            head = _head(incoming.opening)
        except GatewayError as error:
            reply.request_id = self._ids.new()
            self._refused(error, reply, incoming)
            return
        if not is_known(head.credentials, plane.snapshot, plane.digest_key, plane.tokens):
            reply.request_id = head.request_id or self._ids.new()
            call = self._call(STREAM_INFER, head, _NOBODYS, WholeBody(b""), reply, incoming)
            try:
                await pipeline.serve(call, plane)
            except GatewayError as error:
                reply.refuse(error)
            finally:
                _let_go(call)
            return
        stream = Stream(
            incoming, partial(self._message_of_stream, head, incoming), real_status=head.real_status
        )
        self.streams.add(stream)
        try:
            await stream.run()
        finally:
            self.streams.discard(stream)

    async def _message_of_stream(self, head: Head, incoming: StreamCall, stream: Stream, data: bytes) -> None:
        """One message on a stream: read, carried out in its sequence's turn, its replies passed on."""
        began = time.monotonic()
        reply = StreamReply(stream.outlet, stream.order, head.request_id or self._ids.new())
        try:
            named = read_infer(data)
            reply.message_id = named.id
            _check_name(named.name)
            call = self._call(STREAM_INFER, head, named, WholeBody(data), reply, incoming, began)
        except GatewayError as error:
            path = _method(incoming).path
            self._plane.recorder.refused(error, reply.request_id, path, head.trace, began, "grpc")
            await refuse_message(reply, error)
            return
        trail = call.trail
        async with stream.sequence(named):
            self.running.add(trail)
            try:
                await answer_message(call, reply, self._plane, self._decoupled)
            finally:
                self.running.discard(trail)
                stream.principal = trail.principal or stream.principal
                _let_go(call)

    def _call(
        self,
        operation: Operation,
        head: Head,
        named: Named | InferHead,
        body: WholeBody,
        reply: Reply | StreamReply,
        incoming: UnaryCall | StreamCall,
        began: float | None = None,
    ) -> Call:
        trail = reply.trail = Trail(incoming.began if began is None else began)
        own_s = sequence = None
        if isinstance(named, InferHead):
            trail.inferences = named.rows
            own_s = named.timeout_s
            if named.sequence is not None:
                sequence = MessageSequence(body.take(), named.sequence)
        fields = head.trace.fields
        tracing = self._plane.tracing
        if tracing is not None:
            trail.span = tracing.begin(head.trace)
            if trail.span is not None:
                # Each attempt upstream says for itself where it stands in the trace.
                fields = b""
        return Call(
            "grpc",
            operation,
            named.name,
            read_version(named.version) if named.version else None,
            head.credentials,
            head.routing_key,
            reply.request_id,
            b"",
            b"%b%bx-request-id: %b\r\n" % (head.headers, fields, reply.request_id.encode()),
            body,
            reply,
            head.trace,
            self._timeout_s(operation, incoming.remaining_s, own_s),
            head.criticality,
            metadata_of_alias if operation.name == "metadata" else None,
            trail,
            sequence=sequence,
        )

    def _timeout_s(
        self, operation: Operation, remaining_s: float | None, own_s: float | None
    ) -> float | None:
        """A message of a stream that says nothing else may be answered for as long as any call."""
        wish_s = _earlier(remaining_s, own_s)
        return self._plane.limits.max_deadline_s if wish_s is None and operation is STREAM_INFER else wish_s

    def _refused(self, error: GatewayError, reply: Reply, incoming: UnaryCall | StreamCall) -> None:
        """Refuse a call that never came to the pipeline; what is wrong with its message has the status that gRPC gives it."""
        path, began = _method(incoming).path, incoming.began
        self._plane.recorder.refused(error, reply.request_id, path, NO_TRACE, began, "grpc")
        reply.refuse(error, None if incoming.fault is None else incoming.fault.status)


_NOBODYS = Named("", "")


def _head(opening: Opening) -> Head:
    """What the metadata says. Raises BAD_REQUEST where it may not be."""
    if opening.head is None:
        assert opening.fault is not None
        raise GatewayError(opening.fault.kind, opening.fault.detail)
    return opening.head


def _method(incoming: UnaryCall | StreamCall) -> Method:
    assert incoming.opening.method is not None
    return incoming.opening.method


def _let_go(call: Call) -> None:
    """Undo what refers to itself: the reply knows its trail, that the exchange, and that the reply; an error knows frames.

    Otherwise messages of a call that is over would stay until the garbage collector runs, which is late (`app.data`).
    """
    call.body = call.sequence = None
    call.trail.exchange = call.trail.error = None


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise GatewayError(
            Kind.BAD_REQUEST,
            "The model's name must be an alias: 1 to 128 letters, digits, '.', '_', '-', of which the first is a letter or digit.",
        )


def _earlier(remaining_s: float | None, own_s: float | None) -> float | None:
    """The caller's own deadline, in seconds from now: what is left of that of its call, or its message's if that is earlier."""
    if remaining_s is None:
        return own_s
    remaining_s -= min(_EARLIER_MOST_S, _EARLIER_PART * remaining_s)
    return remaining_s if own_s is None else min(remaining_s, own_s)
