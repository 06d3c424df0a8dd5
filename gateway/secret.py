"""The installation's one secret and the keys derived from it; every worker and replica shares it."""

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from gateway.kept_file import PRIVATE, written_beside
from gateway.settings import Settings, SettingsError

_LEAST_BYTES = 32


def load_secret(settings: Settings) -> bytes:
    """The configured secret, else the one in the data folder's `secret` file, made at the first start (mode 0600).

    Raises `SettingsError` for a file that holds no whole secret.
    """
    if settings.secret is not None:
        return settings.secret.encode()
    path = settings.data_dir / "secret"
    if not path.exists():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        _make_secret(path)
    secret = path.read_bytes().strip()
    if len(secret) < _LEAST_BYTES:
        raise SettingsError(
            [f"{path}: holds no whole secret; restore it from a backup, or no key works any more"]
        )
    return secret


def _make_secret(path: Path) -> None:
    """Write the file whole before it gets its name; of two processes at once, the first one's stays."""
    text = secrets.token_urlsafe(48).encode()
    with written_beside(path, text, PRIVATE) as fresh, contextlib.suppress(FileExistsError):
        os.link(fresh, path)


def derive(secret: bytes, purpose: bytes) -> bytes:
    """A 32-byte key for one purpose (keyed BLAKE2b, RFC 7693, with `purpose` as its message)."""
    return hashlib.blake2b(purpose, key=hashlib.sha256(secret).digest(), digest_size=32).digest()


def key_digest(digest_key: bytes, text: bytes) -> bytes:
    """The keyed digest under which an API key is stored and looked up: 16 bytes of BLAKE2b."""
    return hashlib.blake2b(text, key=digest_key, digest_size=16).digest()


KEY_PURPOSE = b"api-key digests"
SAMPLE_PURPOSE = b"sample pseudonyms"
WORKER_PURPOSE = b"worker token"


def worker_token(secret: bytes) -> str:
    """What a data-plane worker shows to its control plane."""
    return derive(secret, WORKER_PURPOSE).hex()


class Pseudonyms:
    """What stands for values in samples: the same value, the same digest, and no way back without the secret."""

    def __init__(self, secret: bytes) -> None:
        self._key = derive(secret, SAMPLE_PURPOSE)

    def of(self, value: str | bytes) -> str:
        """16 bytes of keyed BLAKE2b (RFC 7693) in hexadecimal. Text counts as its UTF-8."""
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        return hashlib.blake2b(data, key=self._key, digest_size=16).hexdigest()
