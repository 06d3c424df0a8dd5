"""Keys are made once: an RSA key takes a tenth of a second."""

from collections.abc import Iterator

import pytest

from tests.tokens.issuer import Issuer, Signer


@pytest.fixture(scope="session")
def signers() -> dict[str, Signer]:
    """One for each kind of key, by algorithm; and `other`, which no issuer publishes."""
    names = ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA")
    return {name: Signer(f"key-{name}", name) for name in names} | {"other": Signer("other")}


@pytest.fixture
def issuer(signers: dict[str, Signer]) -> Iterator[Issuer]:
    """An issuer that signs with RSA and publishes that key alone."""
    found = Issuer(signers["RS256"])
    yield found
    found.close()
