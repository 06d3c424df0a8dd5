"""The planes as the manifests start them: their environment, their user, their one folder; by hand, without a cluster."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.processes import free_port
from tests.db.servers import wait_until
from tests.deploy.manifests import DEPLOY, KUBERNETES, ROOT, environment, gateways, pod, render, settings_file
from tests.patience import PATIENT_S

pytestmark = pytest.mark.slow

OVERLAY = "overlays/small"


def unprivileged(owned: Path) -> list[str]:
    """A command prefix that makes a process the manifests' user, without any capability.

    Nothing where that cannot be done: without root, or where this Python or the checkout is root's own.
    """
    uid = str(pod(gateways(render(OVERLAY))["data"])["securityContext"]["runAsUser"])
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return []
    drop = [
        "setpriv",
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
    ]
    told = subprocess.run(
        [*drop, sys.executable, "-c", "import gateway.app, sys; print(sys.base_prefix)"],
        cwd="/",
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    # A Python that cannot read its own library takes another's.
    if told.returncode != 0 or told.stdout.strip() != sys.base_prefix:
        return []
    os.chown(owned, int(uid), int(uid))
    return drop


class Planes:
    """Control and data of the small overlay, below one folder, on free ports of loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._prefix = unprivileged(folder)
        found = render(OVERLAY)
        (folder / "maas.toml").write_text(settings_file(found))
        (folder / "maas.toml").chmod(0o644)
        self.control_port, self.inference_port, self.ops_port = free_port(), free_port(), free_port()
        elsewhere = {
            "MAAS_CONFIG": str(folder / "maas.toml"),
            "MAAS_CONTROL__HOST": "127.0.0.1",
            "MAAS_CONTROL__PORT": str(self.control_port),
            "MAAS_CONTROL__URL": f"http://127.0.0.1:{self.control_port}",
            "MAAS_INFERENCE__HOST": "127.0.0.1",
            "MAAS_INFERENCE__PORT": str(self.inference_port),
            "MAAS_INFERENCE__OPS_PORT": str(self.ops_port),
            "MAAS_INFERENCE__GRPC_PORT": "0",
            "MAAS_INFERENCE__DRAIN_NOTICE_S": "0.2",
            "MAAS_SAMPLES__URL": str(folder / "samples"),
            "MAAS_EMBEDDED__MODEL_REPOSITORY": str(ROOT / "model_repository"),
            "MAAS_POLICIES__FOLDER": str(KUBERNETES / "base" / "policies"),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": os.environ["PATH"],
        }
        self.environs = {
            role: environment(workload) | elsewhere | {"MAAS_DATA_DIR": str(folder / role / "data")}
            for role, workload in gateways(found).items()
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def command(self, role: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run something beside the role's process, as `kubectl exec` would."""
        return subprocess.run(
            [*self._prefix, sys.executable, *arguments],
            cwd="/",
            env=self.environs[role],
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, role: str) -> None:
        """`maas serve` of the role. Returns at once."""
        with open(self.folder / f"{role}.log", "ab") as log:
            self.processes[role] = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "gateway.cli.main", "serve"],
                cwd="/",
                env=self.environs[role],
                stdout=log,
                stderr=log,
            )

    def end(self, role: str, number: signal.Signals) -> int:
        """Send the signal and wait: the exit status."""
        self.processes[role].send_signal(number)
        return self.processes[role].wait(PATIENT_S)

    def ready(self, role: str) -> bool:
        """What the readiness probe would hear. Fails the test when the process has ended."""
        assert self.processes[role].poll() is None, (self.folder / f"{role}.log").read_text()
        return self.get(self.ops_port if role == "data" else self.control_port, "/health/ready") == 200

    def get(self, port: int, path: str, key: str = "") -> int:
        """The status of a GET; 0 where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.closing(connection):
            try:
                connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
                return connection.getresponse().status
            except OSError:
                return 0


@pytest.fixture
def planes() -> Iterator[Planes]:
    """Both planes, not started."""
    with tempfile.TemporaryDirectory(prefix="maas-deploy-") as folder:
        found = Planes(Path(folder))
        try:
            yield found
        finally:
            for process in found.processes.values():
                process.kill()
                process.wait(PATIENT_S)


def test_the_planes_start_as_their_pods_would(planes: Planes) -> None:
    """With the environment of the manifests, no home and no right but to one folder: ready, administered, drained.

    A data plane whose container is started again, with nobody else there, serves from its volume.
    """
    planes.start("control")
    wait_until(lambda: planes.ready("control"), "the control plane is ready", 30)
    made = planes.command(
        "control", "-m", "gateway.cli.main", "init", "--dir", str(planes.folder / "first"), "--json"
    )
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)["admin_key"]
    planes.start("data")
    wait_until(lambda: planes.ready("data"), "the data plane is ready", 30)
    wait_until(
        lambda: planes.get(planes.control_port, "/api/v1/keys", key) == 200, "the first key is taken", 10
    )
    for role in ("control", "data"):
        folder = planes.folder / role / "data"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert os.listdir(folder.parent) == ["data"]
        assert planes.command(role, str(DEPLOY / "container" / "health.py")).returncode == 0

    assert planes.end("control", signal.SIGKILL) == -signal.SIGKILL
    assert planes.end("data", signal.SIGKILL) == -signal.SIGKILL
    assert planes.command("data", str(DEPLOY / "container" / "health.py")).returncode == 1
    planes.start("data")
    wait_until(lambda: planes.ready("data"), "the data plane is ready by itself", 30)
    assert planes.get(planes.inference_port, "/v2/health/ready") == 200
    assert planes.end("data", signal.SIGTERM) == 0
