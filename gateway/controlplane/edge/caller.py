"""Who calls the control plane, by the snapshot that it published itself, and what they may do."""

import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn

from gateway.apikey import parse_key
from gateway.errors import GatewayError, Kind, Source
from gateway.policy.rules import PLATFORM
from gateway.secret import key_digest
from gateway.snapshot.compile import Snapshot
from gateway.types import Action, Principal

if TYPE_CHECKING:
    from gateway.tokens.tokens import Tokens

log = logging.getLogger(__name__)

Headers = Iterable[tuple[bytes, bytes]]


class Caller:
    """An authenticated principal, the request it makes, and the snapshot that decides for it.

    `roles` are those of its token, whose `issuer` is then not empty.
    """

    __slots__ = ("issuer", "key_id", "principal", "request_id", "roles", "snapshot")

    def __init__(self, principal: Principal, request_id: str, snapshot: Snapshot) -> None:
        self.principal = principal.id
        self.key_id = principal.key_id
        self.issuer = principal.issuer
        self.roles = principal.roles
        self.request_id = request_id
        self.snapshot = snapshot

    def may(self, action: Action, obj: str, domain: str) -> bool:
        """Whether the policy allows it. A decision that fails is UNAVAILABLE, never an answer."""
        try:
            return self.snapshot.decide(self.principal, domain, obj, action, self.roles)
        except Exception as error:
            log.exception("the policy decision failed")
            raise GatewayError(
                Kind.UNAVAILABLE, "The policy cannot be decided now.", source=Source.GATEWAY, retry_after_s=1
            ) from error

    def demand(self, action: Action, resource: str) -> None:
        """Raises FORBIDDEN unless the caller may do `action` to a resource of the control plane itself."""
        if not self.may(action, resource, PLATFORM):
            self.refuse(action, resource, PLATFORM)

    def refuse(self, action: Action, obj: str, domain: str) -> NoReturn:
        """Raises FORBIDDEN, naming the right that is missing."""
        raise GatewayError(
            Kind.FORBIDDEN,
            f"{self.principal} needs the right to {action} {obj} in {domain}; ask who administers it.",
        )


def authenticate(
    headers: Headers, digest_key: bytes, snapshot: Snapshot | None, tokens: "Tokens | None" = None
) -> Principal:
    """The principal of the one credential, a key or a bearer's token. `tokens` is None where no issuer is declared.

    Raises UNAUTHENTICATED, or UNAVAILABLE while there is no snapshot.
    """
    text, bearer = _credential(headers)
    if snapshot is None:
        raise GatewayError(
            Kind.UNAVAILABLE,
            "The control plane has no snapshot yet, because its database has not answered since it started.",
            source=Source.GATEWAY,
            retry_after_s=2,
        )
    # No key has a dot in it, every token has two.
    if bearer and tokens is not None and "." in text:
        principal = tokens.principal(text.encode("latin-1"))
    elif parse_key(text) is None:
        principal = None
    else:
        principal = snapshot.keys.get(key_digest(digest_key, text.encode()))
        if principal is not None and principal.expires_at is not None and principal.expires_at <= time.time():
            principal = None
    if principal is None:
        raise GatewayError(Kind.UNAUTHENTICATED, _INVALID)
    return principal


def bearer_token(headers: Headers) -> str:
    """The bearer token of a worker. Raises UNAUTHENTICATED."""
    return _credential(headers)[0]


_HOW = "send exactly one of `Authorization: Bearer KEY` and `X-API-Key: KEY`."
_INVALID = "The credential is not valid; it may be mistyped, expired or revoked."


def _credential(headers: Headers) -> tuple[str, bool]:
    """The credential's text, and whether it came as a bearer's."""
    found = [(name, value) for name, value in headers if name in (b"authorization", b"x-api-key")]
    if not found:
        raise GatewayError(Kind.UNAUTHENTICATED, f"No credential: {_HOW}")
    if len(found) > 1:
        raise GatewayError(Kind.UNAUTHENTICATED, f"More than one credential: {_HOW}")
    name, value = found[0]
    if name == b"authorization":
        scheme, _, value = value.partition(b" ")
        if scheme.lower() != b"bearer":
            raise GatewayError(Kind.UNAUTHENTICATED, f"The credential is not understood: {_HOW}")
    return value.strip().decode("latin-1"), name == b"authorization"
