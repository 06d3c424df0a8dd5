"""One caller's connection: its calls go to the methods that they name."""

import asyncio
import time
from typing import TYPE_CHECKING

from gateway.dataplane.authenticate import is_known
from gateway.dataplane.grpc.opening import Opening, read_opening, refused
from gateway.dataplane.grpc.stream_call import StreamCall
from gateway.dataplane.grpc.unary_call import UnaryCall
from gateway.http2.connection import Connection
from gateway.http2.decode import Head
from gateway.http2.stream import GONE, Receiver, Stream
from gateway.rpc.codes import Status

if TYPE_CHECKING:
    from gateway.dataplane.grpc.listener import Listener


class Caller(Connection):
    """An HTTP/2 connection that is its own owner."""

    def __init__(self, listener: "Listener") -> None:
        super().__init__(self, listener.http2, server=True)
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller has connected."""
        super().connection_made(transport)
        if not self._listener.port.joined(self):
            self.leave()

    def request(self, stream: Stream, head: Head, *, ended: bool) -> Receiver:
        """A call begins."""
        listener = self._listener
        opening = head.meaning
        if not isinstance(opening, Opening):
            opening = head.meaning = read_opening(head, listener.methods)
        if not opening.refusal and listener.open.calls >= listener.limits.max_connections:
            opening = refused(
                Status.RESOURCE_EXHAUSTED, "Too many calls are under way here; try again later."
            )
        method = opening.method
        if method is None:
            stream.send_head(opening.refusal, end=True)
            return GONE
        if method.streamed:
            streamed = StreamCall(stream, opening, time.monotonic(), listener.open)
            streamed.start()
            if ended:
                streamed.read_no_more()
            return streamed
        call = UnaryCall(stream, opening, time.monotonic(), listener.open)
        plane = listener.plane
        if method.named and (
            opening.head is None
            or not is_known(opening.head.credentials, plane.snapshot, plane.digest_key, plane.tokens)
        ):
            # Nothing of what comes is read.
            call.start()
        elif ended:
            call.data(memoryview(b""), ended=True)
        return call

    def look(self, now: float, longest_s: float) -> None:
        """Once a second: see to time limits. `now` is monotonic seconds; `longest_s` is how long a message may take that has no deadline."""
        self.tick(now)
        for stream in list(self.streams.values()):
            call = stream.receiver
            if isinstance(call, UnaryCall) and call.task is None:
                timeout_s = call.opening.timeout_s
                if now - call.began > (longest_s if timeout_s is None else min(timeout_s, longest_s)):
                    call.too_slow()

    # --- from the connection ---

    def ready(self) -> None:
        """Its settings are here."""

    def room_made(self) -> None:
        """Never: that is a client's."""

    def going_away(self, code: int, words: bytes) -> None:
        """The caller makes no more calls."""

    def ponged(self, data: bytes) -> None:
        """Never: nobody asks."""

    def lost(self, fault: Exception | None) -> None:
        """The caller is gone."""
        self._listener.port.left(self)
