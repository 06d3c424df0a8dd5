"""No proxy: the load generator talks to the upstream, which shows what the proxies add."""

import contextlib
from collections.abc import Iterator

from loadtests.peers.peer import Peer, Stage

NAME = "direct"


def missing() -> str | None:
    """Nothing is needed."""
    return None


@contextlib.contextmanager
def start(stage: Stage) -> Iterator[Peer]:
    """The upstream itself."""
    yield Peer(NAME, stage.upstream_port, stage.payload.version_path)
