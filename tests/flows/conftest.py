"""Gateways and Triton servers for whole paths, and a steady load to see what a change does to callers."""

import http.client
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from gateway.upstream.tritonserver import TritonServer, TritonStartError
from tests.contract.harness import Gateway, Key, install, wait_until
from tests.models.build import build_repository

SAMPLES = Path(__file__).resolve().parents[2] / "model_repository"
DIGITS = SAMPLES / "digits"
EMBEDDED = {"MAAS_EMBEDDED__MODEL_REPOSITORY": str(SAMPLES)}
TEAM = "vision"
IMAGE = json.dumps(
    {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [i % 17 for i in range(64)]}]}
).encode()


class Outcome(NamedTuple):
    """One call: when it began and ended (monotonic seconds), its status (0: no reply at all), who served it."""

    began: float
    ended: float
    status: int
    served_by: str
    detail: str


class Caller:
    """One keep-alive connection to an inference port."""

    def __init__(self, address: str, key: Key) -> None:
        self._address = address
        self._headers = key.headers
        self._connection = http.client.HTTPConnection(address, timeout=60)

    def infer(self, alias: str, body: bytes = IMAGE, headers: Mapping[str, str] | None = None) -> Outcome:
        """One inference on `alias` (or `alias/versions/V`)."""
        began = time.monotonic()
        try:
            self._connection.request(
                "POST", f"/v2/models/{alias}/infer", body, self._headers | dict(headers or {})
            )
            reply = self._connection.getresponse()
            detail = reply.read().decode(errors="replace") if reply.status != 200 else ""
            if reply.status == 200:
                reply.read()
            served_by = reply.headers.get("Maas-Served-By", "")
            return Outcome(began, time.monotonic(), reply.status, served_by, detail)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return Outcome(began, time.monotonic(), 0, "", repr(error))

    def arms(self, alias: str, users: int) -> dict[str, str]:
        """Who serves each of so many users of this caller, told apart by their routing keys."""
        return {
            user: self.infer(alias, headers={"Maas-Routing-Key": user}).served_by
            for user in (f"user-{number}" for number in range(users))
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._connection.close()


class Load:
    """So many callers, each with one call after another and a pause between, from `with` until its end."""

    def __init__(
        self,
        address: str,
        key: Key,
        alias: str,
        body: bytes = IMAGE,
        *,
        callers: int = 2,
        pause_s: float = 0.005,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._stop = threading.Event()
        self._work = (address, key, alias, body, pause_s)
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(callers)]

    def _run(self) -> None:
        address, key, alias, body, pause_s = self._work
        with Caller(address, key) as caller:
            while not self._stop.wait(pause_s):
                self.outcomes.append(caller.infer(alias, body))

    def go_on(self, calls: int) -> None:
        """Wait for so many more calls."""
        goal = len(self.outcomes) + calls
        wait_until(lambda: len(self.outcomes) >= goal, f"{calls} more calls", 20)

    @property
    def failures(self) -> list[Outcome]:
        """The calls that were not answered with 200."""
        return [outcome for outcome in self.outcomes if outcome.status != 200]

    @property
    def statuses(self) -> Counter[int]:
        """How often each status came."""
        return Counter(outcome.status for outcome in self.outcomes)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a call has not ended"


def start_triton(repository: Path, **options: object) -> TritonServer:
    """A real Triton on these models; skips where none runs."""
    try:
        return TritonServer.start(
            repository,
            ready_timeout_s=90,
            extra_args=["--disable-auto-complete-config"],
            **options,  # type: ignore[arg-type]
        )
    except TritonStartError as error:
        pytest.skip(f"Triton does not run here: {error}")


@pytest.fixture(scope="session")
def embedded_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Both planes in one process over SQLite, with `digits` in the embedded engine: what one machine needs."""
    with Gateway(install(tmp_path_factory.mktemp("embedded")), EMBEDDED) as gateway:
        with gateway.operator() as operator:
            operator.pool("here")
            operator.model(DIGITS, team=TEAM, pool="here")
            operator.role("app:shop", "consumer", TEAM)
            operator.role("user:lead", "owner", TEAM)
        yield gateway


@pytest.fixture(scope="session")
def app(embedded_gateway: Gateway) -> Key:
    """A key of `app:shop`, which may call the team's aliases."""
    with embedded_gateway.operator() as operator:
        return operator.key("app:shop")


@pytest.fixture(scope="session")
def lead(embedded_gateway: Gateway) -> Key:
    """A key of `user:lead`, who may flip the team's aliases and pin their versions."""
    with embedded_gateway.operator() as operator:
        return operator.key("user:lead")


class Pair(NamedTuple):
    """Two model repositories for two servers of one pool: `digits` 1 and 2 here, 1 and 3 there; `slow` and `repeat`."""

    here: Path
    there: Path


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The models of the two servers; `slow` has a version 2 that only the second one has."""
    folders = [build_repository(tmp_path_factory.mktemp(name), dtypes=[]) for name in ("here", "there")]
    for folder, missing in zip(folders, ("3", "2"), strict=True):
        shutil.copytree(DIGITS, folder / "digits", ignore=shutil.ignore_patterns(missing))
    versions = "version_policy: { all {} }\n"
    config = folders[1] / "slow" / "config.pbtxt"
    config.write_text(config.read_text() + versions)
    shutil.copytree(folders[1] / "slow" / "1", folders[1] / "slow" / "2")
    return Pair(*folders)
