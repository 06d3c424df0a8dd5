"""What callers' idle streams over gRPC cost a worker, and that they live while aliases, keys and snapshots change.

`python -m loadtests.idle_streams [--streams 1000] [--connections 10] [--seconds 60] [--flip-s 5] [--json]`

A gateway is set up as an operator would do it, in front of `loadtests.rpc_echo`. Each stream sends a message, says nothing while
its alias moves from version to version and back, keys come and others go, and sends one more at the end. The worker's
resident memory is read before, with all streams open, at the end, and once they are closed.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc.aio
import msgspec

from gateway.wire import written
from loadtests.figures import show
from loadtests.payloads import MODEL
from loadtests.peers import maas
from loadtests.probe import accepts, answers
from loadtests.processes import BenchError, free_port, resident_bytes, running, wait_until
from loadtests.rpc_echo import METHOD, answer
from loadtests.upstream import Upstream

_SETTLE_S = 3.0
_CALL_LIMIT_S = 60.0
_PASSER_BY = "app:passer-by"
_MIB = 1024 * 1024
_MESSAGE = written(1, MODEL)


class Found(msgspec.Struct, frozen=True):
    """One run. Memory is the worker's, resident, in MiB; `slowest_s` is the last message that was answered, `alive` streams were."""

    streams: int
    connections: int
    seconds: float
    changes: int
    before_mib: float
    open_mib: float
    idle_mib: float
    closed_mib: float
    alive: int
    slowest_s: float

    @property
    def stream_kib(self) -> float:
        """What one stream takes, with its share of a connection."""
        return (max(self.open_mib, self.idle_mib) - self.before_mib) * 1024 / self.streams


class _Stream:
    """One stream of a caller's."""

    def __init__(self, channel: grpc.aio.Channel, key: str) -> None:
        self._call = channel.stream_stream(METHOD)(metadata=(("authorization", f"Bearer {key}"),))

    async def ask(self) -> tuple[bytes, float]:
        """Send a message: its reply, and how many seconds it took. Raises `BenchError` when none comes."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(_CALL_LIMIT_S):
                await self._call.write(_MESSAGE)
                reply = await self._call.read()
        except (TimeoutError, grpc.RpcError, asyncio.InvalidStateError) as error:
            raise BenchError(f"a stream has ended: {error}") from error
        if reply is grpc.aio.EOF:
            raise BenchError(f"a stream has ended: {await self._call.details()}")
        return reply, time.monotonic() - began

    async def until(self, expected: bytes) -> None:
        """Ask until this is the reply: a change is live. Raises `BenchError`."""
        end = time.monotonic() + _CALL_LIMIT_S
        while (await self.ask())[0] != expected:
            if time.monotonic() > end:
                raise BenchError(f"a change was not live after {_CALL_LIMIT_S:.0f} s")
            await asyncio.sleep(0.05)


def _reply_of(version: int) -> bytes:
    """What the server answers for a version."""
    return answer(written(1, MODEL) + written(2, str(version)))


class _Changes:
    """What an operator does meanwhile: the alias moves, a key comes and the one before it goes."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.count = 0
        self.version = 1
        self._key_id: str | None = None

    def make(self) -> None:
        """All of them once."""
        self.version = 3 - self.version
        maas.verb(self._environment, "alias", "set", MODEL, f"{MODEL}@{self.version}=100%", "--yes")
        made = json.loads(maas.verb(self._environment, "key", "create", _PASSER_BY, "--json"))
        if self._key_id is not None:
            maas.verb(self._environment, "key", "revoke", self._key_id, "--yes")
        self._key_id = made["id"]
        self.count += 1

    async def until(self, end: float, pause_s: float) -> None:
        """Make them again and again until the moment (monotonic seconds)."""
        while time.monotonic() < end:
            await asyncio.to_thread(self.make)
            await asyncio.sleep(min(pause_s, max(0.0, end - time.monotonic())))


async def measure(port: int, key: str, worker: int, changes: _Changes, options: argparse.Namespace) -> Found:
    """Open the streams, leave them alone, and ask each once more."""

    def memory_mib() -> float:
        return resident_bytes(worker) / _MIB

    # A connection each: grpcio shares one among channels to the same address otherwise.
    channels = [
        grpc.aio.insecure_channel(
            f"127.0.0.1:{port}",
            options=(("grpc.use_local_subchannel_pool", 1), ("grpc.max_concurrent_streams", 10_000)),
        )
        for _ in range(options.connections)
    ]
    scout = _Stream(channels[0], key)
    await scout.ask()
    await asyncio.sleep(_SETTLE_S)
    before = memory_mib()
    streams = [_Stream(channels[number % len(channels)], key) for number in range(options.streams)]
    for stream in streams:
        await stream.ask()
    await asyncio.sleep(_SETTLE_S)
    opened = memory_mib()
    await changes.until(time.monotonic() + options.seconds, options.flip_s)
    expected = _reply_of(changes.version)
    await scout.until(expected)
    idle = memory_mib()
    answered = await asyncio.gather(*(stream.ask() for stream in streams), return_exceptions=True)
    took = [each[1] for each in answered if isinstance(each, tuple) and each[0] == expected]
    for channel in channels:
        await channel.close()
    await asyncio.sleep(_SETTLE_S)
    return Found(
        options.streams,
        options.connections,
        options.seconds,
        changes.count,
        before,
        opened,
        idle,
        memory_mib(),
        len(took),
        max(took, default=0.0),
    )


@contextmanager
def _gateway(folder: Path) -> Iterator[tuple[int, str, int, _Changes]]:
    """Upstream and gateway: its gRPC port, a key, the worker's process id, and who changes things."""
    port, rpc_port, log = free_port(), free_port(), folder / "upstream.log"
    drain = [sys.executable, "-m", "loadtests.drain", str(port)]
    echo = [sys.executable, "-m", "loadtests.rpc_echo", str(rpc_port)]
    with (
        running(drain, core=None, log=log) as http,
        running(echo, core=None, log=log) as rpc,
    ):
        wait_until(lambda: answers(port, "/v2/health/ready"), "the upstream", process=http, log=log)
        wait_until(lambda: accepts(rpc_port), "the upstream's gRPC", process=rpc, log=log)
        with maas.set_up(folder / "maas", Upstream(port, rpc_port), core=None, more={}) as made:
            changes = _Changes(made.environment)
            changes.make()
            with maas.serving(folder / "maas", made, core=None) as data:
                yield int(made.environment["MAAS_INFERENCE__GRPC_PORT"]), made.key, data.pid, changes


def run(options: argparse.Namespace) -> Found:
    """One measurement. Raises `BenchError`."""
    with (
        tempfile.TemporaryDirectory(prefix="maas-streams-") as folder,
        _gateway(Path(folder)) as (port, key, worker, changes),
    ):
        return asyncio.run(measure(port, key, worker, changes, options))


def text(found: Found) -> str:
    """For people."""
    return "\n".join(
        (
            f"{found.streams} idle streams on {found.connections} connections for {found.seconds:g} s, one worker",
            f"  before   {found.before_mib:7.1f} MiB",
            f"  open     {found.open_mib:7.1f} MiB   {found.stream_kib:.1f} KiB a stream",
            f"  at last  {found.idle_mib:7.1f} MiB   after {found.changes} changes of the alias and of keys",
            f"  closed   {found.closed_mib:7.1f} MiB   after a message on each, all at once",
            f"{found.alive} of {found.streams} were answered by the version of the last change, the slowest in {found.slowest_s:.2f} s",
        )
    )


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.idle_streams", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--streams", type=int, default=1000, help="of the callers (1000)")
    parser.add_argument("--connections", type=int, default=10, help="that they share (10)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which they say nothing (60)")
    parser.add_argument("--flip-s", type=float, default=5.0, help="seconds between two changes (5)")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Measure and print; status 1 when the measurement could not be made or a stream did not live."""
    options = parse(words)
    try:
        found = run(options)
    except BenchError as error:
        print(f"idle_streams: {error}", file=sys.stderr)
        return 1
    show(found, text(found), as_json=options.json, stream_kib=found.stream_kib)
    return 0 if found.alive == found.streams else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
