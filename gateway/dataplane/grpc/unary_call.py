"""A call with one message: it is answered once that has come whole."""

from gateway.dataplane.grpc.incoming import Incoming, OpenCalls
from gateway.dataplane.grpc.opening import Opening
from gateway.http2.stream import Stream
from gateway.rpc.codes import RpcFault, Status
from gateway.rpc.messages import PREFIX_BYTES


class UnaryCall(Incoming):
    """A call with one message, which is there whole when the call is answered; None where it is not to be read, or there is a fault."""

    __slots__ = ("message",)

    def __init__(self, stream: Stream, opening: Opening, began: float, open_calls: OpenCalls) -> None:
        super().__init__(stream, opening, began, open_calls)
        self.message: bytes | None = None

    def data(self, data: memoryview, *, ended: bool) -> None:
        """More of its message, or what nobody wants any more."""
        if self.task is not None or self.fault is not None:
            self.stream.consumed(len(data))
            return
        method = self.opening.method
        assert method is not None
        size = len(data) - PREFIX_BYTES
        if (
            ended
            and self._reader is None
            and 0 <= size <= method.most_bytes
            and data[0] == 0
            and int.from_bytes(data[1:PREFIX_BYTES]) == size
        ):
            # Nearly all come so: one message, not compressed, in one frame.
            self.message = bytes(data[PREFIX_BYTES:])
            self.start()
            return
        try:
            self._feed(data)
            if ended:
                self._check_end()
        except RpcFault as fault:
            self.fault = fault.with_traceback(None)
            self.message = None
        if ended or self.fault is not None:
            self.stream.consumed(len(data))
            self.start()
            return
        assert self._reader is not None
        self.stream.expect(self._reader.missing)
        self.stream.consumed(len(data))

    def whole(self) -> bytes | None:
        """The message, to be asked for once; None where it is not to be read. Raises `RpcFault` for what is wrong with it."""
        if self.fault is not None:
            raise self.fault
        message, self.message = self.message, None
        return message

    def _take(self, message: bytes) -> None:
        if self.message is not None:
            raise RpcFault(Status.INVALID_ARGUMENT, "The call has more than one message.")
        self.message = message

    def _check_end(self) -> None:
        if self.message is None or (self._reader is not None and not self._reader.empty):
            raise RpcFault(Status.INVALID_ARGUMENT, "The call ended without a message.")

    def too_slow(self) -> None:
        """Its message has not come in time."""
        self.fault = RpcFault(Status.DEADLINE_EXCEEDED, "The message did not come in time.")
        self.start()
