"""One Triton server process: started, awaited, stopped, and never left behind."""

import contextlib
import http.client
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from gateway.upstream.tritonserver.installation import Installation, TritonStartError, find

PORTS = ("HTTP", "gRPC", "metrics")
# Another process may take a free port between our choice and Triton's bind.
PORT_ATTEMPTS = 3
POLL_S = 0.02
PROBE_TIMEOUT_S = 2.0
# On SIGTERM Triton first waits up to 30 s for idle keep-alive connections to close; nothing is gained by that.
STOP_TIMEOUT_S = 5.0
KILL_TIMEOUT_S = 5.0
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - not a folder for files: POSIX shared memory

# Waits for its standard input to close, as it does when the gateway dies however it dies, and ends the server then.
# A line on it means that the gateway has stopped the server itself. A process of its own, since PR_SET_PDEATHSIG
# fires when the starting *thread* ends. $1 is the process group, $2 the workspace, $3 the prefix in shared memory.
WATCHER = """
read -r line && exit
kill -TERM "-$1" 2>/dev/null
for _ in $(seq 100); do kill -0 "-$1" 2>/dev/null || break; sleep 0.1; done
kill -KILL "-$1" 2>/dev/null
rm -rf "$2" "$3"*
"""


class TritonServer:
    """A running tritonserver on a model repository, ready to answer; stops at the end of a `with` block.

    `process` is the server itself, leader of a process group that its Python stubs belong to.
    """

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        watcher: "subprocess.Popen[bytes]",
        host: str,
        ports: tuple[int, int, int],
        workspace: Path,
        log_path: Path,
        log_start: int,
    ) -> None:
        self.process = process
        self.log_path = log_path
        self.http_url = f"http://{host}:{ports[0]}"
        self.grpc_target = f"{host}:{ports[1]}"
        self.metrics_url = f"http://{host}:{ports[2]}/metrics"
        self._watcher = watcher
        self._workspace = workspace
        self._log_start = log_start

    @classmethod
    def start(
        cls,
        model_repository: Path,
        *,
        http_port: int = 0,
        grpc_port: int = 0,
        metrics_port: int = 0,
        host: str = "127.0.0.1",
        log_path: Path | None = None,
        binary: Path | None = None,
        ready_timeout_s: float = 60,
        load: Sequence[str] = ("*",),
        extra_args: Sequence[str] = (),
    ) -> Self:
        """Starts a server and waits until it and all loaded models are ready.

        `host` is an IPv4 address or a name of one. A port of 0 means a free one. `load` names the models to load at
        the start, `*` all of them; others can be loaded later, since model control is explicit. `extra_args` are
        tritonserver's own; where every config.pbtxt is complete, `--disable-auto-complete-config` makes the packaged
        server start four times as fast. The log is appended to `log_path`, else to a temporary file that goes with it.

        Raises TritonStartError when Triton cannot run here, a port is taken, a model does not load, or the limit
        passes; nothing is left running then.
        """
        installation = find(binary)
        if not model_repository.is_dir():
            raise TritonStartError(f"there is no model repository at {model_repository}")
        wanted = (http_port, grpc_port, metrics_port)
        attempts = PORT_ATTEMPTS if 0 in wanted else 1
        while True:
            ports = choose_ports(host, wanted)
            server = cls._launch(
                installation, model_repository.resolve(), host, ports, log_path, load, extra_args
            )
            attempts -= 1
            try:
                server._wait_until_ready(ready_timeout_s)
            except BaseException as error:
                lost_a_race = isinstance(error, TritonStartError) and "already in use" in error.detail
                server.stop(timeout_s=0)
                if lost_a_race and attempts:
                    continue
                raise
            return server

    @classmethod
    def _launch(
        cls,
        installation: Installation,
        model_repository: Path,
        host: str,
        ports: tuple[int, int, int],
        log_path: Path | None,
        load: Sequence[str],
        extra_args: Sequence[str],
    ) -> Self:
        workspace = Path(tempfile.mkdtemp(prefix="maas-triton-"))
        installation.compose(workspace)
        log_path = log_path or workspace / "tritonserver.log"
        command = [
            str(installation.binary),
            f"--model-repository={model_repository}",
            "--model-control-mode=explicit",
            *(f"--load-model={model}" for model in load),
            f"--http-address={host}",
            f"--http-port={ports[0]}",
            f"--grpc-address={host}",
            f"--grpc-port={ports[1]}",
            f"--metrics-address={host}",
            f"--metrics-port={ports[2]}",
            *installation.arguments(workspace),
            *extra_args,
        ]
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            log_start = log.tell()
            log.write(f"$ {shlex.join(command)}\n".encode())
            log.flush()
            try:
                process = subprocess.Popen(
                    command,
                    env=installation.environment(workspace),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                shutil.rmtree(workspace)
                raise TritonStartError(f"{installation.binary} does not start: {error.strerror}") from error
        watcher = subprocess.Popen(
            ["/bin/sh", "-c", WATCHER, "sh", str(process.pid), workspace, SHARED_MEMORY / workspace.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return cls(process, watcher, host, ports, workspace, log_path, log_start)

    def ready(self) -> bool:
        """Whether the server and all models that it should have loaded are ready."""
        return get(f"{self.http_url}/v2/health/ready") is not None

    def log(self) -> str:
        """What this server has logged so far."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ends the server and removes what it left: SIGTERM, after `timeout_s` (0: at once) SIGKILL to the group.

        Harmless when it has ended by itself, or was stopped before.
        """
        if self._watcher.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
            self.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)
        # Stubs outlive a server that was killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        limit = time.monotonic() + KILL_TIMEOUT_S
        while living(self.process.pid) and time.monotonic() < limit:
            time.sleep(POLL_S)
        self._watcher.communicate(b"stopped\n")
        shutil.rmtree(self._workspace, ignore_errors=True)
        for region in SHARED_MEMORY.glob(f"{self._workspace.name}*"):
            region.unlink(missing_ok=True)

    def _wait_until_ready(self, timeout_s: float) -> None:
        limit = time.monotonic() + timeout_s
        # Metrics start last: until they answer as Triton's do, a port may still turn out to be taken.
        while not (self.ready() and b"nv_" in (get(self.metrics_url) or b"")):
            if self.process.poll() is not None:
                raise TritonStartError(
                    f"tritonserver ended with status {self.process.returncode}: {self._last_words()}"
                )
            if time.monotonic() > limit:
                raise TritonStartError(
                    f"tritonserver was not ready within {timeout_s:g} s: {self._last_words()}"
                )
            time.sleep(POLL_S)

    def _last_words(self) -> str:
        """The log's errors, or its last lines where there are none."""
        lines = self.log().splitlines()[1:]  # the first is the command
        errors = [
            # Without glog's prefix (level, time, thread, place) and without Python's list of calls.
            re.sub(r'^E\d{4} [^]]*\] "?|\\n\\nAt:.*|"$', "", line)
            for line in lines
            if re.match(r"E\d{4} |error:", line) and "CudaDriverHelper" not in line
        ]
        return " | ".join((list(dict.fromkeys(errors)) or lines or ["it logged nothing"])[-5:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.stop()


def living(group: int) -> bool:
    """Whether a process group has members other than zombies, which wait for a parent that we are not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False


def get(url: str) -> bytes | None:
    """The body of a reply with status 200, None for anything else."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", f"/{path}", headers={"Connection": "close"})
        reply = connection.getresponse()
        return reply.read() if reply.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def choose_ports(host: str, wanted: tuple[int, int, int]) -> tuple[int, int, int]:
    """The wanted ports, with distinct free ones in place of zeros. Raises TritonStartError where one is taken."""
    with contextlib.ExitStack() as held:
        chosen = []
        for name, port in zip(PORTS, wanted, strict=True):
            listener = held.enter_context(socket.socket())
            # As servers do: connections of an earlier server that linger must not count.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
            except OSError as error:
                raise TritonStartError(
                    f"{name} port {port} on {host} cannot be used: {error.strerror}"
                ) from error
            chosen.append(int(listener.getsockname()[1]))
    return chosen[0], chosen[1], chosen[2]
