"""The load generator for streams: so many at a time, each on a connection of its own, the next one when one has ended.

It notes how long the first token of each stream took from the request, and how long every other was under way, which each token
tells (`loadtests.tokens`). `python -m loadtests.listener`, with what to do as JSON on standard input, prints `Heard`.
"""

import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import grpc.aio
import msgspec
import uvloop

from loadtests.payloads import STREAM_TOKENS

_STAMP = re.compile(rb"@(\d+)@")
_END = b"0\r\n\r\n"
_STREAM_LIMIT_S = 60.0
_READ_BYTES = 65536
_TAIL_BYTES = 64
"""A stamp that is cut in two is found whole with so much of what was read before."""


class Order(msgspec.Struct, frozen=True):
    """What to send, where, how many streams at a time, and how long new ones are begun."""

    url: str
    headers: dict[str, str]
    body: bytes
    grpc: bool
    streams: int
    duration_s: float


class Heard(msgspec.Struct, frozen=True):
    """What came: whole streams, their tokens, and percentiles of the time to a first token and of one token's way."""

    streams: int
    tokens: int
    first_p50_ms: float
    first_p99_ms: float
    token_p50_us: float
    token_p99_us: float
    wrong: str = ""
    """The first thing that went wrong; then there are no figures."""


class Ears:
    """Notes tokens as they arrive."""

    def __init__(self) -> None:
        self.streams = 0
        self._first_ns: list[int] = []
        self._token_ns: list[int] = []

    def first(self, began_ns: int) -> None:
        """The first token of a stream that was asked for at `began_ns` is here."""
        self._first_ns.append(time.monotonic_ns() - began_ns)

    def token(self, stamp: bytes) -> None:
        """A token is here."""
        self._token_ns.append(time.monotonic_ns() - int(stamp))

    def heard(self) -> Heard:
        """All of it."""
        first, token = sorted(self._first_ns), sorted(self._token_ns)
        return Heard(
            self.streams,
            len(token),
            _percentile(first, 0.5) / 1e6,
            _percentile(first, 0.99) / 1e6,
            _percentile(token, 0.5) / 1e3,
            _percentile(token, 0.99) / 1e3,
        )


def _percentile(ordered: list[int], share: float) -> int:
    return ordered[int(len(ordered) * share)]


class Events:
    """Server-sent events of one stream, as they arrive in pieces."""

    def __init__(self, ears: Ears) -> None:
        self._ears = ears
        self._began_ns = time.monotonic_ns()
        self._tokens = 0
        self._unread = b""

    def take(self, data: bytes) -> bool:
        """Note the tokens in it; True at the stream's end. Raises `RuntimeError` for what is no whole stream."""
        if not data:
            raise RuntimeError("the connection was closed")
        if not self._tokens and not self._unread and not data.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(repr(data[:300]))
        text, at = self._unread + data, 0
        for found in _STAMP.finditer(text):
            if not self._tokens:
                self._ears.first(self._began_ns)
            self._tokens += 1
            self._ears.token(found[1])
            at = found.end()
        self._unread = text[max(at, len(text) - _TAIL_BYTES) :]
        if not self._unread.endswith(_END):
            return False
        if self._tokens != STREAM_TOKENS:
            raise RuntimeError(f"a stream ended after {self._tokens} tokens: {text[-300:]!r}")
        return True


async def _over_http(order: Order, ears: Ears) -> Callable[[], Awaitable[None]]:
    where = urlsplit(order.url)
    fields = {"Host": where.netloc, "Content-Length": str(len(order.body)), **order.headers}
    head = [f"POST {where.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    request = "\r\n".join([*head, "", ""]).encode() + order.body
    reader, writer = await asyncio.open_connection("127.0.0.1", where.port)

    async def listen() -> None:
        events = Events(ears)
        writer.write(request)
        while not events.take(await reader.read(_READ_BYTES)):
            pass

    return listen


async def _over_grpc(order: Order, ears: Ears) -> Callable[[], Awaitable[None]]:
    where = urlsplit(order.url)
    options = (("grpc.use_local_subchannel_pool", 1),)
    method = grpc.aio.insecure_channel(where.netloc, options=options).stream_stream(where.path)
    metadata = tuple((name.lower(), value) for name, value in order.headers.items())

    async def listen() -> None:
        tokens, began_ns = 0, time.monotonic_ns()
        call = method(metadata=metadata, timeout=_STREAM_LIMIT_S)
        await call.write(order.body)
        await call.done_writing()
        async for reply in call:
            found = _STAMP.search(reply)
            if found is None:
                raise RuntimeError(f"no token: {reply[:300]!r}")
            if not tokens:
                ears.first(began_ns)
            tokens += 1
            ears.token(found[1])
        if tokens != STREAM_TOKENS:
            raise RuntimeError(f"a stream ended after {tokens} tokens")

    return listen


async def run(order: Order) -> Heard:
    """Listen to `order.streams` streams at a time, begun one after the other over the first interval of their tokens."""
    ears = Ears()
    listens = [await (_over_grpc if order.grpc else _over_http)(order, ears) for _ in range(order.streams)]
    until = time.monotonic() + order.duration_s

    async def repeat(place: int, listen: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(place / order.streams)
        while True:
            async with asyncio.timeout(_STREAM_LIMIT_S):
                await listen()
            ears.streams += 1
            if time.monotonic() > until:
                return

    try:
        await asyncio.gather(*(repeat(place, listen) for place, listen in enumerate(listens)))
    except (RuntimeError, TimeoutError, grpc.aio.AioRpcError) as error:
        return Heard(0, 0, 0, 0, 0, 0, str(error) or repr(error))
    return ears.heard()


if __name__ == "__main__":
    heard = uvloop.run(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Order)))
    sys.stdout.buffer.write(msgspec.json.encode(heard))
