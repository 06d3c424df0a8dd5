"""`inference.GRPCInferenceService`: each of its methods about a model is a call of the pipeline.

A message is read only once its caller is known: who sends no valid credential cannot make the gateway hold 64 MiB.
"""

import time
from functools import partial
from typing import NoReturn

import grpc
import grpc.aio

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
from gateway.dataplane.grpc.metadata import Head, read_metadata
from gateway.dataplane.grpc.reply import Reply
from gateway.dataplane.grpc.sequences import MessageSequence
from gateway.dataplane.grpc.stream import Decoupled, Stream, StreamReply, answer_message, refuse_message
from gateway.dataplane.plane import Plane
from gateway.dataplane.request_id import RequestIds
from gateway.dataplane.resolve import read_version
from gateway.dataplane.whole_body import WholeBody
from gateway.errors import GatewayError, Kind
from gateway.observe.trace_context import NO_TRACE
from gateway.types import NAME, OPERATIONS, RPC_METHODS, STREAM_INFER, Operation

SERVICE = "/inference.GRPCInferenceService/"

_NOT_PASSED_ON = (
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
)
_SERVER_METADATA = server_metadata(about.NAME, about.VERSION, about.EXTENSIONS)

_EARLIER_MOST_S = 0.05
_EARLIER_PART = 0.1
"""So much before a caller's own deadline the gateway's passes, for its answer to arrive in time."""


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers calls from one plane. `running` are the trails of those under way, `streams` the callers' streams."""

    def __init__(self, plane: Plane, ids: RequestIds) -> None:
        self.running: set[Trail] = set()
        self.streams: set[Stream] = set()
        self._decoupled = Decoupled()
        self._plane = plane
        self._ids = ids
        self._handlers = {
            SERVICE + "ServerLive": grpc.unary_unary_rpc_method_handler(self._live),
            SERVICE + "ServerReady": grpc.unary_unary_rpc_method_handler(self._ready),
            SERVICE + "ServerMetadata": grpc.unary_unary_rpc_method_handler(self._metadata),
        }
        stream = SERVICE + RPC_METHODS[STREAM_INFER.name]
        self._handlers[stream] = grpc.stream_stream_rpc_method_handler(partial(self._stream, stream))
        for operation in OPERATIONS.values():
            if operation.name not in RPC_METHODS:
                continue
            name = RPC_METHODS[operation.name]
            answer = partial(self._answer, SERVICE + name, operation)
            self._handlers[SERVICE + name] = grpc.stream_unary_rpc_method_handler(answer)
        for name in _NOT_PASSED_ON:
            deny = partial(self._deny, SERVICE + name)
            self._handlers[SERVICE + name] = grpc.unary_unary_rpc_method_handler(deny)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a method; None for one that the service does not have."""
        return self._handlers.get(handler_call_details.method)

    # --- about the server ---

    async def _live(self, _: bytes, __: grpc.aio.ServicerContext) -> bytes:
        return READY

    async def _ready(self, _: bytes, __: grpc.aio.ServicerContext) -> bytes:
        return READY if self._plane.ready else b""

    async def _metadata(self, _: bytes, __: grpc.aio.ServicerContext) -> bytes:
        return _SERVER_METADATA

    async def _deny(self, method: str, _: bytes, context: grpc.aio.ServicerContext) -> bytes:
        error = GatewayError(
            Kind.FORBIDDEN, "The gateway passes on no repository, shared-memory, logging or trace call."
        )
        await self._refused(method, error, Reply(context, self._ids.new()), time.monotonic())

    # --- about a model ---

    async def _answer(
        self, method: str, operation: Operation, _: object, context: grpc.aio.ServicerContext
    ) -> bytes:
        began = time.monotonic()
        reply = Reply(context, "")
        try:
            call = await self._read(operation, reply, context, began)
        except GatewayError as error:
            reply.request_id = reply.request_id or self._ids.new()
            await self._refused(method, error, reply, began)
        try:
            await self._serve(call, reply)
            return await reply.send()
        finally:
            _let_go(call)

    async def _read(
        self, operation: Operation, reply: Reply, context: grpc.aio.ServicerContext, began: float
    ) -> Call:
        """The call as it is, its message read if its caller is known. Raises BAD_REQUEST."""
        plane = self._plane
        head = read_metadata(context.invocation_metadata())
        reply.request_id = head.request_id or self._ids.new()
        message = b""
        named: Named | InferHead = _NOBODYS
        if is_known(head.credentials, plane.snapshot, plane.digest_key, plane.tokens):
            message = await _message(context)
            named = read_infer(message) if operation.name == "infer" else read_named(message)
            _check_name(named.name)
        return self._call(operation, head, named, WholeBody(message), reply, context, began)

    async def _serve(self, call: Call, reply: Reply) -> None:
        self.running.add(call.trail)
        try:
            await pipeline.serve(call, self._plane)
        except GatewayError as error:
            await reply.refuse(error)
        finally:
            self.running.discard(call.trail)

    async def _stream(self, method: str, _: object, context: grpc.aio.ServicerContext) -> None:
        began = time.monotonic()
        plane = self._plane
        reply = Reply(context, "")
        try:
            head = read_metadata(context.invocation_metadata())
        except GatewayError as error:
            reply.request_id = self._ids.new()
            await self._refused(method, error, reply, began)
        if not is_known(head.credentials, plane.snapshot, plane.digest_key, plane.tokens):
            reply.request_id = head.request_id or self._ids.new()
            call = self._call(STREAM_INFER, head, _NOBODYS, WholeBody(b""), reply, context, began)
            try:
                await pipeline.serve(call, plane)
            except GatewayError as error:
                await reply.refuse(error)
        stream = Stream(context, partial(self._message_of_stream, method, head, context))
        self.streams.add(stream)
        try:
            await stream.run()
        finally:
            self.streams.discard(stream)

    async def _message_of_stream(
        self, method: str, head: Head, context: grpc.aio.ServicerContext, stream: Stream, data: bytes
    ) -> None:
        """One message on a stream: read, carried out in its sequence's turn, its replies passed on."""
        began = time.monotonic()
        reply = StreamReply(stream.outlet, stream.order, head.request_id or self._ids.new())
        try:
            named = read_infer(data)
            reply.message_id = named.id
            _check_name(named.name)
            call = self._call(STREAM_INFER, head, named, WholeBody(data), reply, context, began)
        except GatewayError as error:
            self._plane.recorder.refused(error, reply.request_id, method.encode(), head.trace, began, "grpc")
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
        context: grpc.aio.ServicerContext,
        began: float,
    ) -> Call:
        trail = reply.trail = Trail(began)
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
            self._timeout_s(operation, context.time_remaining(), own_s),
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

    async def _refused(self, method: str, error: GatewayError, reply: Reply, began: float) -> NoReturn:
        """Refuse a call that never came to the pipeline."""
        self._plane.recorder.refused(error, reply.request_id, method.encode(), NO_TRACE, began, "grpc")
        await reply.refuse(error)


_NOBODYS = Named("", "")


def _let_go(call: Call) -> None:
    """Undo what refers to itself: the reply knows its trail, that the exchange, and that the reply; an error knows frames.

    Otherwise messages of a call that is over would stay until the garbage collector runs, which is late (`app.data`).
    """
    call.body = call.sequence = None
    call.trail.exchange = call.trail.error = None


async def _message(context: grpc.aio.ServicerContext) -> bytes:
    """The call's one message. Raises BAD_REQUEST when there is none, perhaps because it was too large."""
    message = await context.read()
    if message is grpc.aio.EOF:
        raise GatewayError(Kind.BAD_REQUEST, "The call ended without a message.")
    assert isinstance(message, bytes)
    return message


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
