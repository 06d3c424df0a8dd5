"""Fetches an issuer's keys: OpenID Connect discovery, then the key set. Bounded in time and size; no redirect is followed."""

import asyncio
from typing import Any

import httpx
import msgspec

from gateway.addresses import is_loopback, split_address, web_address_problem
from gateway.issuers import Issuer

WITHIN_S = 10.0
"""For both documents together, however they drip in."""

_STEP_S = 5.0
MOST_DOCUMENT_BYTES = 256 * 1024
"""A key set of ten RSA keys with certificates takes about 30 KiB."""

_DISCOVERY = "/.well-known/openid-configuration"


class FetchFailed(Exception):
    """The keys cannot be had now: why, as a sentence."""


async def fetch_keys(issuer: Issuer) -> Any:
    """The issuer's key set, decoded and not yet understood. Raises `FetchFailed`."""
    try:
        async with asyncio.timeout(WITHIN_S), await asyncio.to_thread(_client, issuer) as client:
            url = issuer.jwks_url
            if url is None:
                url = await _discover(client, issuer.issuer)
            return await _document(client, url)
    except TimeoutError as error:
        raise FetchFailed(f"it has not answered within {WITHIN_S:g} s") from error
    except (httpx.HTTPError, OSError) as error:
        raise FetchFailed(f"it cannot be reached: {error!r}") from error


def _client(issuer: Issuer) -> httpx.AsyncClient:
    """A client for one fetch: it loads the trusted certificates as they are now, which blocks for tens of milliseconds.

    SSL_CERT_FILE, SSL_CERT_DIR and HTTPS_PROXY of the environment count, but for an issuer on this host's loopback.
    """
    parts = split_address(issuer.jwks_url or issuer.issuer)
    local = not isinstance(parts, str) and is_loopback(parts.hostname or "")
    return httpx.AsyncClient(
        timeout=_STEP_S,
        follow_redirects=False,
        trust_env=not local,
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    )


async def _discover(client: httpx.AsyncClient, issuer: str) -> str:
    """Where the issuer publishes its keys (OpenID Connect Discovery 1.0, sections 4.1 and 4.3)."""
    url = issuer.rstrip("/") + _DISCOVERY
    found = await _document(client, url)
    if not isinstance(found, dict) or found.get("issuer") != issuer:
        raise FetchFailed(f"{url} does not speak for {issuer}: its `issuer` is another; write the very same")
    where = found.get("jwks_uri")
    if not isinstance(where, str):
        raise FetchFailed(f"{url} names no jwks_uri; set jwks_url")
    if (problem := web_address_problem(where)) is not None:
        raise FetchFailed(f"{url} names a jwks_uri that {problem}")
    return where


async def _document(client: httpx.AsyncClient, url: str) -> Any:
    body = bytearray()
    async with client.stream("GET", url) as reply:
        if reply.has_redirect_location:
            raise FetchFailed(
                f"{url} answers with a redirect, which is not followed; name the address itself"
            )
        if reply.status_code != httpx.codes.OK:
            raise FetchFailed(f"{url} answers {reply.status_code}")
        if reply.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise FetchFailed(f"{url} answers in a coding that nobody asked for")
        async for piece in reply.aiter_raw():
            body += piece
            if len(body) > MOST_DOCUMENT_BYTES:
                raise FetchFailed(f"{url} answers with more than {MOST_DOCUMENT_BYTES} bytes")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FetchFailed(f"{url} answers with something else than JSON: {error}") from error
