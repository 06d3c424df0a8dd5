"""Bounds on what costs its sender nothing: resets (CVE-2023-44487), and control frames (CVE-2019-9512 and those beside it)."""

import time

from gateway.http2.codes import Code
from gateway.http2.faults import ConnectionFault
from gateway.http2.limits import Limits


class Flood:
    """Counts what one connection sends. Each method raises `ConnectionFault` (ENHANCE_YOUR_CALM) where it is too much."""

    __slots__ = ("_controls", "_last_ping", "_limits", "_resets", "_since", "_strikes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._since = time.monotonic()
        self._controls = self._resets = self._strikes = 0
        self._last_ping = float("-inf")

    def spoke(self) -> None:
        """Headers or data have gone out meanwhile: control frames may be answers to that."""
        self._controls = self._strikes = 0
        self._last_ping = float("-inf")

    def control(self) -> None:
        """A frame that carries nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, an empty DATA or CONTINUATION, one that is unknown."""
        self._controls += 1
        if self._controls > self._limits.control_frames:
            self._look("too many control frames")

    def reset(self) -> None:
        """A stream has ended before its time, by the other side's fault or whim."""
        self._resets += 1
        if self._resets > self._limits.resets:
            self._look("too many streams that end before their time")

    def ping(self, now: float) -> None:
        """A ping, at `now` (monotonic seconds). The words are those by which gRPC's clients know what they did."""
        if now - self._last_ping < self._limits.ping_s:
            self._strikes += 1
            if self._strikes > self._limits.ping_strikes:
                raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too_many_pings")
        self._last_ping = now

    def _look(self, words: str) -> None:
        now = time.monotonic()
        if now - self._since < self._limits.flood_s:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, words)
        self._since = now
        self._controls = self._resets = 0
