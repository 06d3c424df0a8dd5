"""What a status says (`grpc-message`), percent-encoded; and binary metadata (`-bin`), in base64 (PROTOCOL-HTTP2)."""

import re
from base64 import b64decode
from binascii import Error
from urllib.parse import unquote_to_bytes

_NOT_PLAIN = re.compile(rb"[^\x20-\x24\x26-\x7e]")


def encoded_words(words: str) -> bytes:
    """As they are sent."""
    return _NOT_PLAIN.sub(lambda found: b"%%%02X" % ord(found[0]), words.encode("utf-8", "replace"))


def decoded_words(value: bytes) -> str:
    """As they were meant; what is no UTF-8 is replaced."""
    return unquote_to_bytes(value).decode("utf-8", "replace")


def decoded_binary(value: bytes) -> bytes:
    """One value of a binary field; its base64 may come without its padding. Raises `ValueError` for what is none."""
    try:
        return b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except Error as error:
        raise ValueError(str(error)) from None
