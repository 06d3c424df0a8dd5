"""The upstream of the stream loads: every request is answered with a stream of tokens, over HTTP and gRPC.

Each token says when it was sent, so that whoever receives it on this machine knows how long it was under way. All streams
share one pace, as they share a GPU's: one alone gets a token every 2 ms, a hundred get 2 000 tokens/s together.
`python -m loadtests.tokens PORT GRPC_PORT`.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import ClassVar

import grpc
import grpc.aio
import uvloop

from loadtests import messages
from loadtests.drain import Drain
from loadtests.payloads import MODEL, STREAM_TOKENS, VERSIONS

_ALONE_S = 0.002
_TOGETHER_S = 0.0005

_PATHS = {f"/v2/models/{MODEL}/versions/{version}/generate_stream".encode() for version in VERSIONS}
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT = b'data: {"model_name":"%b","model_version":"1","text_output":"%%b"}\n\n' % MODEL.encode()
_END = b"0\r\n\r\n"


class _Pace:
    """How long a stream waits for its next token."""

    def __init__(self) -> None:
        self.streams = 0

    @property
    def interval_s(self) -> float:
        return max(_ALONE_S, _TOGETHER_S * self.streams)


_PACE = _Pace()


def stamp() -> bytes:
    """A token that tells when it was made."""
    return b"@%d@" % time.monotonic_ns()


async def _ticks() -> AsyncIterator[None]:
    """The moments of one stream's tokens, the first at once."""
    _PACE.streams += 1
    try:
        due = asyncio.get_running_loop().time()
        for _ in range(STREAM_TOKENS):
            yield
            due += _PACE.interval_s
            await asyncio.sleep(due - asyncio.get_running_loop().time())
    finally:
        _PACE.streams -= 1


class Tokens(Drain):
    """One connection; what is not a stream is answered as by `Drain`."""

    # The event loop itself holds tasks but weakly.
    _streaming: ClassVar[set[asyncio.Task[None]]] = set()

    def _answer(self) -> None:
        if self._path not in _PATHS:
            super()._answer()
            return
        task = asyncio.get_running_loop().create_task(self._stream())
        self._streaming.add(task)
        task.add_done_callback(self._streaming.discard)

    async def _stream(self) -> None:
        self._transport.write(_HEAD)
        async for _ in _ticks():
            if self._transport.is_closing():
                return
            event = _EVENT % stamp()
            self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        self._transport.write(_END)


async def _stream(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
    async for _ in requests:
        async for _ in _ticks():
            await context.write(messages.token(MODEL, VERSIONS[0], stamp()))


async def serve(port: int, grpc_port: int) -> None:
    """Answer on 127.0.0.1 until cancelled."""
    server = grpc.aio.server()
    name, method = messages.STREAM_METHOD[1:].split("/")
    handlers = {method: grpc.stream_stream_rpc_method_handler(_stream)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    await server.start()
    http = await asyncio.get_running_loop().create_server(Tokens, "127.0.0.1", port, backlog=4096)
    await http.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
