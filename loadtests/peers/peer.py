"""What the benchmark knows of a running peer, and what a peer is told at its start."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from loadtests.payloads import MODEL, Payload
from loadtests.processes import Cores

CREDENTIAL_HEADER = "X-API-Key"
ROUTING_HEADER = "Maas-Routing-Key"
ALIAS_PATH = f"/v2/models/{MODEL}/infer"
"""Where the peers that split traffic are called; the others are called by a version's own path."""


class Stage(msgspec.Struct, frozen=True):
    """What is there when a peer starts: the upstream's port, a folder of its own, and the cores."""

    upstream_port: int
    folder: Path
    cores: Cores


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

    def headers(self, payload: Payload) -> dict[str, str]:
        """The headers of a request to this peer, but for the routing key."""
        credential = {CREDENTIAL_HEADER: self.key or "none"}
        return {**payload.headers, **credential}


class Kind(msgspec.Struct, frozen=True):
    """A kind of peer: `missing` says why it cannot run here, or None; `start` runs one."""

    name: str
    missing: Callable[[], str | None]
    start: Callable[[Stage], AbstractContextManager[Peer]]
