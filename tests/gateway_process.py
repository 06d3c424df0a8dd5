"""A real data-plane process for tests: its snapshot is written to disk before it starts, so it needs no control plane."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

from gateway.secret import KEY_PURPOSE, derive, key_digest
from gateway.snapshot.adapters import Adapter
from gateway.snapshot.document import (
    AliasEntry,
    KeyEntry,
    ModelEntry,
    PolicyEntry,
    PoolEntry,
    SnapshotDocument,
    TargetEntry,
    encode,
)
from gateway.snapshot.split import fresh_slices
from loadtests.processes import free_port
from tests.patience import PATIENT_S

ROOT = Path(__file__).parents[1]
SECRET = "a secret of a test, long enough to be taken"
APP = "key-of-app"
STRANGER = "key-of-stranger"
READER = "key-of-reader"
PINNER = "key-of-pinner"
EXPIRED = "key-of-expired"
INSTALLATION = "a0" * 16
SALT = "000102030405060708090a0b0c0d0e0f"

_PRINCIPALS = {
    APP: ("app:caller", None),
    STRANGER: ("app:stranger", None),
    READER: ("app:reader", None),
    PINNER: ("app:pinner", None),
    EXPIRED: ("app:caller", 1_000_000_000.0),
}
_POLICY = PolicyEntry(
    grants=(
        ("role:consumer", "*", "*", "infer", "allow"),
        ("role:consumer", "*", "*", "read", "allow"),
        ("role:reader", "*", "*", "read", "allow"),
        ("role:pinner", "*", "*", "pin", "allow"),
    ),
    roles=(
        ("app:caller", "role:consumer", "vision"),
        ("app:pinner", "role:consumer", "vision"),
        ("app:pinner", "role:pinner", "vision"),
        ("app:reader", "role:reader", "vision"),
    ),
)


def key_entry(text: str, principal: str, expires_at: float | None = None, *, key_id: str = "") -> KeyEntry:
    """The entry of a key whose text is `text`."""
    digest = key_digest(derive(SECRET.encode(), KEY_PURPOSE), text.encode())
    return KeyEntry(key_id or f"id-{text}", digest.hex(), principal, expires_at)


def alias_entry(
    name: str, *targets: tuple[str, int, int], team: str = "vision", sticky: bool = True
) -> AliasEntry:
    """An alias with targets (model, version, weight in basis points)."""
    rows = tuple(TargetEntry(*target) for target in targets)
    return AliasEntry(name, team, SALT, rows, fresh_slices(rows), sticky)


def document(*endpoints: str, version: int = 1, keys: tuple[KeyEntry, ...] | None = None) -> SnapshotDocument:
    """What the tests' gateways serve: model `m`, of which versions 1 and 2 are loaded and 3 is not.

    Aliases: `a` (version 1), `split` (half and half), `spread` (the same, not sticky), `unloaded` (version 3) and
    `hidden` (of a team in which no caller has a role).
    """
    if keys is None:
        keys = tuple(key_entry(text, *rest) for text, rest in _PRINCIPALS.items())
    return SnapshotDocument(
        version=version,
        created_at=time.time(),
        installation=INSTALLATION,
        aliases=(
            alias_entry("a", ("m", 1, 10_000)),
            alias_entry("split", ("m", 1, 5_000), ("m", 2, 5_000)),
            alias_entry("spread", ("m", 1, 5_000), ("m", 2, 5_000), sticky=False),
            alias_entry("unloaded", ("m", 3, 10_000)),
            alias_entry("hidden", ("m", 1, 10_000), team="secret"),
        ),
        models=(ModelEntry("m", "vision", "main", (1, 2, 3)),),
        pools=(PoolEntry("main", "triton", endpoints or ("http://127.0.0.1:9",)),),
        keys=keys,
        policy=_POLICY,
    )


class Gateway:
    """One running `maas serve` of role data, in a folder of its own."""

    def __init__(self, folder: Path, found: SnapshotDocument | None, **settings: object) -> None:
        self.folder = folder
        self.settings = settings
        if found is not None:
            self.write_snapshot(encode(found))
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ("127.0.0.1", 0)
        self.ops_port = free_port()

    def write_snapshot(self, data: bytes, name: str = "snapshot") -> None:
        """Put a snapshot on disk, as an earlier run would have."""
        (self.folder / "snapshots").mkdir(parents=True, exist_ok=True)
        (self.folder / "snapshots" / name).write_bytes(data)

    def start(self, limit_s: float = 90.0) -> "Gateway":
        """Start the process and wait until it listens."""
        told = self.folder / "gateway-data.json"
        told.unlink(missing_ok=True)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MAAS_")}
        environ |= {
            "PYTHONPATH": str(ROOT),
            "MAAS_ROLE": "data",
            "MAAS_DATA_DIR": str(self.folder),
            "MAAS_SECRET": SECRET,
            "MAAS_INFERENCE__PORT": "0",
            "MAAS_INFERENCE__GRPC_PORT": "0",
            "MAAS_INFERENCE__OPS_PORT": str(self.ops_port),
            "MAAS_INFERENCE__DRAIN_NOTICE_S": "0.1",
            "MAAS_UPSTREAM__PROBE_INTERVAL_S": "0.2",
            "MAAS_CONTROL__URL": "http://127.0.0.1:9",
        }
        environ |= {f"MAAS_{name.upper()}": str(value) for name, value in self.settings.items()}
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli.main", "serve"],
                cwd=self.folder,
                env=environ,
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: told.exists() or self.exit_status is not None, limit_s, "the gateway to listen")
        if self.exit_status is not None:
            raise AssertionError(f"the gateway ended with {self.exit_status}:\n{self.log}")
        url = json.loads(told.read_text())["inference_url"]
        self.address = ("127.0.0.1", int(url.rpartition(":")[2]))
        return self

    @property
    def log(self) -> str:
        """What the process has written."""
        return (self.folder / "log").read_text()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """Its exit status; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, limit_s: float = PATIENT_S) -> int:
        """Wait for its end: the exit status. `limit_s` is as in `wait_for`."""
        assert self._process is not None
        return self._process.wait(max(limit_s, PATIENT_S))

    def stop(self) -> None:
        """End it at once, with all its workers."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENT_S)
            for pid in self.workers().values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def workers(self) -> dict[int, int]:
        """The process ids of its workers by their numbers, where it has several."""
        path = self.folder / "gateway-data.json"
        told = json.loads(path.read_text()) if path.exists() else {}
        return {int(number): pid for number, pid in told.get("workers", {}).items()}

    def metric(self, name: str) -> float:
        """The sum of a metric's samples of this host."""
        text = httpx.get(f"http://127.0.0.1:{self.ops_port}/metrics", timeout=60).text
        found = [
            line.rpartition(" ")[2]
            for line in text.splitlines()
            if line.startswith((f"{name}{{", f"{name} "))
        ]
        return sum(map(float, found))

    def access_log(self) -> list[dict[str, Any]]:
        """The lines of its access log so far."""
        path = self.folder / "logs" / "access.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def rss_bytes(self) -> int:
        """Its resident memory now."""
        return self._memory("VmRSS")

    @contextlib.contextmanager
    def memory_growth(self) -> Iterator[Callable[[], int]]:
        """How far its resident memory went, at its highest, above where it was at the start of the block."""
        before = self.rss_bytes()
        # 5: reset the peak (proc(5), /proc/PID/clear_refs).
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        yield lambda: self._memory("VmHWM") - before

    def _memory(self, field: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field}")


@contextlib.contextmanager
def running(folder: Path, found: SnapshotDocument | None, **settings: object) -> Iterator[Gateway]:
    """A gateway for the length of the block. `INFERENCE__MAX_BODY_BYTES=1000` and the like are its settings."""
    gateway = Gateway(folder, found, **settings)
    try:
        yield gateway.start()
    finally:
        gateway.stop()


def wait_for(
    condition: Callable[[], object], limit_s: float = PATIENT_S, what: str = "the condition"
) -> None:
    """Wait until `condition` holds. Raises `AssertionError` when it does not within `limit_s`, or `PATIENT_S` where that
    is longer: a test that promises a time measures it.
    """
    limit_s = max(limit_s, PATIENT_S)
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"waited {limit_s} s for {what}")
        time.sleep(0.01)


def changed(found: SnapshotDocument, **fields: Any) -> SnapshotDocument:
    """`found` with other fields."""
    return msgspec.structs.replace(found, **fields)


def with_adapters(found: SnapshotDocument, **adapters: Adapter) -> SnapshotDocument:
    """`found` with adapters on the aliases of these names."""
    aliases = [msgspec.structs.replace(alias, adapter=adapters.get(alias.name)) for alias in found.aliases]
    return changed(found, aliases=tuple(aliases))
