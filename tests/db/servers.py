"""PostgreSQL and Redis of one's own: in a temporary folder, on a free port, gone with the test."""

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from loadtests.processes import free_port
from tests.patience import PATIENT_S

START_LIMIT_S = PATIENT_S


class Missing(Exception):
    """The server's programs are not on this machine."""


def wait_until(holds: Callable[[], bool], what: str, limit_s: float = START_LIMIT_S) -> None:
    """Return as soon as it holds; an `AssertionError` names what never did. Waits for `PATIENT_S` at the least."""
    limit_s = max(limit_s, PATIENT_S)
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s} s"
        time.sleep(0.01)


class Postgres:
    """One PostgreSQL server. It refuses to run as root, so it runs as another user where the tests do."""

    def __init__(self) -> None:
        self._programs = _postgres_programs()
        self._prefix, owner = _unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="maas-postgres-"))
        if owner is not None:
            os.chown(self.folder, *owner)
        self.port = free_port()
        self._data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        self._run(
            "initdb",
            "-D",
            str(self._data),
            "-U",
            "maas",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            "--no-locale",
        )

    def start(self) -> None:
        """Start, and wait until it answers. After `kill`, the old one's children may take a moment to go."""
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            self._process = subprocess.Popen(
                [
                    *self._prefix,
                    str(self._programs / "postgres"),
                    *("-D", str(self._data), "-p", str(self.port), "-k", str(self.folder), "-h", "127.0.0.1"),
                    *("-c", "fsync=off", "-c", "max_connections=100", "-c", "shared_buffers=16MB"),
                ],
                stdout=subprocess.DEVNULL,
                stderr=(self.folder / "log").open("ab"),
                cwd="/",
            )
            while self._process.poll() is None:
                if self.answers():
                    return
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.02)
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether a client gets in."""
        try:
            psycopg.connect(self._conninfo("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory runs out."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP to the server and all its children: connections stay open, and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT to all of them."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for pid in (parent, *map(int, children)):
            os.kill(pid, number)

    def stop(self) -> None:
        """Stop and remove everything."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def fresh_database(self, template: str = "template1") -> str:
        """The URL of a new database."""
        self._made += 1
        name = f"maas_{self._made}"
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY".encode())
        return f"postgresql://maas@127.0.0.1:{self.port}/{name}"

    def _conninfo(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=maas dbname={database}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._prefix, str(self._programs / program), *arguments],
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
        )
        assert done.returncode == 0, done.stderr


class Redis:
    """One Redis server, with nothing on disk."""

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise Missing("redis-server is not installed (Debian: redis-server)")
        self.folder = Path(tempfile.mkdtemp(prefix="maas-redis-"))
        self.port = free_port()
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--dir", str(self.folder), "--save", ""]
        self.start()

    def start(self) -> None:
        """Start, empty, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self.answers, "Redis answers")

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def answers(self) -> bool:
        """Whether it says PONG."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop and remove everything."""
        self.resume()
        self._process.terminate()
        self._process.wait(PATIENT_S)
        shutil.rmtree(self.folder, ignore_errors=True)


def _postgres_programs() -> Path:
    found = [shutil.which("postgres"), *sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), reverse=True)]
    for path in filter(None, found):
        folder = Path(path).resolve().parent
        if (folder / "initdb").exists():
            return folder
    raise Missing("PostgreSQL's server programs are not installed (Debian: postgresql)")


def _unprivileged() -> tuple[list[str], tuple[int, int] | None]:
    """A command prefix that drops root, and to whom; nothing where the tests do not run as root."""
    if os.geteuid() != 0:
        return [], None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if shutil.which("setpriv"):
            drop = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            return ["setpriv", *drop, "--"], (user.pw_uid, user.pw_gid)
    raise Missing("PostgreSQL refuses to run as root, and there is no user or setpriv to drop to")
