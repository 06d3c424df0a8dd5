"""From a request to a call of the pipeline, and the server's own few pages."""

import time
from collections.abc import Awaitable

import msgspec

from gateway.dataplane import about, pipeline
from gateway.dataplane.call import Call, Trail
from gateway.dataplane.http.inspect import may_name_sequence
from gateway.dataplane.http.known_heads import KnownHeads
from gateway.dataplane.http.openai import OpenAIHandler
from gateway.dataplane.http.reply import Reply
from gateway.dataplane.http.request import Request
from gateway.dataplane.http.routes import OPENAI, Route, Routes
from gateway.dataplane.http.sequences import HttpSequence
from gateway.dataplane.plane import Plane
from gateway.dataplane.rewrite import metadata_of_alias
from gateway.errors import GatewayError, Kind, Source

_SERVER = msgspec.json.encode({"name": about.NAME, "version": about.VERSION, "extensions": about.EXTENSIONS})


class _Parameters(msgspec.Struct, frozen=True):
    timeout: int = 0


class _Timed(msgspec.Struct, frozen=True):
    parameters: _Parameters = _Parameters()


class Handler:
    """Answers requests of one listener from one plane."""

    def __init__(self, plane: Plane) -> None:
        self._openai = OpenAIHandler(plane)
        self.refused = plane.recorder.refused
        self.known_heads = KnownHeads(plane.limits.max_header_bytes, plane.limits.max_body_bytes)
        self._plane = plane
        self._routes = Routes()

    def route(self, target: bytes, method: bytes) -> Route:
        """The route of a request's target, its query aside. Raises `GatewayError`."""
        return self._routes.find(target.partition(b"?")[0], method)

    def answer(self, request: Request, reply: Reply) -> Awaitable[None] | None:
        """Answer one request that was not refused: at once, or when what is returned has been awaited.

        Raises `GatewayError` for the connection to word, and so does that.
        """
        target, route, head, body = request.target, request.route, request.head, request.body
        assert route is not None and head is not None and body is not None
        if route.page:
            if route.page.startswith(OPENAI):
                return self._openai.answer(request, reply)
            self._page(route, reply)
            return None
        query = target[target.find(b"?") :] if b"?" in target else b""
        trail = Trail(time.monotonic())
        tracing = self._plane.tracing
        fields = head.trace.fields
        if tracing is not None:
            span = trail.span = tracing.begin(head.trace)
            if span is not None:
                # Each attempt upstream says for itself where it stands in the trace.
                fields = b""
                span.http_11 = reply.http_11
        headers = b"%b%bX-Request-Id: %b\r\n" % (head.headers, fields, reply.request_id.encode())
        operation = route.operation
        call = Call(
            "http",
            operation,
            route.alias,
            route.version,
            head.credentials,
            head.routing_key,
            reply.request_id,
            query,
            headers,
            body if operation.method == b"POST" else None,
            reply,
            head.trace,
            self._plane.limits.max_deadline_s if operation.name == "generate_stream" else None,
            head.criticality,
            metadata_of_alias if operation.name == "metadata" else None,
            trail,
        )
        reply.trail = trail
        if operation.name == "infer":
            text = body.look_at(head.content_encoding, head.json_bytes)
            if b'"timeout"' in text:
                call.timeout_s = _timeout_s(text)
            # Most texts have neither: they are told by two looks, without a call.
            if (b"sequence_" in text or b"\\" in text) and may_name_sequence(text):
                call.sequence = HttpSequence(head, body, self._plane.limits.max_body_bytes)
            else:
                body.sequence_read = body.complete and not head.content_encoding
        return pipeline.serve(call, self._plane)

    def _page(self, route: Route, reply: Reply) -> None:
        if route.page == "server":
            reply.document(200, _SERVER, head_only=route.head_only)
        elif route.page == "live" or self._plane.ready:
            reply.document(200, b"", "text/plain", head_only=route.head_only)
        else:
            raise GatewayError(
                Kind.UNAVAILABLE,
                "The gateway has no snapshot yet or is going away.",
                source=Source.GATEWAY,
                retry_after_s=1,
                # The document that follows is no part of a reply to HEAD.
                close=route.head_only,
            )


def _timeout_s(text: bytes) -> float | None:
    """The caller's own deadline: the protocol's `timeout` parameter (µs), where the JSON part has arrived whole."""
    try:
        timed = msgspec.json.decode(text, type=_Timed)
    except (msgspec.DecodeError, RecursionError):
        # Not the gateway's to judge: Triton says what is wrong with it.
        return None
    return timed.parameters.timeout / 1e6 if timed.parameters.timeout > 0 else None
