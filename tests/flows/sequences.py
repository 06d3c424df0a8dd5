"""Models that are called in sequences, and requests of them to a gateway in front of two servers."""

import itertools
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import tritonclient.grpc

from gateway.upstream.tritonserver import TritonServer
from tests.contract.harness import Gateway, Key
from tests.flows.conftest import SAMPLES
from tests.patience import PATIENT_S

MODEL = "running-sum"
IDS = itertools.count(1000)

TELLS = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        said = [np.array([str(request.correlation_id()).encode()], dtype=object) for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("ID", each)]) for each in said]
"""
TELLS_CONFIG = """
name: "tells" backend: "python" default_model_filename: "tells.py" max_batch_size: 0
input [ { name: "INPUT" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "ID" data_type: TYPE_STRING dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
ENSEMBLE = """
name: "ensemble" platform: "ensemble" max_batch_size: 0
input [ { name: "INPUT" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "ID" data_type: TYPE_STRING dims: [ 1 ] } ]
ensemble_scheduling { step [ { model_name: "tells" model_version: -1
  input_map { key: "INPUT" value: "INPUT" } output_map { key: "ID" value: "ID" } } ] }
"""


class Scene(NamedTuple):
    """A gateway, two applications that are different tenants, and the servers of its pool."""

    gateway: Gateway
    shop: Key
    bank: Key
    servers: tuple[TritonServer, ...] = ()


def build(folder: Path) -> None:
    """`running-sum` in two versions, the same under another name, and an ensemble whose model tells which id it is told."""
    shutil.copytree(SAMPLES / MODEL, folder / MODEL)
    shutil.copytree(folder / MODEL / "1", folder / MODEL / "2")
    shutil.copytree(folder / MODEL, folder / "leaving")
    path = folder / "leaving" / "config.pbtxt"
    path.write_text(path.read_text().replace(f'"{MODEL}"', '"leaving"'))
    for name, config in (("tells", TELLS_CONFIG), ("ensemble", ENSEMBLE)):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(config)
    (folder / "tells" / "1" / "tells.py").write_text(TELLS)
    (folder / "ensemble" / "1" / "empty").write_text("")


def answers(scene: Scene, alias: str) -> bool:
    """Whether the alias is ready at every worker: callers come to any of them."""
    return all(
        httpx.get(
            f"{scene.gateway.inference_url}/v2/models/{alias}/ready",
            headers=scene.shop.headers,
            trust_env=False,
            timeout=PATIENT_S,
        ).is_success
        for _ in range(8)
    )


def ask(scene: Scene, alias: str, number: int, key: Key | None = None, **parameters: Any) -> httpx.Response:
    """One request on a connection of its own, so that any worker may get it."""
    tensor = {"name": "INPUT", "datatype": "INT32", "shape": [1], "data": [number]}
    return httpx.post(
        f"{scene.gateway.inference_url}/v2/models/{alias}/infer",
        json={"inputs": [tensor], "parameters": parameters},
        headers=(key or scene.shop).headers,
        trust_env=False,
        timeout=PATIENT_S,
    )


def add(scene: Scene, alias: str, number: int, key: Key | None = None, **parameters: Any) -> tuple[int, str]:
    """The sum so far, and who tells it."""
    reply = ask(scene, alias, number, key, **parameters)
    assert reply.status_code == 200, reply.text
    return reply.json()["outputs"][0]["data"][0], reply.headers["Maas-Served-By"]


def whole(scene: Scene, alias: str, name: int | str, numbers: list[int], key: Key | None = None) -> list[int]:
    """All sums of a sequence, which one version tells."""
    last = len(numbers) - 1
    told = [
        add(scene, alias, number, key, sequence_id=name, sequence_start=at == 0, sequence_end=at == last)
        for at, number in enumerate(numbers)
    ]
    assert len({served_by for _, served_by in told}) == 1
    return [total for total, _ in told]


def grpc_tensor(number: int) -> tritonclient.grpc.InferInput:
    tensor = tritonclient.grpc.InferInput("INPUT", [1], "INT32")
    tensor.set_data_from_numpy(np.array([number], np.int32))
    return tensor


def begun_at(scene: Scene, server: TritonServer) -> list[int]:
    """Begin some; their ids, if that server has one of them."""

    def count() -> int:
        stats = httpx.get(f"{server.http_url}/v2/models/{MODEL}/versions/1/stats", trust_env=False).json()
        return int(stats["model_stats"][0]["inference_count"])

    before, names = count(), [next(IDS) for _ in range(16)]
    for name in names:
        assert add(scene, "sum", 1, sequence_id=name, sequence_start=True)[0] == 1
    return names if count() > before else []
