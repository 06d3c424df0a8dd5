"""`grpc-timeout`: up to eight digits and a unit (PROTOCOL-HTTP2, Timeout)."""

import re

_MATCH = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
_UNIT_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MOST_DIGITS = 10**8


def read_timeout(value: bytes) -> float | None:
    """In seconds; None for what is none."""
    found = _MATCH(value)
    return None if found is None else int(found[1]) * _UNIT_S[found[2]]


def written_timeout(timeout_s: float) -> bytes:
    """As it is sent: in the smallest unit that it fits in, microseconds at least, rounded down."""
    micros = max(0, int(timeout_s * 1e6))
    if micros < _MOST_DIGITS:
        return b"%du" % micros
    millis = micros // 1000
    return b"%dm" % millis if millis < _MOST_DIGITS else b"%dS" % min(millis // 1000, _MOST_DIGITS - 1)
