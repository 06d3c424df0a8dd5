"""CPU time of the gateway's own code for a small request, without sockets: `python -m loadtests.in_process`.

One data-plane worker answers one caller in this process. Both transports are stand-ins: they take what is written and hand
over what would have arrived, so that nothing but the gateway and Python's event loop is measured. Probes and the first
sample ask a real upstream. CPU time is counted, the variants take turns, and the median is told.
"""

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from gateway.app.data import open_worker, rest_collector
from gateway.dataplane.http.connection import Connection
from gateway.dataplane.worker import Worker, compile_document
from gateway.secret import KEY_PURPOSE, derive, key_digest
from gateway.settings import Inference, Settings
from gateway.snapshot.document import (
    AliasEntry,
    KeyEntry,
    LimitEntry,
    ModelEntry,
    PolicyEntry,
    PoolEntry,
    QuotaEntry,
    SamplingEntry,
    SnapshotDocument,
    TargetEntry,
)
from gateway.snapshot.split import fresh_slices
from gateway.upstream.triton_http import TritonConnection
from gateway.upstream.triton_reply import KnownReplies
from loadtests.payloads import MODEL, ROUTING_KEYS, json_payload
from loadtests.processes import Cores
from loadtests.replies import infer_reply
from loadtests.upstream import fixed_reply_upstream

SECRET, KEY = b"of a benchmark, and long enough for one", "maas-in-process"
_SALT = "00" * 16
_SPLIT = (TargetEntry(MODEL, 1, 9_000), TargetEntry(MODEL, 2, 1_000))
_SETTLE_LIMIT_S, _LOOK_S = 30.0, 0.05
_WARM_UP, _PROFILED, _PROFILE_LINES = 2_000, 10_000, 40

_QUOTAS = (
    QuotaEntry(
        "each",
        (
            LimitEntry("each-1", "requests", 400_000, 1),
            LimitEntry("each-2", "requests", 900_000_000, 86_400),
        ),
        application="*",
        alias=MODEL,
    ),
    QuotaEntry(
        "all",
        (
            LimitEntry("all-1", "requests", 500_000, 1),
            LimitEntry("all-2", "content-bytes", 900_000_000_000, 3_600),
        ),
        alias=MODEL,
    ),
)
_SAMPLING = SamplingEntry(100, _SALT)

VARIANTS: dict[str, tuple[tuple[QuotaEntry, ...], SamplingEntry | None]] = {
    "plain": ((), None),
    "quotas": (_QUOTAS, None),
    "samples": ((), _SAMPLING),
    "both": (_QUOTAS, _SAMPLING),
}


def document(
    upstream: str, quotas: tuple[QuotaEntry, ...], sampling: SamplingEntry | None
) -> SnapshotDocument:
    """One alias, split 90 to 10, and one caller who may use it."""
    digest = key_digest(derive(SECRET, KEY_PURPOSE), KEY.encode()).hex()
    return SnapshotDocument(
        version=1,
        created_at=time.time(),
        installation=_SALT,
        aliases=(AliasEntry(MODEL, "vision", _SALT, _SPLIT, fresh_slices(_SPLIT), sampling=sampling),),
        models=(ModelEntry(MODEL, "vision", "main", (1, 2)),),
        pools=(PoolEntry("main", "triton", (upstream,)),),
        keys=(KeyEntry("key", digest, "app:bench"),),
        policy=PolicyEntry(
            (("role:consumer", "*", "*", "infer", "allow"),), (("app:bench", "role:consumer", "vision"),)
        ),
        quotas=quotas,
    )


class _Transport(asyncio.Transport):
    """Takes what is written; `answer` says what then arrives for `protocol`."""

    def __init__(self, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__()
        self.protocol = protocol
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written(bytes(data))

    def written(self, data: bytes) -> None:
        """Bytes that would be on their way now."""
        raise NotImplementedError

    def arrive(self, data: bytes) -> None:
        """Hand over bytes, in a turn of the loop of their own, as a socket would."""
        self._loop.call_soon(self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        memoryview(self.protocol.get_buffer(len(data)))[: len(data)] = data
        self.protocol.buffer_updated(len(data))

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


class _Triton(_Transport):
    """Answers every request at once."""

    def __init__(self, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__(protocol)
        self._replies = {
            version: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
            for version, body in ((version, infer_reply(version)) for version in (1, 2))
        }
        self._second = b"/versions/2/"

    def written(self, data: bytes) -> None:
        self.arrive(self._replies[2 if self._second in data else 1])


class _Caller(_Transport):
    """Sends the next request when the reply to the last is here, `left` of them."""

    def __init__(self, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__(protocol)
        payload = json_payload()
        self._requests = [
            b"POST /v2/models/%b/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Maas-Routing-Key: caller-%d\r\nX-Api-Key: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (MODEL.encode(), number, KEY.encode(), len(payload.body), payload.body)
            for number in range(ROUTING_KEYS)
        ]
        self._turn = self._left = 0
        self._over: asyncio.Future[None] | None = None

    async def call(self, times: int) -> None:
        """So many requests, one after the other."""
        self._left = times
        self._over = asyncio.get_running_loop().create_future()
        self._next()
        await self._over

    def written(self, data: bytes) -> None:
        assert self._over is not None
        if not data.startswith(b"HTTP/1.1 200 "):
            self._over.set_exception(RuntimeError(data.decode(errors="replace")))
        elif self._left:
            self._next()
        else:
            self._over.set_result(None)

    def _next(self) -> None:
        self._left -= 1
        self._turn = (self._turn + 1) % ROUTING_KEYS
        self.arrive(self._requests[self._turn])


class _Scene:
    """A worker of one variant, its caller connected."""

    def __init__(self, worker: Worker, settings: Settings) -> None:
        connection = TritonConnection(
            b"127.0.0.1", settings.upstream.max_reply_header_bytes, KnownReplies(), lambda _: None
        )
        connection.connection_made(_Triton(connection))
        # Probes reach the real upstream; requests find this connection, always.
        vars(worker.pools.endpoints()[0])["idle_connection"] = lambda: connection
        protocol = Connection(worker.listener)
        self.caller = _Caller(protocol)
        protocol.connection_made(self.caller)

    async def cpu_us(self, requests: int) -> float:
        """CPU time of this process for each of so many requests, in microseconds."""
        began = time.process_time()
        await self.caller.call(requests)
        return (time.process_time() - began) * 1e6 / requests


@asynccontextmanager
async def _scene(variant: str, folder: Path, upstream: str) -> AsyncIterator[_Scene]:
    settings = Settings(data_dir=folder / variant, role="data", inference=Inference(grpc_port=0))
    settings.data_dir.mkdir()
    worker = open_worker(settings, SECRET, 0)
    plane = worker.plane
    plane.activate(compile_document(document(upstream, *VARIANTS[variant])))
    works = [plane.deadlines.run(), worker.access_log.run()]
    if plane.samples is not None:
        works.append(plane.samples.run())
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        async with asyncio.timeout(_SETTLE_LIMIT_S):
            # Probes and the first question about tensors cannot be awaited.
            while not plane.ready or (plane.samples is not None and plane.samples.report().problems):
                await asyncio.sleep(_LOOK_S)
        yield _Scene(worker, settings)
    finally:
        for task in tasks:
            task.cancel()
        if plane.samples is not None:
            await plane.samples.stop()
        await worker.pools.close()


async def measure(options: argparse.Namespace, folder: Path, upstream: str) -> dict[str, list[float]]:
    """Microseconds of CPU time a request, of each variant in each round; the profile that was asked for goes to standard output."""
    found: dict[str, list[float]] = {variant: [] for variant in options.variants}
    async with AsyncExitStack() as stack:
        scenes = {
            variant: await stack.enter_async_context(_scene(variant, folder, upstream)) for variant in found
        }
        for scene in scenes.values():
            await scene.caller.call(_WARM_UP)
        rest_collector()
        for _ in range(options.rounds):
            for variant, scene in scenes.items():
                found[variant].append(await scene.cpu_us(options.requests))
        if options.profile in scenes:
            with cProfile.Profile() as profile:
                await scenes[options.profile].caller.call(_PROFILED)
            pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(_PROFILE_LINES)
    return found


def _variants(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(VARIANTS):
        raise argparse.ArgumentTypeError(
            f"no such variant: {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}"
        )
    return names


def main(arguments: list[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.in_process", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--variants", type=_variants, default=tuple(VARIANTS), metavar=",".join(VARIANTS))
    parser.add_argument("--rounds", type=int, default=60, metavar="N")
    parser.add_argument("--requests", type=int, default=1_000, metavar="N", help="in each round")
    parser.add_argument("--profile", choices=tuple(VARIANTS), help="profile one variant afterwards")
    parser.add_argument("--json", action="store_true", help="every round's figure, as JSON")
    options = parser.parse_args(arguments)
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="maas-bench-") as folder:
        place = Path(folder)
        with fixed_reply_upstream(json_payload(), place / "upstream", Cores(core, core, core)) as upstream:
            found = asyncio.run(measure(options, place, f"http://127.0.0.1:{upstream.port}"))
    if options.json:
        print(json.dumps(found))
        return 0
    first = statistics.median(next(iter(found.values())))
    print("variant   CPU µs/request   ÷ first")
    for variant, figures in found.items():
        middle = statistics.median(figures)
        print(f"{variant:8}  {middle:14.1f}  {middle / first:8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
