"""Starting a real Triton: how a failed start is explained, and that nothing is left behind."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.upstream.tritonserver import (
    TritonServer,
    TritonStartError,
    installation,
    server,
    triton_available,
)
from tests.patience import PATIENT_S

REPOSITORY = Path(__file__).parents[2] / "model_repository"
DIGITS = REPOSITORY / "digits"
QUICK = ("--disable-auto-complete-config",)
NEEDS_TRITON = pytest.mark.skipif(triton_available() is not None, reason=str(triton_available()))
pytestmark = pytest.mark.slow


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = PATIENT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(0.02)


def members(group: int) -> list[int]:
    """Living processes of a group; zombies, which only their parent can remove, do not live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(pgrp) == group and state not in "ZX":
            found.append(int(stat.parent.name))
    return found


def leftovers(workspaces: list[str]) -> list[Path]:
    """Shared memory and temporary folders that servers with these workspaces left."""
    places = (Path("/dev/shm"), Path(tempfile.gettempdir()))
    return [path for place in places for name in workspaces for path in place.glob(f"{name}*")]


@pytest.fixture
def workspaces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the workspaces that servers get during a test."""
    real, names = tempfile.mkdtemp, []

    def recorded(**arguments: Any) -> str:
        folder: str = real(**arguments)
        names.append(Path(folder).name)
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", recorded)
    return names


# --- how it fails to start ---


def broken(tmp_path: Path, old: str, new: str) -> Path:
    shutil.copytree(DIGITS, tmp_path / "digits")
    config = tmp_path / "digits" / "config.pbtxt"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    return tmp_path


@NEEDS_TRITON
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("dims: [ 64 ]", "dims: [ 63 ]", r"'image': the model expects 2 dimensions \(shape \[-1,64\]\) but"),
        (
            'name: "image"',
            'name: "picture"',
            "unexpected inference input 'picture', allowed inputs are: image",
        ),
        (
            "TYPE_FP32",
            "TYPE_FP64",
            "unexpected datatype TYPE_FP32 for inference input 'image', expecting TYPE_FP64",
        ),
        (
            "all {}",
            "specific { versions: [ 9 ] }",
            "version 9 is specified for model 'digits', but the version directory is not present",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_is_explained(
    workspaces: list[str], tmp_path: Path, old: str, new: str, said: str
) -> None:
    """A model whose configuration contradicts its file fails the start with the reason, and nothing stays running."""
    with pytest.raises(TritonStartError, match=said):
        TritonServer.start(broken(tmp_path, old, new), extra_args=QUICK)
    assert len(workspaces) == 1
    assert leftovers(workspaces) == []


@NEEDS_TRITON
def test_a_damaged_model_file_is_explained(tmp_path: Path) -> None:
    """So does a file that is no ONNX model."""
    shutil.copytree(DIGITS, tmp_path / "digits")
    (tmp_path / "digits" / "2" / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(TritonStartError, match=r"failed to load 'digits' version 2: .*onnx runtime error 7"):
        TritonServer.start(tmp_path, extra_args=QUICK)


@NEEDS_TRITON
def test_a_repository_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A wrong path is told at once."""
    with pytest.raises(TritonStartError, match=r"there is no model repository at .*nowhere"):
        TritonServer.start(tmp_path / "nowhere")


@NEEDS_TRITON
@pytest.mark.parametrize(
    ("ports", "named"), [("http_port", "HTTP"), ("grpc_port", "gRPC"), ("metrics_port", "metrics")]
)
def test_a_port_in_use_is_named(ports: str, named: str) -> None:
    """A taken port is told at once, with its number and what it was for."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            TritonStartError, match=rf"{named} port {port} on 127\.0\.0\.1 cannot be used: Address"
        ):
            TritonServer.start(REPOSITORY, **{ports: port})


@NEEDS_TRITON
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_free_port_that_someone_else_takes_is_replaced(monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    """Between our choice of a port and Triton's, another process may take it: then others are chosen."""
    real = server.choose_ports
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        rounds: list[tuple[int, int, int]] = []

        def unlucky(host: str, wanted: tuple[int, int, int]) -> tuple[int, int, int]:
            chosen = list(real(host, wanted))
            if not rounds:
                chosen[lost] = port
            rounds.append((chosen[0], chosen[1], chosen[2]))
            return rounds[-1]

        monkeypatch.setattr(server, "choose_ports", unlucky)
        with TritonServer.start(REPOSITORY, load=["digits"], extra_args=QUICK) as running:
            assert running.ready()
            assert str(port) not in running.http_url + running.grpc_target + running.metrics_url
            running.stop(timeout_s=0)
    assert len(rounds) == 2


@NEEDS_TRITON
def test_the_limit_on_readiness_holds(workspaces: list[str]) -> None:
    """A server that is not ready in time is ended, and the error says what the log said last."""
    with pytest.raises(TritonStartError, match=r"was not ready within 0\.05 s: "):
        TritonServer.start(REPOSITORY, ready_timeout_s=0.05)
    assert len(workspaces) == 1
    assert leftovers(workspaces) == []


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any tritonserver, the reason says what to install."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(installation, "unsupported_platform", lambda: None)
    reason = triton_available()
    assert reason is not None
    assert "make install-dev" in reason


def test_an_unsupported_interpreter_is_named(tmp_path: Path) -> None:
    """A package without a stub for this Python says which versions it has."""
    (tmp_path / "python_backend_stubs" / "3.6").mkdir(parents=True)
    reason = installation.Installation(tmp_path / "bin" / "tritonserver", tmp_path).missing()
    assert reason == (
        f"the packaged tritonserver has no Python backend for Python {installation.PYTHON}, only for 3.6"
    )


def test_an_old_c_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older glibc than the package was built for is told before anything is tried."""
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.31")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    reason = triton_available()
    assert reason is not None
    assert "needs glibc 2.35 or newer, here is glibc 2.31" in reason


@NEEDS_TRITON
def test_a_missing_library_is_named(tmp_path: Path) -> None:
    """A shared library that the loader does not find is named before the server is started."""
    packaged = installation.find()
    assert packaged.package is not None
    copied = tmp_path / "tritonserver"
    shutil.copy(packaged.binary, copied)  # away from its own libraries
    assert "does not find libb64" in str(installation.unresolved(copied, dict(os.environ)))


def test_an_installed_server_keeps_its_own_backends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tritonserver on PATH, as in NVIDIA's container, or at a given path is started without our backends."""
    installed = tmp_path / "tritonserver"
    installed.write_text('#!/bin/sh\necho "error: $*"\nexit 3\n')
    installed.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert triton_available() is None
    for binary in (None, installed):
        with pytest.raises(
            TritonStartError, match=f"ended with status 3: error: --model-repository={REPOSITORY}"
        ) as told:
            TritonServer.start(REPOSITORY, binary=binary)
        assert "--backend-directory" not in told.value.detail
        assert "--load-model=*" in told.value.detail


def test_a_path_that_is_no_program_is_refused(tmp_path: Path) -> None:
    """A given binary that cannot be run is named."""
    with pytest.raises(TritonStartError, match="is not an executable file"):
        TritonServer.start(REPOSITORY, binary=tmp_path / "tritonserver")


# --- that it leaves nothing behind ---


@NEEDS_TRITON
def test_stop_leaves_nothing(workspaces: list[str], tmp_path: Path) -> None:
    """After `stop` no process of the group lives, and shared memory and temporary files are gone; the log stays."""
    log = tmp_path / "logs" / "triton.log"
    running = TritonServer.start(REPOSITORY, log_path=log, load=["digits"], extra_args=QUICK)
    group = running.process.pid
    assert len(members(group)) == 4, "the server and a stub for each version"
    assert len(leftovers(workspaces)) == 4, "a folder and a region for each stub"
    running.stop()
    running.stop()
    assert members(group) == []
    assert leftovers(workspaces) == []
    assert not running.ready()
    assert "Started HTTPService" in log.read_text()


@NEEDS_TRITON
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_stop_cleans_up_after_a_killed_or_frozen_server(workspaces: list[str], end: signal.Signals) -> None:
    """Stubs and shared memory that a killed server leaves are removed by `stop`; a frozen one ends too."""
    with TritonServer.start(REPOSITORY, load=["digits"], extra_args=QUICK) as running:
        group = running.process.pid
        os.kill(group, end)
        running.stop(timeout_s=1)
    assert members(group) == []
    assert leftovers(workspaces) == []


@NEEDS_TRITON
@pytest.mark.parametrize("by_thread", [False, True])
def test_the_server_dies_with_its_parent_but_not_with_a_thread(by_thread: bool) -> None:
    """Killing the process that started it ends the server; the end of the thread that started it does not."""
    script = (
        "import sys, threading, time\nfrom pathlib import Path\nfrom gateway.upstream.tritonserver import TritonServer\n"
        "def run():\n    global s\n"
        f"    s = TritonServer.start(Path({str(REPOSITORY)!r}), load=['digits'], extra_args={QUICK!r})\n"
        + ("t = threading.Thread(target=run)\nt.start()\nt.join()\n" if by_thread else "run()\n")
        + "print(s.process.pid, s.log_path.parent.name, s.ready(), flush=True)\ntime.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        group, workspace, ready = parent.stdout.readline().split()
        assert ready == "True"
        assert members(int(group))
        assert leftovers([workspace])
    finally:
        parent.kill()
        parent.communicate()
    wait_for(lambda: members(int(group)) == [], "the server ends")
    wait_for(lambda: leftovers([workspace]) == [], "what it left is removed")
