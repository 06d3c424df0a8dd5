"""The fixed-reply upstream behind every peer: what is measured in front of it is the proxy."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from loadtests import messages
from loadtests.payloads import MODEL, VERSIONS, Payload
from loadtests.probe import accepts, answers
from loadtests.processes import SEARCH_PATH, Cores, cpu_seconds, free_port, running, wait_until


class Upstream(msgspec.Struct, frozen=True):
    """A running upstream: its ports on 127.0.0.1 and its processes. Nothing answers on `grpc_port` unless gRPC is measured."""

    port: int
    grpc_port: int
    pids: tuple[int, ...] = ()

    def cpu_seconds(self) -> float:
        """CPU time of its processes, in seconds."""
        return sum(cpu_seconds(pid) for pid in self.pids)


def missing_grpc() -> str | None:
    """Why nothing can answer gRPC here, or None."""
    return None if _binary() else "nghttpd is not installed (Debian package nghttp2-server)"


def _binary() -> str | None:
    return shutil.which("nghttpd", path=SEARCH_PATH)


@contextlib.contextmanager
def fixed_reply_upstream(payload: Payload, folder: Path, cores: Cores) -> Iterator[Upstream]:
    """What answers this payload, on free ports: `loadtests.tokens` streams, `loadtests.drain` all else, and beside it nghttpd
    what is gRPC. Their output goes to `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, grpc_port, log = free_port(), free_port(), folder / "upstream.log"
    command = [sys.executable, "-m", "loadtests.drain", str(port)]
    if payload.streams:
        command = [sys.executable, "-m", "loadtests.tokens", str(port), str(grpc_port)]
    with contextlib.ExitStack() as stack:
        http = stack.enter_context(running(command, core=cores.upstream, log=log))
        wait_until(lambda: answers(port, "/v2/health/ready"), "the upstream", process=http, log=log)
        pids = [http.pid]
        if payload.grpc and not payload.streams:
            command = _nghttpd(folder / "replies", grpc_port)
            grpc = stack.enter_context(running(command, core=cores.upstream, log=log))
            wait_until(lambda: accepts(grpc_port), "nghttpd", process=grpc, log=log)
            pids.append(grpc.pid)
        yield Upstream(port, grpc_port, tuple(pids))


def _nghttpd(replies: Path, port: int) -> list[str]:
    """A server of files, of which one is a gRPC reply: it reads a body to its end before it answers, as Triton does."""
    ready, infer = replies / "v2/health/ready", replies / messages.METHOD[1:]
    for path in (ready, infer):
        path.parent.mkdir(parents=True)
    ready.write_bytes(b"ready")
    infer.write_bytes(messages.framed(messages.infer_reply(MODEL, VERSIONS[0])))
    # Windows as wide as those of the generator; with the default of 64 KiB, large bodies wait for it.
    program = _binary()
    assert program is not None
    windows = ["--window-bits=24", "--connection-window-bits=26"]
    return [
        program, "--no-tls", "--address=127.0.0.1", f"--htdocs={replies}", "--trailer=grpc-status: 0",
        "--max-concurrent-streams=4096", *windows, str(port),
    ]  # fmt: skip
