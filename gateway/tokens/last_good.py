"""The last good keys of each issuer on disk, so that a gateway can start while the issuer is away."""

from pathlib import Path
from typing import Any

import msgspec

from gateway.issuers import Issuer
from gateway.kept_file import seal, unseal, write_shared
from gateway.tokens.keys import KeysRefused


class LastGood(msgspec.Struct, frozen=True):
    """A key set, of whom it is, and when it was fetched (Unix seconds)."""

    issuer: str
    jwks_url: str | None
    fetched_at: float
    document: Any


class LastGoodKeys:
    """Keeps each issuer's newest good key set in one folder: a line with the SHA-256 of the rest, then JSON."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, name: str, issuer: Issuer, document: object, fetched_at: float) -> None:
        """Write it whole, readable by its owner only. Raises `OSError`."""
        body = msgspec.json.encode(LastGood(issuer.issuer, issuer.jwks_url, fetched_at, document))
        write_shared(self._folder / name, seal(body))

    def load(self, name: str, issuer: Issuer) -> LastGood | None:
        """What stands there; None where nothing does. Raises `KeysRefused` for what is damaged or another issuer's."""
        try:
            body = unseal((self._folder / name).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KeysRefused(f"cannot be read: {error.strerror}") from error
        if body is None:
            raise KeysRefused("is damaged or was cut short")
        try:
            found = msgspec.json.decode(body, type=LastGood)
        except (msgspec.DecodeError, RecursionError) as error:
            raise KeysRefused(f"does not decode: {error}") from error
        if (found.issuer, found.jwks_url) != (issuer.issuer, issuer.jwks_url):
            raise KeysRefused(f"was kept of {found.issuer}, which the settings no longer name")
        return found
