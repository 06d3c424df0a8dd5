"""An upstream with a model to sample, and file systems that are small or cannot be written."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.dataplane.grpc.conftest import RpcServer
from tests.dataplane.upstream import Upstream
from tests.gateway_process import APP, Gateway
from tests.sampling.scene import model


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A server that has model m, versions 1 and 2."""
    server = Upstream()
    server.behave = model()
    yield server
    server.close()
    assert not server.errors


@pytest.fixture
def rpc_upstream() -> Iterator[RpcServer]:
    """A gRPC server whose HTTP side tells the tensors of model m."""
    server = RpcServer()
    server.probed.behave = model()
    yield server
    server.close()


@pytest.fixture
def caller() -> Iterator[Callable[[Gateway], httpx.Client]]:
    """Makes clients of `app:caller`; they are closed after the test."""
    clients: list[httpx.Client] = []

    def client(gateway: Gateway) -> httpx.Client:
        url = f"http://{gateway.address[0]}:{gateway.address[1]}"
        clients.append(httpx.Client(base_url=url, headers={"Authorization": f"Bearer {APP}"}, timeout=60))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB. Skips where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a file system of 1 MiB takes root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "maas-test", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
