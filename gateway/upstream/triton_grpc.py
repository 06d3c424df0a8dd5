"""The channel to one Triton server's gRPC port. Messages pass as bytes; what they hold is not looked at."""

import asyncio
import time
from base64 import b64decode

import grpc
import grpc.aio

from gateway.errors import GatewayError, Kind, Source
from gateway.types import RPC_METHODS, STREAM_INFER, Target
from gateway.upstream.exchange import GRPC_STATUS, Exchange, Flow, overdue
from gateway.upstream.triton_http import NotLoaded
from gateway.wire import Malformed, Scan, tag_of, text_of, written

_SERVICE = "/inference.GRPCInferenceService/"
_NOT_LOADED = "Request for unknown model"
_ERROR = bytes([tag_of(1)])
_CORES_OWN = (
    "Stream removed (",
    "No status received",
    "Received http2 header with status: ",
    "Compression bit set",
)
_TOO_LARGE = "Received message larger than max"
"""How core's words begin where a reply broke off, or was none, and what they hold where one was too large. Such an error has
a code of core's choice and looks like the server's own.
"""
_MOST_BACKOFF_MS = 1000
_DEADLINE_SLACK_S = 0.05

_OPTIONS = (
    # A channel's connections are its own, and so is what it knows of them.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_reconnect_backoff_ms", _MOST_BACKOFF_MS),
    ("grpc.max_send_message_length", -1),
)

HTTP_STATUS: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""The HTTP status that stands for a code in metrics and the access log (google/rpc/code.proto)."""


class Channel:
    """Carries exchanges to one server, many at a time. `retire` closes it once the last one has ended."""

    def __init__(self, host: str, port: int, max_message_bytes: int) -> None:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._channel = grpc.aio.insecure_channel(
            address, options=(*_OPTIONS, ("grpc.max_receive_message_length", max_message_bytes))
        )
        self._calls = {
            name: self._channel.unary_unary(_SERVICE + method)
            for name, method in RPC_METHODS.items()
            if name != STREAM_INFER.name
        }
        self._open_stream = self._channel.stream_stream(_SERVICE + RPC_METHODS[STREAM_INFER.name])
        self._in_flight = 0
        self._retired = False
        self._closing: asyncio.Task[None] | None = None

    async def connect(self, limit_s: float) -> None:
        """Wait for the connection, if it does not stand already. Raises `OSError`, `TimeoutError` among them."""
        state = self._channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.READY:
            return
        async with asyncio.timeout(limit_s):
            while state is not grpc.ChannelConnectivity.READY:
                if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
                    raise ConnectionError("the gRPC port takes no connection")
                await self._channel.wait_for_state_change(state)
                state = self._channel.get_state(try_to_connect=True)

    async def carry(self, exchange: Exchange, target: Target) -> None:
        """Send the exchange's message with the target's name and version; its reply goes to its sink.

        Raises `GatewayError`, `NotLoaded` among them, when no reply came that could be passed on.
        """
        assert exchange.body is not None
        message = pinned(exchange.body.take(), target)
        now = time.monotonic()
        metadata = read_block(exchange.headers + exchange.trace)
        timeout_s = max(exchange.deadline - now, 0.0)
        self._in_flight += 1
        exchange.started = exchange.sent = now
        try:
            if exchange.operation is STREAM_INFER:
                await _stream(exchange, self._open_stream(timeout=timeout_s, metadata=metadata), message)
            else:
                start = self._calls[exchange.operation.name]
                await _whole(exchange, start(message, timeout=timeout_s, metadata=metadata))
            exchange.finish()
        except grpc.aio.AioRpcError as error:
            _raise_own_end(exchange)
            self._failed(exchange, error)
        except asyncio.CancelledError:
            _raise_own_end(exchange)
            raise
        finally:
            self._in_flight -= 1
            self._close_if_unused()

    def retire(self) -> None:
        """Carry no more; what is under way goes on to its end."""
        self._retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._retired and not self._in_flight and self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._channel.close())

    def _failed(self, exchange: Exchange, error: grpc.aio.AioRpcError) -> None:
        """Pass on the server's own error; raise for what is none."""
        code, words = error.code(), error.details() or ""
        if words.startswith(_NOT_LOADED):
            # Between two probes a version can be unloaded. That is no fault of the caller's request.
            raise NotLoaded
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and _is_over(exchange):
            raise overdue(exchange)
        if words.startswith(_CORES_OWN) or (code is grpc.StatusCode.UNAVAILABLE and not self._stands()):
            raise _no_reply("a reply that is too large" if _TOO_LARGE in words else "no whole reply")
        exchange.status = HTTP_STATUS.get(code, 500)
        number = b"%d" % code.value[0]
        body = words.encode()
        exchange.reply_bytes = len(body)
        exchange.sink.reply_whole(exchange.status, ((GRPC_STATUS, number),), body)
        exchange.finish()

    def _stands(self) -> bool:
        return self._channel.get_state() is grpc.ChannelConnectivity.READY


async def _whole(exchange: Exchange, call: grpc.aio.UnaryUnaryCall) -> None:
    exchange.on_abort = _Abort(call)
    body = await call
    if body is None:
        # Core takes a call that ended well without its one message, or with half of it, for a reply.
        raise _no_reply("no whole reply")
    exchange.status = 200
    exchange.reply_bytes = len(body)
    exchange.sink.reply_whole(200, written_block(await call.initial_metadata()), body)


async def _stream(exchange: Exchange, call: grpc.aio.StreamStreamCall, message: bytes) -> None:
    """One message on a stream of its own, which ends with the last reply to it."""
    flow = Flow()
    exchange.on_abort = _Abort(call, flow)
    await call.write(message)
    await call.done_writing()
    exchange.sent = time.monotonic()
    begun = False
    async for reply in call:
        if not begun:
            begun = True
            words = _error_of(reply)
            if words.startswith(_NOT_LOADED):
                raise NotLoaded
            exchange.status = 400 if words else 200
            exchange.reply_began()
            exchange.sink.reply_head(exchange.status, (), None, flow)
        exchange.reply_bytes += len(reply)
        exchange.sink.reply_data(reply)
        await flow.open.wait()
    if not begun:
        exchange.status = 200
        exchange.sink.reply_head(200, (), None, flow)
    exchange.sink.reply_end()


def _error_of(reply: bytes) -> str:
    """What a `ModelStreamInferResponse` says is wrong; empty for one that is well. An error's words stand first in it."""
    if not reply.startswith(_ERROR):
        return ""
    try:
        for _, value in Scan().fields(memoryview(reply)):
            return text_of(value)
    except Malformed:
        # What is no message passes as it is: it is the caller's to read.
        pass
    return ""


class _Abort:
    """Cancels a call, which Triton sees as a reset stream. Nobody waits for its `flow` any more."""

    __slots__ = ("_call", "_flow")

    def __init__(self, call: grpc.aio.Call, flow: Flow | None = None) -> None:
        self._call = call
        self._flow = flow

    def abort_exchange(self, _: Exchange) -> None:
        self._call.cancel()
        if self._flow is not None:
            self._flow.resume_reading()


def pinned(message: bytes, target: Target) -> bytes:
    """A request about a model with the target's name and version behind what it says itself: the last one counts."""
    return b"".join((message, written(1, target.model), written(2, str(target.version))))


def read_block(block: bytes) -> tuple[tuple[str, str | bytes], ...]:
    """An exchange's block of header fields as metadata; names in lower case, as gRPC wants them."""
    found: list[tuple[str, str | bytes]] = []
    for line in block.split(b"\r\n"):
        name, separator, value = line.partition(b": ")
        if separator:
            key = name.decode().lower()
            found.append((key, b64decode(value) if key.endswith("-bin") else value.decode()))
    return tuple(found)


def written_block(metadata: grpc.aio.Metadata) -> tuple[tuple[bytes, bytes], ...]:
    """A reply's metadata as the header fields of an exchange's reply; binary ones are left out."""
    return tuple((name.encode(), value.encode()) for name, value in metadata if isinstance(value, str))


def _raise_own_end(exchange: Exchange) -> None:
    """Raise what ended the exchange from our side, if that is what did: the deadline, or a credential that is gone."""
    if exchange.done.done():
        exchange.done.result()


def _no_reply(what: str) -> GatewayError:
    return GatewayError(
        Kind.BAD_GATEWAY, f"The model's server sent {what}.", source=Source.UPSTREAM, retry_after_s=1
    )


def _is_over(exchange: Exchange) -> bool:
    return exchange.deadline - time.monotonic() < _DEADLINE_SLACK_S
