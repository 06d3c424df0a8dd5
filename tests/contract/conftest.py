"""Both engines behind gateways of their own, on the same models; and the Triton itself, for direct calls."""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from gateway.upstream.tritonserver import TritonServer, TritonStartError
from tests.contract.harness import Gateway, Key, Operator, install, wait_until
from tests.models.build import build_repository

SAMPLES = Path(__file__).resolve().parents[2] / "model_repository"
TEAM = "quality"
# Nobody waits a minute for a file of samples here.
SAMPLED = {"MAAS_SAMPLES__FILE_S": "0.2"}


class Served(NamedTuple):
    """A gateway in front of one engine, and a key for each kind of caller.

    Each model M has the alias `M-live`; `digits-live` sends 90 % to version 1 and 10 % to version 2.
    """

    engine: str
    gateway: Gateway
    app: Key
    stranger: Key
    sre: Key
    lead: Key


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test models, and of the sample models `digits` and `tiny-lm`."""
    folder = build_repository(tmp_path_factory.mktemp("models"))
    for model in ("digits", "tiny-lm"):
        shutil.copytree(SAMPLES / model, folder / model)
    return folder


@pytest.fixture(scope="session")
def triton(repository: Path) -> Iterator[TritonServer]:
    """A real Triton with all of them."""
    try:
        server = TritonServer.start(
            repository, ready_timeout_s=90, extra_args=["--disable-auto-complete-config"]
        )
    except TritonStartError as error:
        pytest.skip(f"Triton does not run here: {error}")
    with server:
        yield server


@pytest.fixture(scope="session")
def on_triton(
    triton: TritonServer, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The gateway in front of that Triton."""
    installation = install(tmp_path_factory.mktemp("on-triton"))
    with Gateway(installation, SAMPLED) as gateway:
        yield filled("triton", gateway, models(repository, "triton"), triton)


@pytest.fixture(scope="session")
def on_embedded(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The gateway that answers with its own engine; it has no models of Triton's Python backend."""
    installation = install(tmp_path_factory.mktemp("on-embedded"))
    onnx_only = tmp_path_factory.mktemp("onnx-models")
    for model in models(repository, "embedded"):
        (onnx_only / model.name).symlink_to(model)
    with Gateway(installation, {"MAAS_EMBEDDED__MODEL_REPOSITORY": str(onnx_only), **SAMPLED}) as gateway:
        yield filled("embedded", gateway, models(repository, "embedded"))


@pytest.fixture(params=["embedded", "triton"])
def served(request: pytest.FixtureRequest) -> Served:
    """Either gateway, one after the other."""
    found: Served = request.getfixturevalue(f"on_{request.param}")
    return found


def models(repository: Path, engine: str) -> list[Path]:
    """The model folders that an engine serves."""
    return [
        folder
        for folder in sorted(repository.iterdir())
        if engine == "triton" or any(folder.glob("*/model.onnx"))
    ]


def filled(
    engine: str, gateway: Gateway, folders: Sequence[Path], triton: TritonServer | None = None
) -> Served:
    """Register the models, make their aliases and the keys, and wait until they are served."""
    with gateway.operator() as operator:
        if triton is None:
            operator.pool("pool")
        else:
            operator.pool("pool", triton.http_url, grpc=[triton.grpc_target])
        for folder in folders:
            operator.model(folder, team=TEAM, pool="pool")
            if folder.name != "digits":
                operator.alias(f"{folder.name}-live", f"{folder.name}@1", team=TEAM)
        operator.alias("digits-live", "digits@1=9000 digits@2=1000", team=TEAM)
        served = Served(engine, gateway, *callers(operator))
    with gateway.caller(served.app) as app:
        for folder in folders:
            path = f"/v2/models/{folder.name}-live/ready"
            wait_until(partial(answers, app, path), f"{path} is served")
    return served


def answers(http: httpx.Client, path: str) -> bool:
    """Whether a page is there."""
    return http.get(path).is_success


def callers(operator: Operator) -> tuple[Key, Key, Key, Key]:
    """Keys: an app that may infer, a stranger without rights, an SRE who may read everything, a lead who may pin."""
    operator.role("app:shop", "consumer", TEAM)
    operator.role("user:sre", "reader", "*")
    operator.role("user:lead", "owner", TEAM)
    app, stranger, sre, lead = map(operator.key, ("app:shop", "app:stranger", "user:sre", "user:lead"))
    return app, stranger, sre, lead
