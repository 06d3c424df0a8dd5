"""Request ids: 16 random bytes in hexadecimal, drawn from the system in batches since each draw is a system call."""

import os

_BATCH = 256
_DIGITS = 32


class RequestIds:
    """Hands out ids."""

    def __init__(self) -> None:
        self._digits = ""
        self._at = 0

    def new(self) -> str:
        """A fresh id of 32 hexadecimal digits."""
        if self._at == len(self._digits):
            self._digits = os.urandom(_BATCH * _DIGITS // 2).hex()
            self._at = 0
        self._at += _DIGITS
        return self._digits[self._at - _DIGITS : self._at]
