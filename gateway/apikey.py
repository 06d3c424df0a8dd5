"""The text of an API key: `maas_ID_SECRETCHECK`, all of it letters and digits but the two underscores.

The prefix lets secret scanners find a leaked key; the id names it in logs and to people; the secret is 32 random
bytes; the check tells a mistyped key from an unknown one without a look-up.
"""

import re
import secrets
import zlib

import msgspec

PREFIX = "maas_"
ID_LENGTH = 8
SECRET_BYTES = 32
SECRET_LENGTH = 43
"""Base62 digits that hold 32 bytes: 256 / log2(62) = 42.995."""

CHECK_LENGTH = 6
"""Base62 digits that hold a CRC-32: 32 / log2(62) = 5.4."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY = re.compile(
    rf"{PREFIX}(?P<id>[0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH}}}"
    rf"(?P<check>[0-9A-Za-z]{{{CHECK_LENGTH}}})"
)


class KeyText(msgspec.Struct, frozen=True):
    """A key as its owner sees it, once. Afterwards only `PREFIX` and the id are shown."""

    id: str
    text: str

    def __repr__(self) -> str:
        """Without the secret, so that no log line or traceback shows it."""
        return f"KeyText(id={self.id!r})"


def make_key() -> KeyText:
    """A fresh random key."""
    key_id = "".join(secrets.choice(_DIGITS) for _ in range(ID_LENGTH))
    secret = _base62(int.from_bytes(secrets.token_bytes(SECRET_BYTES)), SECRET_LENGTH)
    body = f"{PREFIX}{key_id}_{secret}"
    return KeyText(key_id, body + _check(body))


def parse_key(text: str) -> KeyText | None:
    """The key, or None for a text that cannot be one: wrong form, or a check that does not hold."""
    match = _KEY.fullmatch(text)
    if match is None or _check(text[:-CHECK_LENGTH]) != match["check"]:
        return None
    return KeyText(match["id"], text)


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
