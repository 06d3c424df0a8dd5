"""`grpc.health.v1.Health` (https://github.com/grpc/grpc/blob/master/doc/health-checking.md): whether this worker is ready."""

import asyncio

import grpc
import grpc.aio

from gateway.dataplane.plane import Plane
from gateway.wire import Malformed, Scan, tag_of, text_of, written

_SERVICE = "/grpc.health.v1.Health/"
_KNOWN = frozenset({"", "inference.GRPCInferenceService", "grpc.health.v1.Health"})
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = written(1, 1), written(1, 2), written(1, 3)
_NAME = tag_of(1)
_LOOK_S = 0.2


class Health(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers `Check`, and `Watch` until `end`. `run` looks after changes."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._changed = asyncio.Event()
        self._ended = False
        self._handlers = {
            _SERVICE + "Check": grpc.unary_unary_rpc_method_handler(self._check),
            _SERVICE + "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a method; None for one that the service does not have."""
        return self._handlers.get(handler_call_details.method)

    async def run(self) -> None:
        """Wake those who watch when something has changed, until cancelled."""
        known = self._plane.ready
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._plane.ready != known:
                known = not known
                self._wake()

    def end(self) -> None:
        """Let those who watch go."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _status(self) -> bytes:
        return _SERVING if self._plane.ready else _NOT_SERVING

    async def _check(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        if await _asked(request, context) not in _KNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service here.")
        return self._status()

    async def _watch(self, request: bytes, context: grpc.aio.ServicerContext) -> None:
        known = await _asked(request, context) in _KNOWN
        told = b""
        while True:
            changed = self._changed
            now = self._status() if known else _SERVICE_UNKNOWN
            if now != told:
                await context.write(now)
                told = now
            if self._ended:
                return
            await changed.wait()


async def _asked(request: bytes, context: grpc.aio.ServicerContext) -> str:
    """The service that is asked about."""
    name = ""
    try:
        for tag, value in Scan().fields(memoryview(request)):
            name = text_of(value) if tag == _NAME else name
    except Malformed as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"This is no health check: {error}.")
    return name
