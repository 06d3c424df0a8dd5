"""A running control plane: a real server on a free port, with clients for the principals of `policies/rules.csv`."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from gateway.controlplane.access.keys import new_key
from gateway.controlplane.api import create_app
from gateway.controlplane.change import write_change
from gateway.controlplane.plane import ControlPlane
from gateway.settings import PoolSettings
from gateway.tokens.refresh import Refresher
from tests.db.servers import wait_until

SECRET = b"a secret of tests, long enough to be one"
POLICIES = Path(__file__).parents[2] / "policies"
POOLS = {"declared": PoolSettings("embedded")}


def digest(version: int) -> str:
    """Some digest for a version."""
    return f"sha256:{version:064x}"


def targets(*weights: tuple[int, Any], model: str = "digits") -> list[dict[str, Any]]:
    """Targets of the wire from (version, weight)."""
    return [{"model": model, "version": version, "weight": weight} for version, weight in weights]


class Running:
    """The control plane behind `url`; `as_(principal)` is a client with a key of theirs."""

    def __init__(self, url: str, control: ControlPlane) -> None:
        self.url = url
        self.control = control
        # Nothing here speaks TLS; loading the certificates of all authorities would take longer than the tests.
        self.worker = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {control.worker_token}"},
            timeout=40,
            verify=False,
        )
        self.anyone = httpx.Client(base_url=url, timeout=30, verify=False)
        self._clients: dict[str, httpx.Client] = {}
        self._names = 0

    def key(self, principal: str) -> str:
        """The text of a fresh key."""
        text = write_change(
            self.control.database,
            "test",
            "test",
            lambda change: (
                new_key(change, principal, self.control.digest_key, expires_at=None, note=None)[0].text
            ),
        )[0]
        self.control.publisher.refresh()
        return text

    def client(self, key: str) -> httpx.Client:
        """A client with a key."""
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30, verify=False
        )

    def as_(self, principal: str) -> httpx.Client:
        """A client of the principal."""
        if principal not in self._clients:
            self._clients[principal] = self.client(self.key(principal))
        return self._clients[principal]

    @property
    def admin(self) -> httpx.Client:
        """May do all."""
        return self.as_("user:admin")

    @property
    def lead(self) -> httpx.Client:
        """Owns the aliases of team vision."""
        return self.as_("user:lead")

    def fresh(self, prefix: str = "a") -> str:
        """A name that nothing has yet."""
        self._names += 1
        return f"{prefix}-{self._names}"

    def model(self, name: str = "digits", team: str = "vision", versions: tuple[int, ...] = (1, 2, 3)) -> str:
        """A registered model."""
        body = {
            "team": team,
            "pool": "declared",
            "versions": [{"version": version, "digest": digest(version)} for version in versions],
        }
        self.admin.put(f"/api/v1/models/{name}", json=body).raise_for_status()
        return name

    def alias(self, *weights: tuple[int, int], team: str = "vision") -> str:
        """A fresh alias on the model `digits`."""
        name = self.fresh()
        body = {"team": team, "targets": targets(*(weights or ((1, 10_000),)))}
        self.admin.put(f"/api/v1/aliases/{name}", json=body).raise_for_status()
        return name

    def close(self) -> None:
        """Close the clients."""
        for client in (self.worker, self.anyone, *self._clients.values()):
            client.close()


@contextlib.contextmanager
def serve(control: ControlPlane) -> Iterator[str]:
    """Serve on a free port until the block ends; its URL."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(create_app(control), log_config=None, timeout_graceful_shutdown=2, ws="none")
        )
        thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
        thread.start()
        wait_until(lambda: server.started, "the server has started")
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            control.stop()
            server.should_exit = True
            thread.join(10)


@contextlib.contextmanager
def running(database_url: str, issuers: Refresher | None = None) -> Iterator[Running]:
    """A control plane on the database, which takes the issuers' tokens too."""
    control = ControlPlane(database_url, SECRET, POLICIES, POOLS, issuers=issuers)
    assert control.open()
    with serve(control) as url:
        plane = Running(url, control)
        try:
            yield plane
        finally:
            plane.close()
