"""An issuer of tokens on loopback: discovery and key set over HTTP, tokens signed with real keys, good and bad ones."""

import base64
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

AUDIENCE = "maas"
DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/certs"
_ALGORITHMS = get_default_algorithms()
_MAKE: dict[str, Callable[[], Any]] = {
    "RS": lambda: rsa.generate_private_key(65537, 2048),
    "PS": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def encoded(value: object) -> bytes:
    """A part of a token: `value` as JSON (bytes as they are), in base64url."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Signer:
    """A private key with its id and algorithm."""

    def __init__(self, kid: str | None, algorithm: str = "RS256", private: Any = None) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.private = private or (_MAKE.get(algorithm) or _MAKE[algorithm[:2]])()

    def jwk(self, **members: object) -> dict[str, Any]:
        """The public key as a key set has it; None takes a member out."""
        found = _ALGORITHMS[self.algorithm].to_jwk(self.private.public_key(), as_dict=True)
        found |= {"kid": self.kid, "alg": self.algorithm, "use": "sig"} | members
        return {name: value for name, value in found.items() if name != "key_ops" and value is not None}

    def sign(self, header: object, payload: object) -> str:
        """A token with exactly this header and payload (JSON, or bytes as they are), truly signed."""
        message = encoded(header) + b"." + encoded(payload)
        signature = _ALGORITHMS[self.algorithm].sign(message, self.private)
        return (message + b"." + encoded(signature)).decode()


class Issuer:
    """Serves discovery and keys. `behave` may answer a path in another way; it returns whether it did.

    `asked` are the paths that were asked for.
    """

    def __init__(self, *signers: Signer, port: int = 0) -> None:
        self.signers = list(signers) or [Signer("first")]
        self.published = [signer.jwk() for signer in self.signers]
        self.asked: list[str] = []
        self.behave: Callable[[BaseHTTPRequestHandler], bool] = lambda _: False
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                if not issuer.behave(self):
                    found = issuer.document(self.path)
                    answer(self, 404 if found is None else 200, json.dumps(found).encode())

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A gateway that hangs up is no error."""

        self._server = Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def document(self, path: str) -> dict[str, Any] | None:
        """What stands at a path."""
        if path == DISCOVERY:
            return {"issuer": self.url, "jwks_uri": self.url + JWKS}
        return {"keys": self.published} if path == JWKS else None

    @property
    def key_set(self) -> dict[str, Any]:
        """The key set as it is published."""
        return {"keys": self.published}

    def publish(self, *signers: Signer) -> None:
        """Sign with the first of these from now on, and publish them all."""
        self.signers = list(signers)
        self.published = [signer.jwk() for signer in signers]

    def claims(self, **claims: object) -> dict[str, Any]:
        """Those of a good token, but for `claims`; None takes one out."""
        now = int(time.time())
        found = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "5f1c",
            "azp": "caller",
            "iat": now,
            "exp": now + 300,
        } | claims
        return {name: value for name, value in found.items() if value is not None}

    def token(
        self, *, signer: Signer | None = None, header: dict[str, object] | None = None, **claims: object
    ) -> str:
        """A token, good but for what is said."""
        signer = signer or self.signers[0]
        fields: dict[str, object] = {"alg": signer.algorithm, "typ": "JWT", "kid": signer.kid}
        fields |= header or {}
        kept = {name: value for name, value in fields.items() if value is not None}
        return signer.sign(kept, self.claims(**claims))

    def close(self) -> None:
        """Be gone."""
        self._server.shutdown()
        self._server.server_close()


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes, **fields: str) -> bool:
    """Answer a request; True, as `behave` wants it."""
    handler.send_response(status)
    for name, value in fields.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
    return True
