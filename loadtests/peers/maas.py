"""The gateway: one data worker on the proxy's core, set up as an installation is, through its own command.

The control plane runs in a process of its own on the load generator's core, where it has nothing to do during the
load; its cost there falls on the load, not on the worker.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from loadtests.payloads import ALIAS_PATH, MODEL, json_payload
from loadtests.peers.peer import CREDENTIAL_HEADER, Peer, Stage
from loadtests.probe import accepts, answers, infers
from loadtests.processes import BenchError, free_port, running, wait_until
from loadtests.upstream import Upstream

NAME = "maas"
WITH_QUOTAS = "maas+quotas"
WITH_REDIS = "maas+redis"
_COMMAND = (sys.executable, "-m", "gateway.cli.main")
_MODEL_FOLDER = Path(__file__).parents[2] / "model_repository" / MODEL
_TEAM = "vision"
_VERB_LIMIT_S = 60.0
_SPLIT = (f"{MODEL}@1=90%", f"{MODEL}@2=10%")


def missing() -> str | None:
    """The gateway is what this repository is about: it is always here."""
    return None


def missing_redis() -> str | None:
    """Why quotas cannot be shared here, or None."""
    return None if shutil.which("redis-server") else "not installed (Debian package redis-server)"


def start(stage: Stage) -> "contextlib.AbstractContextManager[Peer]":
    """One installation in a folder of its own, with pool, model, alias, right and key for the load."""
    return _installation(stage, NAME)


def start_with_quotas(stage: Stage) -> "contextlib.AbstractContextManager[Peer]":
    """The same with two quotas of two limits each, counted in process, and a hundredth of the requests sampled."""
    return _installation(stage, WITH_QUOTAS)


@contextlib.contextmanager
def start_with_redis(stage: Stage) -> Iterator[Peer]:
    """The same with the quotas counted in a Redis of its own, on the load generator's core."""
    port, log = free_port(), stage.folder.parent / "redis.log"
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running(command, core=stage.cores.load, log=log) as process:
        wait_until(lambda: accepts(port), "Redis", process=process, log=log)
        with _installation(stage, WITH_REDIS, f"redis://127.0.0.1:{port}/0") as peer:
            yield peer


class Installation(msgspec.Struct, frozen=True):
    """A gateway that is set up, its control plane running: what `verb` needs to speak to it, and where it will serve.

    `port` and `grpc_port` are the inference ports on 127.0.0.1, `key` the key of `app:bench`.
    """

    environment: dict[str, str]
    settings: str
    data_dir: Path
    port: int
    grpc_port: int
    key: str


@contextlib.contextmanager
def _installation(stage: Stage, name: str, redis_url: str | None = None) -> Iterator[Peer]:
    more = {} if redis_url is None else {"MAAS_QUOTA__REDIS_URL": redis_url}
    with set_up(stage.folder, stage.upstream, core=stage.cores.load, more=more) as made:
        if name != NAME:
            _limit_and_sample(made.environment)
        if stage.payload.openai_body is not None:
            verb(made.environment, "alias", "adapter", "set", MODEL, "--kind", "generate", "--yes")
        with serving(stage.folder, made, core=stage.cores.proxy) as data:
            access_log = made.data_dir / "logs" / "access.jsonl"
            payload, port = stage.payload, made.grpc_port if stage.payload.grpc else made.port
            yield Peer(
                name, port, payload.alias_path, data.pid, made.key, guarded=True, access_log=access_log
            )


@contextlib.contextmanager
def set_up(
    folder: Path, upstream: Upstream, *, core: int | None, more: Mapping[str, str]
) -> Iterator[Installation]:
    """An installation in the folder, set up for the load, its control plane on `core` (None: on any); `more` are settings
    in the environment.
    """
    made = json.loads(verb({}, "init", "--dir", str(folder), "--json"))
    control_port, port, grpc_port = free_port(), free_port(), free_port()
    environment = {
        "MAAS_URL": f"http://127.0.0.1:{control_port}",
        "MAAS_KEY": made["admin_key"],
        "MAAS_CONTROL__PORT": str(control_port),
        "MAAS_INFERENCE__PORT": str(port),
        "MAAS_INFERENCE__GRPC_PORT": str(grpc_port),
        "MAAS_INFERENCE__OPS_PORT": str(free_port()),
        "MAAS_INFERENCE__DRAIN_NOTICE_S": "0.1",
        "MAAS_INFERENCE__DRAIN_LIMIT_S": "1",
        **more,
    }
    serve = [*_COMMAND, "serve", "--config", made["settings"], "--role", "control"]
    log = folder / "control.log"
    with running(serve, core=core, log=log, env=environment) as process:
        wait_until(
            lambda: answers(control_port, "/health/ready"), "the control plane", process=process, log=log
        )
        endpoint = (f"http://127.0.0.1:{upstream.port}", "--grpc", f"grpc://127.0.0.1:{upstream.grpc_port}")
        verb(environment, "pool", "set", "bench", *endpoint)
        verb(environment, "model", "register", str(_MODEL_FOLDER), "--team", _TEAM, "--pool", "bench")
        verb(environment, "alias", "set", MODEL, *_SPLIT, "--team", _TEAM, "--yes")
        key = key_of(environment, "app:bench")
        yield Installation(environment, made["settings"], Path(made["data_dir"]), port, grpc_port, key)


@contextlib.contextmanager
def serving(
    folder: Path, made: Installation, *, core: int | None, workers: int = 1
) -> Iterator["subprocess.Popen[bytes]"]:
    """The installation's data plane on `core` (None: on any), once it answers."""
    serve = [*_COMMAND, "serve", "--config", made.settings, "--role", "data", "--workers", str(workers)]
    log, payload = folder / "data.log", json_payload()
    headers = {**payload.headers, CREDENTIAL_HEADER: made.key}
    with running(serve, core=core, log=log, env=made.environment) as process:
        wait_until(
            lambda: infers(made.port, ALIAS_PATH, payload.body, headers),
            "the data plane",
            process=process,
            log=log,
        )
        yield process


def key_of(environment: Mapping[str, str], principal: str) -> str:
    """A new key of a principal that may call the alias."""
    verb(environment, "policy", "add", f"g, {principal}, role:consumer, {_TEAM}", "--yes")
    made: dict[str, Any] = json.loads(verb(environment, "key", "create", principal, "--json"))
    return str(made["key"])


def _limit_and_sample(environment: Mapping[str, str]) -> None:
    """Limits that no load here reaches: what they cost is counting, not refusing."""
    verb(
        environment, "quota", "set", "each", "--application", "*", "--alias", MODEL, "400k/second", "900M/day"
    )
    verb(environment, "quota", "set", "all", "--alias", MODEL, "500k/second", "bytes=900G/hour")
    verb(environment, "sample", "set", MODEL, "--rate", "1%", "--yes")


def verb(environment: Mapping[str, str], *words: str) -> str:
    """The standard output of one verb of `maas`. Raises `BenchError` with its complaint if it fails."""
    done = subprocess.run(
        [*_COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=_VERB_LIMIT_S,
        env={**os.environ, **environment},
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"maas {' '.join(words[:2])} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
