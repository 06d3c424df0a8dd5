"""What a model version's server tells of it: which tensors it takes and gives, and how long it keeps a sequence."""

import asyncio
import time
from typing import TypeVar

import msgspec

from gateway.errors import GatewayError, Kind, Source
from gateway.types import OPERATIONS, OperationName, Target
from gateway.upstream.exchange import Deadlines, Exchange, Headers, ReplySource
from gateway.upstream.pools import UpstreamPool

_LIMIT_S = 5.0
_MOST_BYTES = 4 * 1024 * 1024


class TensorSpec(msgspec.Struct, frozen=True):
    """A tensor of a model: a dimension of -1 may be of any size."""

    name: str
    datatype: str
    shape: tuple[int, ...] = ()


class VersionTensors(msgspec.Struct, frozen=True):
    """What one version takes and gives."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


class _Whole:
    """Gathers the reply."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.body += body

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        self.status = status

    def reply_data(self, data: bytes | memoryview) -> None:
        self.body += data
        if len(self.body) > _MOST_BYTES:
            raise _unusable("too much metadata")

    def reply_end(self) -> None:
        pass


async def ask_tensors(pool: UpstreamPool, target: Target, deadlines: Deadlines) -> VersionTensors:
    """Ask a server of the pool. Raises `GatewayError` when none that has the version tells."""
    return await _ask(pool, target, deadlines, "metadata", VersionTensors)


class SequenceBatching(msgspec.Struct, frozen=True):
    """How a version keeps sequences: one that is left alone for `max_sequence_idle_microseconds` is forgotten (0: Triton's default)."""

    max_sequence_idle_microseconds: int = 0


class VersionConfig(msgspec.Struct, frozen=True):
    """What stands in a version's configuration of sequences: its own batching, or that it is an ensemble of other models."""

    sequence_batching: SequenceBatching | None = None
    ensemble_scheduling: dict[str, msgspec.Raw] | None = None


async def ask_config(pool: UpstreamPool, target: Target, deadlines: Deadlines) -> VersionConfig:
    """Ask a server of the pool. Raises `GatewayError` when none that has the version tells."""
    return await _ask(pool, target, deadlines, "config", VersionConfig)


T = TypeVar("T")


async def _ask(
    pool: UpstreamPool, target: Target, deadlines: Deadlines, what: OperationName, kind: type[T]
) -> T:
    reply = _Whole()
    operation = OPERATIONS[what]
    done = asyncio.get_running_loop().create_future()
    path = target.upstream_path + operation.suffix
    exchange = Exchange(operation, path, b"", None, reply, time.monotonic() + _LIMIT_S, done)
    deadlines.add(exchange)
    try:
        await pool.run(exchange, target)
    finally:
        deadlines.discard(exchange)
        exchange.abort()
    if reply.status != 200:
        raise _unusable(f"status {reply.status} instead of {what}")
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unusable(f"{what} that cannot be read") from error


def _unusable(what: str) -> GatewayError:
    return GatewayError(Kind.BAD_GATEWAY, f"The model's server sent {what}.", source=Source.UPSTREAM)
