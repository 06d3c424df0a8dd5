"""SETTINGS: what is said to the other side, and what it says (RFC 9113 section 6.5)."""

from gateway.http2.codes import (
    ENABLE_PUSH,
    FIRST_WINDOW,
    INITIAL_WINDOW_SIZE,
    LEAST_FRAME,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    MOST,
    MOST_FRAME,
    PREFACE,
    Code,
)
from gateway.http2.faults import ConnectionFault
from gateway.http2.frames import SETTING, settings, window_update
from gateway.http2.limits import Limits


def greeting(limits: Limits, *, server: bool) -> bytes:
    """What a side begins with (section 3.4): its settings, and how much the whole connection may carry."""
    values = {MAX_HEADER_LIST_SIZE: limits.header_list_bytes}
    if server:
        values[MAX_CONCURRENT_STREAMS] = limits.streams
    else:
        values[ENABLE_PUSH] = 0
    if limits.stream_window != FIRST_WINDOW:
        values[INITIAL_WINDOW_SIZE] = limits.stream_window
    if limits.frame_bytes != LEAST_FRAME:
        values[MAX_FRAME_SIZE] = limits.frame_bytes
    found = settings(values) if server else PREFACE + settings(values)
    more = limits.connection_window - FIRST_WINDOW
    return found + window_update(0, more) if more > 0 else found


def read_settings(payload: bytes, *, from_server: bool) -> list[tuple[int, int]]:
    """Numbers and values, in order; unknown ones among them. Raises `ConnectionFault` for a value that may not be."""
    if len(payload) % SETTING.size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "settings of an odd length")
    found = list(SETTING.iter_unpack(payload))
    for number, value in found:
        if number == ENABLE_PUSH and (value > 1 or (from_server and value)):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "ENABLE_PUSH that may not be")
        if number == INITIAL_WINDOW_SIZE and value > MOST:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window that is too large")
        if number == MAX_FRAME_SIZE and not LEAST_FRAME <= value <= MOST_FRAME:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame size that may not be")
    return found
