"""One HTTP/2 connection, either side of it: frames in, calls to its owner and its streams' receivers out."""

import asyncio
import time
from typing import cast

from gateway.http2 import frames
from gateway.http2.codes import (
    ACK,
    GOAWAY,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    LOST,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MOST,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Code,
)
from gateway.http2.decode import TABLE_BYTES
from gateway.http2.encode import NO_TABLE
from gateway.http2.faults import ConnectionFault, NoRoom
from gateway.http2.limits import Limits
from gateway.http2.settings import greeting, read_settings
from gateway.http2.stream import Receiver, Stream
from gateway.http2.streams import Owner, Streams

_FAREWELL = b"farewell"
_FAREWELL_S = 1.0
_LINGER_S = 1.0
_ANSWERED_S = 0.1
"""So long after an answer the connection ends that is at fault with it."""
_UNTOLD_STREAMS = 100
"""What a client may open before the server has said how many: the least that RFC 9113 section 6.5.2 recommends."""


class Connection(Streams, asyncio.BufferedProtocol):
    """Speaks HTTP/2 with one peer, as its server or its client. `streams` are the open ones by number.

    Whoever owns it calls `tick` about once a second.
    """

    def __init__(self, owner: Owner, limits: Limits, *, server: bool) -> None:
        super().__init__(owner, limits, server=server)
        self._transport: asyncio.Transport | None = None
        # What the other side has said.
        self._most_streams = _UNTOLD_STREAMS
        self._told = self._acknowledged = False
        self._going = self._full = False
        self._made_at = self._quiet_since = time.monotonic()
        self._newest_seen = self._newest
        self._announced_at = 0.0
        self._fault: ConnectionFault | None = None
        self._linger: asyncio.TimerHandle | None = None

    # --- what its owner asks ---

    @property
    def room(self) -> int:
        """A client's: how many streams may be opened now; 0 before the server's settings are here, and once it is going."""
        if not self._told or self._going or self._over or self._transport is None:
            return 0
        return max(0, min(self._most_streams - len(self.streams), (MOST - self._newest) >> 1))

    def open(self, block: bytes, receiver: Receiver, *, end: bool = False) -> Stream:
        """A client's: begin a request with its header block. Raises `NoRoom`."""
        if self.room == 0:
            self._full = True
            raise NoRoom
        self._newest = number = self._newest + 2
        stream = Stream(number, self._outflow, self._first_window, self._stream_window)
        stream.receiver = receiver
        self.streams[number] = stream
        stream.send_head(block, end=end)
        return stream

    def ping(self, data: bytes) -> None:
        """Ask whether the other side is there; `data` are eight bytes, which come back (`Owner.ponged`)."""
        self._outflow.control(frames.frame(PING, 0, 0, data))

    def leave(self) -> None:
        """Take no more streams, and close once those under way have ended (GOAWAY, section 6.8).

        A server announces it first, and says which stream was the last one after a round trip, so that none is lost on its way.
        """
        if self._going:
            return
        self._going = True
        if self._server and self.streams:
            self._announced_at = time.monotonic()
            self._outflow.control(frames.go_away(MOST, Code.NO_ERROR))
            self.ping(_FAREWELL)
        else:
            self._leave_finally()

    def close(self, code: Code = Code.NO_ERROR, words: str = "") -> None:
        """End it at once, all that is under way with it, telling why."""
        self._fail(ConnectionFault(code, words))

    def tick(self, now: float) -> None:
        """Look after the time limits. `now` is monotonic seconds."""
        if self._over:
            return
        limits = self._limits
        age_s = now - self._made_at
        if self.streams or self._newest != self._newest_seen:
            self._newest_seen = self._newest
            self._quiet_since = now
        if not self._told and age_s > limits.preface_s:
            self._fail(ConnectionFault(Code.SETTINGS_TIMEOUT, "no settings"))
        elif not self._acknowledged and age_s > limits.settings_s:
            self._fail(ConnectionFault(Code.SETTINGS_TIMEOUT, "settings that are not acknowledged"))
        elif self._going and not self._final and now - self._announced_at > _FAREWELL_S:
            self._leave_finally()
        elif limits.idle_s and now - self._quiet_since > limits.idle_s:
            self.leave()

    # --- the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = self._outflow.transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=self._limits.write_high_water)
        transport.write(greeting(self._limits, server=self._server))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and all that was under way with it."""
        self._over = True
        if self._linger is not None:
            # The timer would keep the whole connection in memory.
            self._linger.cancel()
        self._transport = self._outflow.transport = None
        self._drop_all(LOST)
        self._outflow.close()
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.lost(self._fault or exc)

    def pause_writing(self) -> None:
        """The other side reads too slowly: data waits."""
        self._outflow.paused = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._outflow.paused = False
        if self._transport is not None:
            self._transport.resume_reading()
            self._outflow.pump()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have arrived."""
        transport = self._transport
        if transport is None:
            return
        if self._over:
            # More than this was not allowed to be on its way.
            self._their_window -= nbytes
            if self._their_window < 0:
                transport.abort()
            return
        super().buffer_updated(nbytes)
        if not self._outflow.paused:
            return
        # Data waits then: so much can be nothing but answers that the other side asks for without reading them.
        if transport.get_write_buffer_size() > 4 * self._limits.write_high_water:
            transport.pause_reading()

    # --- control frames ---

    def _control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == RST_STREAM:
            _check_size(payload, 4)
            self._was_reset(number, int.from_bytes(payload))
            return
        self._heard_control()
        if kind == WINDOW_UPDATE:
            _check_size(payload, 4)
            self._window_update(number, int.from_bytes(payload) & MOST)
        elif kind == PRIORITY:
            self._priority(number, payload)
        elif kind == PUSH_PROMISE:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a push")
        elif kind in (SETTINGS, PING, GOAWAY):
            if number:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a connection's frame on a stream")
            if kind == PING:
                self._ping(flags, payload)
            elif kind == SETTINGS:
                self._settings(flags, payload)
            else:
                self._goaway(payload)

    def _window_update(self, number: int, count: int) -> None:
        outflow = self._outflow
        if not number:
            if not count:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a window update of nothing")
            outflow.window += count
            if outflow.window > MOST:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window that is too large")
            outflow.pump()
            return
        stream = self.streams.get(number)
        if stream is None:
            if self._is_idle(number):
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a window update of an idle stream")
        elif not count:
            self._stream_fault(stream, Code.PROTOCOL_ERROR)
        elif stream.window + count > MOST:
            self._stream_fault(stream, Code.FLOW_CONTROL_ERROR)
        else:
            stream.window += count
            if stream.pending is not None:
                outflow.wait(stream)

    def _priority(self, number: int, payload: bytes) -> None:
        """Looked at, and left (section 5.3.2)."""
        if not number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a priority of no stream")
        size_is_wrong = len(payload) != 5
        if size_is_wrong or int.from_bytes(payload[:4]) & MOST == number:
            code = Code.FRAME_SIZE_ERROR if size_is_wrong else Code.PROTOCOL_ERROR
            stream = self.streams.get(number)
            if stream is not None:
                self._stream_fault(stream, code)
            elif self._is_idle(number):
                raise ConnectionFault(code, "a priority that is none, or a stream that depends on itself")

    def _ping(self, flags: int, payload: bytes) -> None:
        _check_size(payload, 8)
        if not flags & ACK:
            if self._server:
                self._flood.ping(time.monotonic())
            self._outflow.control(frames.frame(PING, ACK, 0, payload))
        elif payload == _FAREWELL and self._going and not self._final:
            self._leave_finally()
        elif self._owner is not None:
            self._owner.ponged(payload)

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            _check_size(payload, 0)
            self._acknowledged = True
            return
        # One that stands there twice has its last value; applied each time, the windows of many streams would be work for nothing.
        for setting, value in dict(read_settings(payload, from_server=not self._server)).items():
            if setting == INITIAL_WINDOW_SIZE:
                self._change_windows(value - self._first_window)
                self._first_window = value
            elif setting == MAX_CONCURRENT_STREAMS:
                self._most_streams = value
            elif setting == MAX_FRAME_SIZE:
                self._outflow.most_frame = value
            elif setting == HEADER_TABLE_SIZE and value < TABLE_BYTES:
                self._outflow.before_block = NO_TABLE
        self._outflow.control(frames.frame(SETTINGS, ACK, 0))
        if not self._told:
            self._told = True
            if self._most_streams == _UNTOLD_STREAMS:
                # Nothing was said: there is no bound (section 6.5.2).
                self._most_streams = MOST
            if self._owner is not None:
                self._owner.ready()
        self._tell_room()

    def _change_windows(self, more: int) -> None:
        """The window that streams begin with has changed: so do those of the open ones, below 0 perhaps (section 6.9.2)."""
        for stream in list(self.streams.values()):
            stream.window += more
            if stream.window > MOST:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window that is too large")
            if stream.pending is not None and more > 0:
                self._outflow.wait(stream)

    def _goaway(self, payload: bytes) -> None:
        if len(payload) < 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a GOAWAY that is cut off")
        last, code = int.from_bytes(payload[:4]) & MOST, int.from_bytes(payload[4:8])
        self._going = True
        if not self._server:
            self._final = True
            self._drop_all(Code.REFUSED_STREAM, above=last)
        if self._owner is not None:
            self._owner.going_away(code, payload[8:])
        self._stream_left()

    # --- the end ---

    def _stream_left(self) -> None:
        if self._going and not self.streams:
            if self._final:
                self._hang_up()
            elif self._server and self._announced_at == 0:
                self._leave_finally()
        else:
            self._tell_room()

    def _tell_room(self) -> None:
        if self._full and self._owner is not None and self.room:
            self._full = False
            self._owner.room_made()

    def _leave_finally(self) -> None:
        self._going = self._final = True
        self._outflow.control(frames.go_away(self._newest if self._server else 0, Code.NO_ERROR))
        if not self.streams:
            self._hang_up()

    def _fail(self, fault: ConnectionFault) -> None:
        if self._over:
            return
        self._fault = fault
        self._over = True
        self._drop_all(fault.code)
        if fault.answered and self._transport is not None:
            # Clients that see the end of the connection together with an answer may take it for the answer.
            self._outflow.flush()
            self._transport.pause_reading()
            self._linger = asyncio.get_running_loop().call_later(_ANSWERED_S, self._tell_end, fault)
        else:
            self._tell_end(fault)

    def _tell_end(self, fault: ConnectionFault) -> None:
        last = max(0, self._newest) if self._server else 0
        self._outflow.control(frames.go_away(last, fault.code, fault.words.encode()))
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self._hang_up()

    def _hang_up(self) -> None:
        """Close so that the other side can still read what was said: closing at once would reset the connection."""
        self._over = True
        self._outflow.flush()
        transport, self._outflow.transport = self._outflow.transport, None
        if transport is None:
            return
        if transport.can_write_eof():
            transport.write_eof()
        self._linger = asyncio.get_running_loop().call_later(_LINGER_S, transport.abort)


def _check_size(payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a frame of another size than its kind has")
