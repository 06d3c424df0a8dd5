"""`maas serve` as a child process that goes when the demo goes, however the demo goes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from gateway.cli.demo.ports import Ports
from gateway.cli.output import Refused

READY_WITHIN_S = 60.0
_POLL_S = 0.02
_STOP_WITHIN_S = 10.0

# Ends the gateway when the demo dies without a word: its standard input closes then. A line on it means that the
# demo has ended the gateway itself. $1 is the gateway's process group.
_WATCHER = """
read -r line && exit
kill -TERM "-$1" 2>/dev/null
for _ in $(seq 100); do kill -0 "-$1" 2>/dev/null || exit; sleep 0.1; done
kill -KILL "-$1" 2>/dev/null
"""


class GatewayProcess:
    """A running `maas serve` on one settings file, its output in one log file; ends with the `with` block."""

    def __init__(self, settings: Path, log: Path) -> None:
        self.log = log
        # The demo is all of its settings: what the caller's shell has for another gateway stays out.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAAS_")}
        with log.open("ab") as output:
            self._log_from = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli.main", "serve", "--config", str(settings)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends the gateway in order
            )
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHER, "sh", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_until_ready(self, ports: Ports) -> None:
        """Wait for both planes to answer. Raises `Refused` with the gateway's last words when it ends or takes too long."""
        limit = time.monotonic() + READY_WITHIN_S
        pages = [f"{ports.control_url}/health/ready", f"{ports.inference_url}/v2/health/ready"]
        with httpx.Client(timeout=2.0, trust_env=False) as http:
            while pages:
                self.check()
                if time.monotonic() > limit:
                    raise Refused(
                        f"the gateway was not ready within {READY_WITHIN_S:g} s: {self._last_words()}"
                    )
                with contextlib.suppress(httpx.HTTPError):
                    if http.get(pages[0]).is_success:
                        pages.pop(0)
                        continue
                time.sleep(_POLL_S)

    def check(self) -> None:
        """Raises `Refused` when the gateway has ended."""
        if (status := self._process.poll()) is not None:
            raise Refused(f"the gateway ended with status {status}: {self._last_words()}")

    def stop(self) -> None:
        """End the gateway: SIGTERM, and SIGKILL for what does not go."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._watcher.stdin is not None and not self._watcher.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._watcher.stdin.write(b"stopped\n")
                self._watcher.stdin.close()
        self._watcher.wait()

    def _last_words(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_from)
            lines = [
                line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()
            ]
        return f"{lines[-1] if lines else 'it said nothing'} (all of it: {self.log})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
