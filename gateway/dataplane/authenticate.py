"""Who calls: the credential's keyed digest, looked up in the snapshot; or a token of a declared issuer."""

import time
from typing import TYPE_CHECKING

from gateway.dataplane.call import Credentials
from gateway.errors import GatewayError, Kind
from gateway.observe.metrics import AUTHENTICATIONS
from gateway.secret import key_digest
from gateway.snapshot.compile import Snapshot
from gateway.types import Principal

if TYPE_CHECKING:
    from gateway.tokens.tokens import Tokens

_LONGEST_KEY_BYTES = 512
_count = AUTHENTICATIONS.by


def authenticate(
    credentials: Credentials, snapshot: Snapshot, digest_key: bytes, tokens: "Tokens | None" = None
) -> Principal:
    """The principal behind the one credential. Raises UNAUTHENTICATED, in the same words whatever is wrong with it.

    `tokens` is None where no issuer is declared. A token comes as a bearer's, never as an X-API-Key.
    """
    digest = credentials.digest
    if digest and (principal := snapshot.keys.get(digest)) is not None and principal.expires_at is None:
        _count["key"] += 1
        return principal
    found, outcome = _find(credentials, snapshot, digest_key, tokens)
    _count[outcome] += 1
    if found is None:
        raise GatewayError(Kind.UNAUTHENTICATED, _WHY.get(outcome, _NOT_VALID))
    return found


def is_known(
    credentials: Credentials, snapshot: Snapshot, digest_key: bytes, tokens: "Tokens | None" = None
) -> bool:
    """Whether `authenticate` would let them pass, for a transport that must decide what else it reads. Counts nothing."""
    return _find(credentials, snapshot, digest_key, tokens)[0] is not None


def credential_gone() -> GatewayError:
    """What a caller is told whose key or token was revoked, or expired, while its call was under way."""
    return GatewayError(
        Kind.UNAUTHENTICATED, "The credential has expired or been revoked meanwhile.", close=True
    )


def _find(
    credentials: Credentials, snapshot: Snapshot, digest_key: bytes, tokens: "Tokens | None"
) -> tuple[Principal | None, str]:
    """The principal, if there is one, and how that is counted."""
    text = credentials.api_key
    bearer = credentials.authorization is not None
    if credentials.authorization is not None:
        scheme, _, rest = credentials.authorization.partition(b" ")
        text = rest.strip() if scheme.lower() == b"bearer" else b""
    if credentials.count != 1 or text is None:
        return None, "several" if credentials.count > 1 else "none"
    # No key has a dot in it, every token has two.
    if bearer and tokens is not None and b"." in text:
        principal = tokens.principal(text)
        return principal, "token_refused" if principal is None else "token"
    digest = key_digest(digest_key, text[:_LONGEST_KEY_BYTES])
    principal = snapshot.keys.get(digest)
    if principal is None:
        return None, "unknown" if text else "malformed"
    if principal.expires_at is not None and principal.expires_at <= time.time():
        return None, "expired"
    credentials.digest = digest
    return principal, "key"


_NOT_VALID = "The credential is not valid; it may have expired or been revoked."
_WHY = {
    "none": "No credential: send `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
    "several": "More than one credential: send exactly one.",
}
