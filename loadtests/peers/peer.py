"""What the benchmark knows of a running peer, and what a peer is told at its start."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from loadtests.payloads import Payload
from loadtests.processes import Cores
from loadtests.upstream import Upstream

CREDENTIAL_HEADER = "X-API-Key"
ROUTING_HEADER = "Maas-Routing-Key"


class Stage(msgspec.Struct, frozen=True):
    """What is there when a peer starts: what will be sent, the upstream, a folder of its own, and the cores."""

    payload: Payload
    upstream: Upstream
    folder: Path
    cores: Cores

    @property
    def upstream_port(self) -> int:
        """Where the upstream takes this payload."""
        return self.upstream.grpc_port if self.payload.grpc else self.upstream.port


class Peer(msgspec.Struct, frozen=True):
    """A running peer on 127.0.0.1. `pid` is the process whose tree is measured; None if there is no proxy.

    `guarded` peers check the key and split the traffic. `access_log` is emptied between spells of load, so that it
    does not fill the memory that it is kept in.
    """

    name: str
    port: int
    path: str
    pid: int | None = None
    key: str = ""
    guarded: bool = False
    access_log: Path | None = None

    @property
    def url(self) -> str:
        """Where the load goes."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def body(self, payload: Payload) -> bytes:
        """What this peer is sent."""
        return payload.openai_body if self.guarded and payload.openai_body else payload.body

    def forget_log(self) -> None:
        """Empty the access log."""
        if self.access_log is not None and self.access_log.exists():
            os.truncate(self.access_log, 0)

    def headers(self, payload: Payload) -> dict[str, str]:
        """The headers of a request to this peer, but for the routing key."""
        credential = {CREDENTIAL_HEADER: self.key or "none"}
        return {**payload.headers, **credential}


class Kind(msgspec.Struct, frozen=True):
    """A kind of peer: `missing` says why it cannot run here, or None; `start` runs one."""

    name: str
    missing: Callable[[], str | None]
    start: Callable[[Stage], AbstractContextManager[Peer]]
    speaks_openai: bool = False

    def takes(self, payload: Payload) -> bool:
        """True if it can be sent the payload; direct calls go to the model's own stream where a gateway translates."""
        return payload.openai_body is None or self.speaks_openai or self.name == "direct"
