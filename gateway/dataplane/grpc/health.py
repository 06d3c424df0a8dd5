"""`grpc.health.v1.Health` (https://github.com/grpc/grpc/blob/master/doc/health-checking.md): whether this worker is ready."""

import asyncio

from gateway.dataplane.grpc.opening import REPLY, Method
from gateway.dataplane.grpc.stream_call import StreamCall
from gateway.dataplane.grpc.unary_call import UnaryCall
from gateway.dataplane.plane import Plane
from gateway.rpc.codes import RpcFault, Status
from gateway.wire import Malformed, Scan, tag_of, text_of, written

_SERVICE = b"/grpc.health.v1.Health/"
_KNOWN = frozenset({"", "inference.GRPCInferenceService", "grpc.health.v1.Health"})
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = written(1, 1), written(1, 2), written(1, 3)
_NAME = tag_of(1)
_LOOK_S = 0.2
_MOST_BYTES = 4096


class Health:
    """Answers `Check`, and `Watch` until `end`. `run` looks after changes."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._changed = asyncio.Event()
        self._ended = False
        self.methods = (
            Method(_SERVICE + b"Check", self._check, _MOST_BYTES),
            Method(_SERVICE + b"Watch", self._watch, _MOST_BYTES, streamed=True),
        )

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

    async def _check(self, call: UnaryCall) -> None:
        if _service_named(call.whole()) not in _KNOWN:
            raise RpcFault(Status.NOT_FOUND, "There is no such service here.")
        call.reply(REPLY, self._status())

    async def _watch(self, call: StreamCall) -> None:
        known = _service_named(await call.read()) in _KNOWN
        told = b""
        while True:
            changed = self._changed
            now = self._status() if known else _SERVICE_UNKNOWN
            if now != told:
                await call.write(now)
                told = now
            if self._ended:
                call.end(Status.OK)
                return
            await changed.wait()


def _service_named(request: bytes | None) -> str:
    """The service that is asked about."""
    name = ""
    if request is None:
        raise RpcFault(Status.INVALID_ARGUMENT, "The call ended without a message.")
    try:
        for tag, value in Scan().fields(memoryview(request)):
            name = text_of(value) if tag == _NAME else name
    except Malformed as error:
        raise RpcFault(Status.INVALID_ARGUMENT, f"This is no health check: {error}.") from error
    return name
