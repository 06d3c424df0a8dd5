"""All that runs for one payload: the upstream, the peers that could start, and how they are called."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtests import h2load, wrk
from loadtests.check import check_peer
from loadtests.load import Generator
from loadtests.meter import Meter
from loadtests.payloads import Payload
from loadtests.peers.peer import Kind, Peer, Stage
from loadtests.processes import BenchError, Cores, resident_bytes
from loadtests.results import Sample
from loadtests.upstream import Upstream, fixed_reply_upstream, missing_grpc


def missing(payload: Payload) -> str | None:
    """Why the payload cannot be sent or answered here, or None."""
    if payload.streams:
        return None
    return h2load.missing() or missing_grpc() if payload.grpc else wrk.missing()


class Field:
    """What was started for one payload, each peer once it was seen to do its job."""

    def __init__(self, payload: Payload, upstream: Upstream, cores: Cores, folder: Path) -> None:
        self.payload = payload
        self.upstream = upstream
        self.cores = cores
        self.folder = folder
        self.peers: dict[str, Peer] = {}
        self._generators: dict[str, Generator] = {}

    def add(self, peer: Peer) -> None:
        """Take part from now on. Raises `BenchError` if the peer does not do its job."""
        check_peer(peer, self.payload)
        self.peers[peer.name] = peer
        if self.payload.streams:
            return
        prepare = h2load.prepare if self.payload.grpc else wrk.prepare
        folder = self.folder / f"load-{peer.name}"
        self._generators[peer.name] = prepare(folder, self.payload, peer.headers(self.payload))

    def measure(self, name: str, connections: int, duration_s: int, round_number: int) -> Sample:
        """One spell of load on the peer `name`."""
        peer, generator = self.peers[name], self._generators[name]
        meter = Meter(peer.pid, self.upstream, self.cores)
        try:
            load, generator_s = generator(
                peer.url, connections=connections, duration_s=duration_s, core=self.cores.load
            )
        except BenchError as error:
            raise BenchError(f"{name}, {self.payload.title}, {connections} connections: {error}") from error
        spent = meter.stop(generator_s)
        peer.forget_log()
        return Sample(
            payload=self.payload.name,
            connections=connections,
            peer=name,
            round=round_number,
            requests=load.requests,
            requests_per_s=load.requests_per_s,
            p50_ms=load.p50_us / 1e3,
            p99_ms=load.p99_us / 1e3,
            proxy_cpu_us_per_request=spent.proxy_us_for_each(load.requests),
            proxy_busy=spent.proxy_busy,
            lost_busy=spent.lost_busy,
            load_busy=spent.load_busy,
        )

    def resident(self) -> dict[str, int]:
        """Resident bytes of each proxy."""
        return {peer.name: resident_bytes(peer.pid) for peer in self.peers.values() if peer.pid is not None}


@contextlib.contextmanager
def started(payload: Payload, kinds: Sequence[Kind], cores: Cores, folder: Path) -> Iterator[Field]:
    """The upstream and these peers, started afresh."""
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(fixed_reply_upstream(payload, folder / "upstream", cores))
        field = Field(payload, upstream, cores, folder)
        for kind in (kind for kind in kinds if kind.takes(payload)):
            field.add(stack.enter_context(kind.start(Stage(payload, upstream, folder / kind.name, cores))))
        yield field
