"""Sends spans to a collector over OTLP/HTTP (https://opentelemetry.io/docs/specs/otlp/), in batches, from a thread.

Only the protocol's messages are OpenTelemetry's; docs/adr/0011 says why not its SDK too. Whatever the collector does, this
thread alone waits for it: spans that it does not take are dropped and counted.
"""

import asyncio
import contextlib
import logging
import os
import random
import socket
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import httpx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, SpanFlags, Status

from gateway.collector import Traces
from gateway.observe.metrics import SPANS_DROPPED, SPANS_EXPORTED
from gateway.observe.traces import FinishedSpan, Value

log = logging.getLogger(__name__)

_SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_FIRST_PAUSE_S = 0.5
_MOST_REPLY_BYTES = 64 * 1024
_MOST_CHARACTERS = 256
_SAMPLED = 1
_TOO_LONG = "it takes too long"
_KINDS = {
    "internal": Span.SPAN_KIND_INTERNAL,
    "server": Span.SPAN_KIND_SERVER,
    "client": Span.SPAN_KIND_CLIENT,
}


class NotTaken(Exception):
    """The collector did not take a batch; the message says why."""


class SpanExport:
    """Keeps spans until the thread has sent them. `instance` names this worker among others."""

    BATCH = 128
    """Encoding holds the interpreter, some 10 µs a span: no batch makes the event loop wait for much over 1 ms."""

    MOST_WAITING = 4096
    INTERVAL_S = 0.5

    def __init__(self, settings: Traces, instance: str) -> None:
        self.url = settings.url
        self._settings = settings
        self._resource = ResourceSpans(schema_url=_SCHEMA)
        attributes = _process(settings.service_name, instance) | settings.resource_values
        _fill(self._resource.resource.attributes, attributes)
        self._waiting: deque[FinishedSpan] = deque()
        self._failing = False
        self._problem = _TOO_LONG
        self._ending = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=lambda: self._loop.run_until_complete(self._run()), name="spans", daemon=True
        )
        self._thread.start()

    def keep(self, span: FinishedSpan) -> None:
        """Queue one span; a full queue drops and counts it."""
        if len(self._waiting) < self.MOST_WAITING:
            self._waiting.append(span)
        else:
            SPANS_DROPPED.labels("queue_full").inc()

    def close(self, limit_s: float) -> None:
        """Send what waits, each batch once, for so long at most."""
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(limit_s)
        left = len(self._waiting)
        self._waiting.clear()
        if left:
            SPANS_DROPPED.labels("not_sent").inc(left)
            log.warning("%d spans were not sent to %s: %s", left, self.url, self._problem)

    async def _run(self) -> None:
        headers = self._settings.header_values | {"Content-Type": "application/x-protobuf"}
        context = ssl.create_default_context()
        async with httpx.AsyncClient(headers=headers, verify=context, trust_env=False) as client:
            going_on = True
            while going_on:
                going_on = await self._pause(self.INTERVAL_S)
                while self._waiting:
                    await self._send(client, self._batch())

    async def _pause(self, wait_s: float) -> bool:
        """Wait; False as soon as this is to end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._ending.wait()
        return not self._ending.is_set()

    def _batch(self) -> list[FinishedSpan]:
        batch: list[FinishedSpan] = []
        while self._waiting and len(batch) < self.BATCH:
            batch.append(self._waiting.popleft())
        return batch

    async def _send(self, client: httpx.AsyncClient, batch: list[FinishedSpan]) -> None:
        self._problem = _TOO_LONG
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                rejected = min(await self._post(client, self._encode(batch)), len(batch))
        except Exception as error:  # noqa: BLE001 - whatever one batch meets must not end the thread
            SPANS_DROPPED.labels("not_sent").inc(len(batch))
            if not self._failing:
                log.error("spans cannot be sent to %s: %s", self.url, str(error) or self._problem)
            self._failing = True
            return
        if rejected:
            SPANS_DROPPED.labels("rejected").inc(rejected)
        SPANS_EXPORTED.inc(len(batch) - rejected)
        if self._failing:
            log.info("spans are sent to %s again", self.url)
        self._failing = False

    async def _post(self, client: httpx.AsyncClient, body: bytes) -> int:
        """Send one request, again where the specification asks for it; how many spans were rejected. Raises `NotTaken`."""
        pause_s = _FIRST_PAUSE_S
        while True:
            wait_s = pause_s * random.uniform(0.5, 1.0)
            try:
                reply, text = await self._ask(client, body)
            except httpx.TransportError as error:
                self._problem = f"{type(error).__name__}: {error}"
            else:
                if reply.is_success:
                    return _rejected(text)
                self._problem = f"it answers {reply.status_code}"
                if reply.status_code not in _TRY_AGAIN:
                    raise NotTaken(self._problem)
                if reply.headers.get("Retry-After", "").isdecimal():
                    wait_s = float(reply.headers["Retry-After"])
            if wait_s >= self._settings.timeout_s or not await self._pause(wait_s):
                raise NotTaken(self._problem)
            pause_s *= 2

    async def _ask(self, client: httpx.AsyncClient, body: bytes) -> tuple[httpx.Response, bytes]:
        text = b""
        timeout_s = self._settings.timeout_s
        async with client.stream("POST", self.url, content=body, timeout=timeout_s) as reply:
            async for piece in reply.aiter_raw():
                text += piece
                if len(text) > _MOST_REPLY_BYTES:
                    break
        return reply, text

    def _encode(self, batch: list[FinishedSpan]) -> bytes:
        request = ExportTraceServiceRequest()
        spans = request.resource_spans.add()
        spans.CopyFrom(self._resource)
        scope = spans.scope_spans.add(schema_url=_SCHEMA)
        scope.scope.name = "gateway"
        for span in batch:
            _fill_span(scope.spans.add(), span)
        encoded: bytes = request.SerializeToString()
        return encoded


def _process(service: str, instance: str) -> dict[str, Value]:
    """What a resource says of a process, by the semantic conventions."""
    release = version("maas")
    return {
        "service.name": service,
        "service.version": release,
        "service.instance.id": instance,
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        "telemetry.sdk.name": "maas",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": release,
    }


def _fill_span(message: Span, span: FinishedSpan) -> None:
    message.name = span.name
    message.kind = _KINDS[span.kind]
    message.trace_id = bytes.fromhex(span.trace_id)
    message.span_id = bytes.fromhex(span.span_id)
    message.parent_span_id = bytes.fromhex(span.parent_id)
    message.trace_state = span.state
    message.start_time_unix_nano = span.start_ns
    message.end_time_unix_nano = span.end_ns
    message.flags = _SAMPLED | SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
    if span.remote_parent:
        message.flags |= SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
    if span.failed:
        message.status.code = Status.STATUS_CODE_ERROR
    _fill(message.attributes, span.attributes)
    for name, at_ns, attributes in span.events:
        event = message.events.add(name=name, time_unix_nano=at_ns)
        _fill(event.attributes, attributes)


def _fill(fields: Any, attributes: Mapping[str, Value]) -> None:
    """Add attributes to a message's field of them."""
    for key, value in attributes.items():
        field = fields.add()
        field.key = key
        if isinstance(value, str):
            field.value.string_value = value[:_MOST_CHARACTERS]
        elif isinstance(value, bool):
            field.value.bool_value = value
        elif isinstance(value, int):
            field.value.int_value = value
        else:
            field.value.double_value = value


def _rejected(text: bytes) -> int:
    """What a reply says about partial success; one that cannot be read says nothing."""
    reply = ExportTraceServiceResponse()
    with contextlib.suppress(DecodeError):
        reply.ParseFromString(text)
    return max(int(reply.partial_success.rejected_spans), 0)
