"""Requests on /v1: their bodies are needed whole, since they name the alias."""

import asyncio
import time
from collections.abc import Awaitable

from gateway.dataplane.call import Call, Trail
from gateway.dataplane.http.body import Gather, IncomingBody
from gateway.dataplane.http.decompress import decompressed
from gateway.dataplane.http.head import Head, too_large
from gateway.dataplane.http.reply import Reply
from gateway.dataplane.http.request import Request
from gateway.dataplane.openai.body import HEADERS
from gateway.dataplane.openai.calls import OpenAICalls
from gateway.dataplane.openai.errors import name_the_model
from gateway.dataplane.openai.models import list_models, show_model
from gateway.dataplane.plane import Plane
from gateway.errors import GatewayError

MOST_BYTES = 4 * 1024 * 1024
"""Of a body on /v1, where the settings allow no less: it is decoded, while every other caller waits."""


class OpenAIHandler:
    """Answers requests of one plane."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._calls = OpenAICalls(plane)
        self._most_bytes = min(MOST_BYTES, plane.limits.max_body_bytes)

    def answer(self, request: Request, reply: Reply) -> Awaitable[None] | None:
        """Answer one request, as `Handler.answer`."""
        route, head, body = request.route, request.head, request.body
        assert route is not None and head is not None and body is not None
        call = self._call(request, reply, head)
        reply.trail = call.trail
        if route.operation.method == b"GET":
            self._models(call, route.alias, reply)
            return None
        return self._serve(call, route.page, head.content_encoding, body, reply)

    def _models(self, call: Call, alias: str, reply: Reply) -> None:
        snapshot = self._plane.snapshot
        try:
            principal = self._calls.identify(call)
            found = (
                show_model(principal, alias, call, snapshot) if alias else list_models(principal, snapshot)
            )
        except GatewayError as error:
            name_the_model(error)
            self._calls.refuse(call, error)
            raise
        reply.document(200, found)
        self._plane.recorder.record(call)

    async def _serve(self, call: Call, page: str, encoding: bytes, body: IncomingBody, reply: Reply) -> None:
        trail = call.trail
        try:
            text = await self._whole(call, encoding, body)
        except GatewayError as error:
            self._calls.refuse(call, error)
            raise
        except asyncio.CancelledError:
            trail.gone = True
            self._plane.recorder.record(call)
            raise
        await self._calls.serve(call, page, text)
        if trail.error is not None and trail.error.close:
            reply.close = True

    async def _whole(self, call: Call, encoding: bytes, body: IncomingBody) -> bytes:
        most = self._most_bytes
        if (body.length or 0) > most:
            raise too_large(most)
        if encoding or not body.complete:
            # What is large, or may become so, is neither kept nor unpacked for strangers.
            self._calls.identify(call)
        if body.complete:
            data = body.take()
        else:
            gather = Gather(most)
            body.start(gather)
            data = await gather.whole
        return decompressed(data, most) if encoding else data

    def _call(self, request: Request, reply: Reply, head: Head) -> Call:
        assert request.route is not None
        trail = Trail(time.monotonic())
        fields = head.trace.fields
        tracing = self._plane.tracing
        if tracing is not None and request.route.operation.method == b"POST":
            span = trail.span = tracing.begin(head.trace)
            if span is not None:
                # Each attempt upstream says for itself where it stands in the trace.
                fields = b""
                span.http_11 = reply.http_11
                span.route = f"/{request.route.page}"
        return Call(
            "openai",
            request.route.operation,
            request.route.alias,
            None,
            head.credentials,
            head.routing_key,
            reply.request_id,
            b"",
            b"%b%bX-Request-Id: %b\r\n" % (HEADERS, fields, reply.request_id.encode()),
            None,
            reply,
            head.trace,
            None,
            head.criticality,
            None,
            trail,
        )
