"""A real `maas serve` on a folder of its own, and the control plane's API as an operator uses it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx

from gateway.cli.registering.folder import read_model_folder
from loadtests.processes import free_port
from tests.patience import PATIENT_S

HOST = "127.0.0.1"
MAAS = Path(sys.executable).with_name("maas")
READY_WITHIN_S = 90.0
POLL_S = 0.005
# Nobody balances load over a test: there is nobody to give notice to.
QUICK = {"MAAS_INFERENCE__DRAIN_NOTICE_S": "0.01", "MAAS_INFERENCE__DRAIN_LIMIT_S": "5"}


class Installation(NamedTuple):
    """What `maas init` made: the settings file, the data folder, and the first admin key."""

    config: Path
    data_dir: Path
    admin_key: str


class Key(NamedTuple):
    """A key as its making told it."""

    id: str
    text: str

    @property
    def headers(self) -> dict[str, str]:
        """The credential of a request."""
        return {"Authorization": f"Bearer {self.text}"}


def wait_until(condition: Callable[[], Any], what: str, limit_s: float = PATIENT_S) -> float:
    """Wait for the condition; how many seconds it took. Fails, saying `what` did not come, after `limit_s`, or `PATIENT_S`
    where that is longer: a test that promises a time compares what this returns.
    """
    limit_s = max(limit_s, PATIENT_S)
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, f"not within {limit_s:g} s: {what}"
        time.sleep(POLL_S)
    return time.monotonic() - began


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a `maas` process: `settings`, and nothing of a gateway that the shell knows."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MAAS_")} | dict(
        settings
    )


def maas(*arguments: str, **settings: str) -> str:
    """Run one verb of the `maas` command; its standard output. Fails when the verb does."""
    done = subprocess.run(
        [MAAS, *arguments],
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=READY_WITHIN_S,
    )
    assert done.returncode == 0, f"maas {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def install(folder: Path, database_url: str | None = None) -> Installation:
    """`maas init` into the folder."""
    options = [] if database_url is None else ["--database-url", database_url]
    made = json.loads(maas("init", "--json", "--dir", str(folder), *options))
    return Installation(Path(made["settings"]), Path(made["data_dir"]), made["admin_key"])


class Gateway:
    """One `maas serve` process; it can be killed and started again on the same ports and folder."""

    def __init__(
        self,
        installation: Installation,
        settings: Mapping[str, str] | None = None,
        *,
        role: str = "all",
        control_url: str | None = None,
    ) -> None:
        self.installation = installation
        self.role = role
        inference, control, grpc = free_port(), free_port(), free_port()
        self.inference_url = f"http://{HOST}:{inference}"
        self.grpc_target = f"{HOST}:{grpc}"
        self.control_url = control_url or f"http://{HOST}:{control}"
        self.log = installation.data_dir / f"serve-{role}.log"
        self.environment = environment(
            {
                "MAAS_INFERENCE__PORT": str(inference),
                "MAAS_INFERENCE__GRPC_PORT": str(grpc),
                "MAAS_INFERENCE__OPS_PORT": "0",
                "MAAS_CONTROL__PORT": str(control),
                **({"MAAS_CONTROL__URL": control_url} if control_url else {}),
                **QUICK,
                **(settings or {}),
            }
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def inference(self) -> str:
        """HOST:PORT of the inference port, as tritonclient wants it."""
        return self.inference_url.removeprefix("http://")

    def start(self) -> Self:
        """Start, and wait until the process answers: as ready on its inference port, as live on its control port."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [MAAS, "serve", "--config", str(self.installation.config), "--role", self.role],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self.role != "data":
            self._wait_for(f"{self.control_url}/health/live")
        if self.role != "control":
            self._wait_for(f"{self.inference_url}/v2/health/ready")
        return self

    def kill(self) -> None:
        """SIGKILL to all of it. Harmless when it has ended."""
        assert self._process is not None
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit status; SIGKILL for one that does not go."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                return self._process.wait(PATIENT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        return int(self._process.wait())

    def operator(self, key: str | None = None) -> "Operator":
        """The control plane's API with this key, else as the first administrator."""
        return Operator(self.control_url, key or self.installation.admin_key)

    def caller(self, key: Key) -> httpx.Client:
        """An HTTP client of the inference port."""
        return httpx.Client(
            base_url=self.inference_url, headers=key.headers, trust_env=False, timeout=PATIENT_S
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_raised: object) -> None:
        """End at once: whether it ends well when it is asked to is a test of its own."""
        self.kill()

    def _wait_for(self, url: str) -> None:
        with httpx.Client(trust_env=False, timeout=10.0) as http:

            def answers() -> bool:
                assert self._process is not None
                assert self._process.poll() is None, f"the gateway ended: {self.log.read_text()}"
                with contextlib.suppress(httpx.HTTPError):
                    return http.get(url).is_success
                return False

            try:
                wait_until(answers, f"{url} answers", READY_WITHIN_S)
            except BaseException:
                self.kill()
                raise


class Operator(httpx.Client):
    """The control plane's API. The verbs fail when the control plane refuses; `get`, `put` and the like do not."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(
            base_url=f"{url}/api/v1", headers=Key("", key).headers, trust_env=False, timeout=PATIENT_S
        )

    def set(self, path: str, body: object) -> httpx.Response:
        """Make it, or overwrite what stands there."""
        current = self.get(path)
        known = {"If-Match": current.headers["ETag"]} if current.is_success else {"If-None-Match": "*"}
        return done(self.put(path, json=body, headers=known))

    def pool(self, name: str, *endpoints: str, grpc: Sequence[str] = ()) -> None:
        """A pool of these Triton servers; without any, of the embedded engine. `grpc`: where they speak gRPC (HOST:PORT)."""
        engine = "triton" if endpoints else "embedded"
        body = {
            "engine": engine,
            "endpoints": list(endpoints),
            "grpc_endpoints": [f"grpc://{at}" for at in grpc],
        }
        self.set(f"/pools/{name}", body)

    def model(self, folder: Path, *, team: str, pool: str) -> None:
        """Register a model folder with all its versions."""
        found = read_model_folder(folder)
        versions = [{"version": number, "digest": digest} for number, digest in sorted(found.digests.items())]
        self.set(f"/models/{found.name}", {"team": team, "pool": pool, "versions": versions})

    def alias(self, name: str, targets: str, *, team: str | None = None, **fields: object) -> Any:
        """Set an alias: `digits@1=9000 digits@2=1000`, weights in basis points."""
        body = {"targets": [target(text) for text in targets.split()], **fields}
        return self.set(f"/aliases/{name}", body | ({"team": team} if team else {})).json()

    def key(self, principal: str) -> Key:
        """A new key of `app:NAME` or `user:NAME`."""
        made = done(self.post("/keys", json={"principal": principal})).json()
        return Key(made["id"], made["key"])

    def role(self, principal: str, role: str, domain: str) -> None:
        """Give a role in a team's domain."""
        done(self.post("/policy/rows", json={"add": {"roles": [[principal, f"role:{role}", domain]]}}))


def target(text: str) -> dict[str, Any]:
    """`digits@1=9000` as the API takes it; without a weight, the whole."""
    name, _, rest = text.partition("@")
    version, _, weight = rest.partition("=")
    return {"model": name, "version": int(version), "weight": int(weight or 10_000)}


def done(reply: httpx.Response) -> httpx.Response:
    """The reply of a call that must have been done."""
    assert reply.is_success, f"{reply.request.method} {reply.url}: {reply.status_code} {reply.text}"
    return reply
