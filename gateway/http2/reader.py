"""Frames, read (RFC 9113 section 4): many of them from one buffer, in one pass.

Data is passed on as it arrives, though its frame be not whole; every other frame waits until it is.
"""

import asyncio
from typing import Final

from gateway.http2.codes import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MOST,
    PADDED,
    PREFACE,
    SETTINGS,
    WITH_PRIORITY,
    Code,
)
from gateway.http2.faults import ConnectionFault
from gateway.http2.flood import Flood
from gateway.http2.frames import FRAME_HEAD, HEAD_BYTES
from gateway.http2.limits import Limits
from gateway.http2.outflow import Outflow
from gateway.http2.stream import Stream

_READ_BYTES: Final = 256 * 1024
_BUFFER = bytearray(2 * _READ_BYTES)
"""Every read is consumed before the next one can start, so all connections of a process share it: what is left of a read, the
beginning of a frame, is kept aside and put back before the next one.
"""
_VIEW = memoryview(_BUFFER)
_SMALL_BYTES = 512

_unpack = FRAME_HEAD.unpack_from


class FrameReader(asyncio.BufferedProtocol):
    """What comes in. Whoever is told of it raises `ConnectionFault` where it may not be; that comes to `_fail`."""

    def __init__(self, limits: Limits, outflow: Outflow, *, server: bool) -> None:
        assert limits.frame_bytes <= _READ_BYTES
        self._limits = limits
        self._outflow = outflow
        self._flood = Flood(limits)
        # What has not come yet of a client's first words, and then whether the first frame has (section 3.4).
        self._preface = PREFACE if server else b""
        self._begun = False
        self._over = False
        self._rest = b""
        # Of a DATA frame that is not whole: what is missing, whose it is, and whether the stream ends with it.
        self._missing = 0
        self._missing_of: Stream | None = None
        self._missing_ends = False
        # A header block that goes on in the next frame, and nowhere else (section 4.3).
        self._block: bytearray | None = None
        self._block_of = (0, False, False)

    # --- the transport ---

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: behind what is left of the last read."""
        size = len(self._rest)
        if size:
            _VIEW[:size] = self._rest
            return _VIEW[size : size + _READ_BYTES]
        return _VIEW[:_READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have arrived. All that this leads to at once goes out in one write."""
        outflow = self._outflow
        outflow.gathering = True
        try:
            end = len(self._rest) + nbytes
            at = self._read(end)
            self._rest = bytes(_VIEW[at:end]) if at < end else b""
        except ConnectionFault as fault:
            self._fail(fault.with_traceback(None))
        finally:
            outflow.gathering = False
            outflow.flush()

    # --- frames ---

    def _read(self, end: int) -> int:
        """Read what is whole before `end`; where that ends."""
        at = self._read_beginning(end) if self._preface or self._missing else 0
        most = self._limits.frame_bytes
        while end - at >= HEAD_BYTES and not self._over:
            word, flags, number = _unpack(_BUFFER, at)
            length, kind, number = word >> 8, word & 0xFF, number & MOST
            if length > most:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a frame that is too large")
            body = at + HEAD_BYTES
            stop = body + length
            if self._block is not None or not self._begun:
                self._check_order(kind, flags, number)
            if kind == DATA:
                if stop > end:
                    if flags & PADDED or body == end:
                        return at
                    self._missing, self._missing_ends = stop - end, bool(flags & END_STREAM)
                    self._missing_of = self._data(number, length, _VIEW[body:end], ended=False)
                    return end
                if flags & PADDED:
                    self._padded_data(number, flags, body, stop)
                else:
                    self._data(number, length, _VIEW[body:stop], ended=bool(flags & END_STREAM))
            elif stop > end:
                return at
            elif kind == HEADERS:
                self._begin_block(number, flags, body, stop)
            elif kind == CONTINUATION:
                self._continue_block(flags, body, stop)
            else:
                self._control(kind, flags, number, bytes(_VIEW[body:stop]))
            at = stop
        return at

    def _read_beginning(self, end: int) -> int:
        """The rest of the preface, or of a frame of data."""
        if self._preface:
            size = min(end, len(self._preface))
            if _BUFFER[:size] != self._preface[:size]:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "this port speaks HTTP/2 with prior knowledge")
            self._preface = self._preface[size:]
            return size
        size = min(end, self._missing)
        self._missing -= size
        if self._missing_of is not None:
            self._more_data(self._missing_of, _VIEW[:size], ended=self._missing_ends and not self._missing)
        if not self._missing:
            self._missing_of = None
        return size

    def _check_order(self, kind: int, flags: int, number: int) -> None:
        if self._block is not None:
            if kind != CONTINUATION or number != self._block_of[0]:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame amid a header block")
        elif kind != SETTINGS or flags & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        self._begun = True

    def _padded_data(self, number: int, flags: int, body: int, stop: int) -> None:
        start, padding = _unpadded(body, stop)
        ended = bool(flags & END_STREAM)
        self._data(number, stop - body, _VIEW[start : stop - padding], ended=ended)

    def _begin_block(self, number: int, flags: int, body: int, stop: int) -> None:
        if not number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "headers of no stream")
        on_itself = False
        if flags & (PADDED | WITH_PRIORITY):
            if flags & PADDED:
                body, padding = _unpadded(body, stop)
                stop -= padding
            if flags & WITH_PRIORITY:
                if stop - body < 5:
                    raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a priority that is cut off")
                on_itself = int.from_bytes(_VIEW[body : body + 4]) & MOST == number
                body += 5
        if flags & END_HEADERS:
            self._headers(
                number, bytes(_VIEW[body:stop]), ended=bool(flags & END_STREAM), on_itself=on_itself
            )
        else:
            self._block = bytearray(_VIEW[body:stop])
            self._block_of = number, bool(flags & END_STREAM), on_itself

    def _continue_block(self, flags: int, body: int, stop: int) -> None:
        block = self._block
        if block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a CONTINUATION of nothing")
        if stop - body < _SMALL_BYTES:
            self._flood.control()
        block += _VIEW[body:stop]
        if len(block) > 2 * self._limits.header_list_bytes:
            self._block_too_large(self._block_of[0])
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block that is too large", answered=True)
        if flags & END_HEADERS:
            self._block = None
            number, ended, on_itself = self._block_of
            self._headers(number, bytes(block), ended=ended, on_itself=on_itself)

    # --- to whoever makes something of them ---

    def _data(self, number: int, length: int, view: memoryview, *, ended: bool) -> Stream | None:
        """A frame of data, of `length` bytes with its padding; whose it is, if anybody takes it."""
        raise NotImplementedError

    def _more_data(self, stream: Stream, view: memoryview, *, ended: bool) -> None:
        """More of the last frame of data."""
        raise NotImplementedError

    def _headers(self, number: int, block: bytes, *, ended: bool, on_itself: bool) -> None:
        """A header block, whole. `on_itself`: with a priority that makes the stream depend on itself."""
        raise NotImplementedError

    def _block_too_large(self, number: int) -> None:
        """A header block will not be read, and so no other after it: the connection ends."""
        raise NotImplementedError

    def _control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """Any other frame."""
        raise NotImplementedError

    def _fail(self, fault: ConnectionFault) -> None:
        """The connection is over."""
        raise NotImplementedError


def _unpadded(body: int, stop: int) -> tuple[int, int]:
    """Where a padded payload begins, and how long its padding is (section 6.1)."""
    if body == stop:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a padded frame without the length of its padding")
    padding = _BUFFER[body]
    if padding >= stop - body:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than frame")
    return body + 1, padding
