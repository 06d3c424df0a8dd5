"""The embedded engine as a pool: requests run in its worker threads, never on the event loop."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from gateway.errors import GatewayError, Kind, Source
from gateway.types import Target
from gateway.upstream.embedded import EmbeddedEngine, EngineReply, EngineRequest
from gateway.upstream.embedded.messages import Protocol as EngineProtocol
from gateway.upstream.embedded.responses import Asker, Responses
from gateway.upstream.exchange import Body, Exchange, Flow
from gateway.upstream.state import StateGone

log = logging.getLogger(__name__)


class EmbeddedPool:
    """Serves every version that the engine has loaded."""

    def __init__(self, engine: EmbeddedEngine, threads: int) -> None:
        self._engine = engine
        self._place = secrets.token_bytes(8)
        self._versions = engine.ready_versions()
        self._held: Mapping[tuple[str, int], str] = {}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="embedded")

    async def run(self, exchange: Exchange, target: Target) -> None:
        """Answer the exchange. Raises `GatewayError` when the version is not loaded or the deadline passes."""
        await self._run(exchange, target, "http")

    async def run_grpc(self, exchange: Exchange, target: Target) -> None:
        """As `run`, with messages of `inference.GRPCInferenceService` for request and reply."""
        await self._run(exchange, target, "grpc")

    def place(self, target: Target, key: bytes) -> bytes:
        """Here: each worker has an engine of its own, whose models keep their state in its process."""
        return self._place

    async def run_at(self, place: bytes, exchange: Exchange, target: Target, *, grpc: bool) -> None:
        """As `run` or `run_grpc`. Raises `StateGone` where the state is with another worker's engine."""
        if place != self._place:
            raise StateGone("worker")
        await self._run(exchange, target, "grpc" if grpc else "http")

    async def _run(self, exchange: Exchange, target: Target, protocol: EngineProtocol) -> None:
        if (target.model, target.version) not in self._versions:
            raise GatewayError(
                Kind.UNAVAILABLE,
                f"Version {target.version} of model {target.model} is not loaded in the embedded engine.",
                source=Source.UPSTREAM,
                retry_after_s=5,
            )
        work = asyncio.ensure_future(self._answer(exchange, target, protocol))
        try:
            await asyncio.wait((work, exchange.done), return_when=asyncio.FIRST_COMPLETED)
            if not exchange.done.done():
                await work
            exchange.done.result()
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    def hold(self, registered: Mapping[tuple[str, int], str]) -> None:
        """Serve no version whose files are not those that it is registered with, by (model, version) and digest."""
        held = self._engine.hold(registered)
        for key in held.keys() - self._held.keys():
            log.error("the embedded engine does not serve %s@%d: %s", *key, held[key])
        self._held = held
        self._versions = self._engine.ready_versions()

    def close(self) -> None:
        """Stop the threads once they have finished what they do."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.close()

    async def _answer(self, exchange: Exchange, target: Target, protocol: EngineProtocol) -> None:
        loop = asyncio.get_running_loop()
        body = b"" if exchange.body is None else await _whole(exchange.body)
        asker = Asker()
        request = EngineRequest(
            operation=exchange.operation.name,
            model=target.model,
            version=target.version,
            headers=_headers(exchange.headers),
            body=body,
            protocol=protocol,
            asker=asker,
        )
        if exchange.span is not None:
            exchange.span.sent("")
        exchange.started = exchange.sent = time.monotonic()
        try:
            reply = await loop.run_in_executor(self._threads, self._engine.answer, request)
            exchange.status = reply.status
            if reply.events is None:
                exchange.reply_bytes = len(reply.body)
                exchange.sink.reply_whole(reply.status, reply.headers, reply.body)
            else:
                await self._stream(exchange, reply, reply.events)
        finally:
            # The caller has left, or its time is up: the model may stop.
            asker.leave()
        exchange.finish()

    async def _stream(self, exchange: Exchange, reply: EngineReply, events: Iterator[bytes]) -> None:
        loop = asyncio.get_running_loop()
        flow = Flow()
        exchange.reply_began()
        exchange.sink.reply_head(reply.status, reply.headers, None, flow)
        while True:
            if reply.stream is not None:
                # Threads are for work, not for waiting: a slow stream holds none.
                await _ready(loop, reply.stream)
            event = await loop.run_in_executor(self._threads, next, events, None)
            if event is None:
                break
            await flow.open.wait()
            exchange.reply_bytes += len(event)
            exchange.sink.reply_data(event)
        exchange.sink.reply_end()


async def _ready(loop: asyncio.AbstractEventLoop, responses: Responses) -> None:
    """Wait until the next response, or the end, is there."""
    ready = asyncio.Event()

    def tell() -> None:
        loop.call_soon_threadsafe(ready.set)

    responses.when_ready(tell)
    await ready.wait()


class _Gather:
    """Gathers a body; the listener has bounded it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.whole = asyncio.Event()

    def body_data(self, data: bytes | memoryview) -> None:
        self.data += data

    def body_end(self) -> None:
        self.whole.set()


async def _whole(body: Body) -> bytes | bytearray:
    if body.complete:
        return body.take()
    gather = _Gather()
    body.start(gather)
    await gather.whole.wait()
    return gather.data


def _headers(block: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b": ") for line in block.split(b"\r\n") if line)
    return {name.lower(): value for name, _, value in pairs}
