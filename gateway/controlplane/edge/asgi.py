"""What surrounds every request, whatever it asks for: its id, its path taken literally, its count.

Plain ASGI, so that it also holds for requests that no route takes.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.errors import HTTP_STATUS, GatewayError, Kind, Source
from gateway.observe.metrics import CONTROL_REQUESTS
from gateway.problem import CONTENT_TYPE, problem_body, retry_after

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ANSWER_WITHIN_S = 20.0
"""Longer than the database's own limits; only what hangs takes so long."""

POLL_PATH = "/api/v1/snapshot"
"""A worker's poll waits as long as it asked to, and never for the database."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUEST_ID = "maas_request_id"
"""Where the request's id stands in the scope."""


def surround(app: App) -> App:
    """`app`, with ids, strict paths, counts and headers around it."""

    async def surrounded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        request_id = os.urandom(16).hex()
        scope[REQUEST_ID] = request_id
        began = time.monotonic()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_headers(request_id)]
            await send(message)

        refusal = path_refusal(scope.get("raw_path") or scope["path"].encode())
        try:
            if refusal is None:
                async with asyncio.timeout(None if scope["path"] == POLL_PATH else ANSWER_WITHIN_S):
                    await app(scope, receive, sending)
            else:
                await _answer(refusal, request_id, sending)
        except TimeoutError:
            # The database hangs: its thread waits on, the caller need not.
            if status == 0:
                await _answer(_hanging(), request_id, sending)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            CONTROL_REQUESTS.labels(method, str(status)).inc()
            log.debug(
                "%s %s %d %.1f ms %s",
                method,
                scope["path"],
                status,
                (time.monotonic() - began) * 1000,
                request_id,
            )

    return surrounded


def path_refusal(raw_path: bytes) -> GatewayError | None:
    """Why a path is not taken: no path here needs an escape, and none is another spelling of another."""
    path = raw_path.partition(b"?")[0]
    if b"%" in path or any(byte <= 0x20 or byte >= 0x7F for byte in path):
        return GatewayError(Kind.BAD_REQUEST, "Paths here need no escapes; write names as they are.")
    if (
        b"//" in path
        or b"\\" in path
        or b";" in path
        or any(step in (b".", b"..") for step in path.split(b"/"))
    ):
        return GatewayError(Kind.NOT_FOUND, "There is nothing at this path.")
    return None


def _headers(request_id: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-request-id", request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]


def _hanging() -> GatewayError:
    return GatewayError(
        Kind.UNAVAILABLE,
        "The database hangs. A change may still be made when it goes on: read again before you repeat it.",
        source=Source.GATEWAY,
        retry_after_s=5,
    )


async def _answer(error: GatewayError, request_id: str, send: Send) -> None:
    _, body = problem_body(error, request_id)
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    if (after := retry_after(error)) is not None:
        headers.append((b"retry-after", after.encode()))
    await send({"type": "http.response.start", "status": HTTP_STATUS[error.kind][0], "headers": headers})
    await send({"type": "http.response.body", "body": body})
