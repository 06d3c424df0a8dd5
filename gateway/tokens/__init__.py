"""JSON Web Tokens of declared issuers (OpenID Connect), beside keys: form, signature, claims, and the issuers' keys.

A process whose settings declare no issuer loads nothing of it, PyJWT and `cryptography` (some 18 MiB) least of all.
"""

from typing import TYPE_CHECKING

from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.tokens.refresh import Refresher


def open_tokens(settings: Settings) -> "Refresher | None":
    """The tokens of the declared issuers, with the last good keys from disk; None where no issuer is declared.

    Each plane of a process has its own: what verifies is used by one thread.
    """
    if not settings.issuers:
        return None
    from gateway.tokens.last_good import LastGoodKeys
    from gateway.tokens.refresh import Refresher
    from gateway.tokens.tokens import Tokens

    tokens = Tokens(settings.issuers)
    refresher = Refresher(tokens, LastGoodKeys(settings.data_dir / "issuers"))
    refresher.start_from_disk()
    return refresher
