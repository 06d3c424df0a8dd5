"""A model's server over gRPC that answers at once and says which version it was asked for: `python -m loadtests.rpc_echo PORT`.

Readiness is asked over HTTP, of `loadtests.drain`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from gateway.wire import Scan, tag_of, text_of, written

METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"


def answer(message: bytes) -> bytes:
    """A `ModelStreamInferResponse` with the request's name and version."""
    found = {tag: value for tag, value in Scan().fields(memoryview(message)) if tag in (tag_of(1), tag_of(2))}
    return written(2, b"".join(written(tag >> 3, text_of(value)) for tag, value in found.items()))


class _Service(grpc.GenericRpcHandler):  # type: ignore[misc]
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if handler_call_details.method != METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(self._echo)

    async def _echo(
        self, messages: AsyncIterator[bytes], _: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        async for message in messages:
            yield answer(message)


async def serve(port: int) -> None:
    """Until cancelled."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Service(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
