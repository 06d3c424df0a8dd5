"""A caller who goes, and a deadline that passes, are told to the model: it computes nothing for nobody.

By the clients that callers have, at models that look. Triton 2.51 itself hears of it over gRPC; over HTTP only where it finds the
connection gone as it writes, so that of its HTTP endpoint only streams are here.
"""

import contextlib
import itertools
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import openai
import pytest
import tritonclient.grpc as rpc
from tritonclient.utils import InferenceServerException

from gateway.upstream.tritonserver import TritonServer, TritonStartError
from tests.contract.harness import Gateway, Key, install, wait_until
from tests.models.build import write_python

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TEAM = "quality"
CONFIG = """\
backend: "python"
max_batch_size: 0
input [
  { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "stream" data_type: TYPE_BOOL dims: [ 1 ] optional: true },
  { name: "max_tokens" data_type: TYPE_INT32 dims: [ 1 ] optional: true }
]
output [ { name: "text_output" data_type: TYPE_STRING dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU count: 2 } ]
"""
DECOUPLED = "model_transaction_policy { decoupled: true }\n"
DEADLINE_S = 1.0
NAMES = (f"call-{number}" for number in itertools.count())


class Scene(NamedTuple):
    """A gateway, its app's key, and the folder where the model says what it sees. `patient` answers once, `speaker` streams."""

    gateway: Gateway
    key: Key
    seen: Path

    def began(self, name: str) -> None:
        """Wait until the model has the call."""
        wait_until((self.seen / f"{name}.began").exists, f"{name} is at the model")

    def told(self, name: str) -> None:
        """Wait until the model knows that nobody waits."""
        wait_until((self.seen / f"{name}.cancelled").exists, f"{name} is told of to the model", 20)

    def text(self, name: str) -> str:
        """What the model is asked with."""
        return str(self.seen / name)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_python(folder, "patient", CONFIG)
    (folder / "patient").rename(folder / "speaker")
    (folder / "speaker" / "config.pbtxt").write_text('name: "speaker"\n' + CONFIG + DECOUPLED)
    write_python(folder, "patient", CONFIG)
    return folder


@pytest.fixture(scope="module", params=["embedded", "triton"])
def engine(request: pytest.FixtureRequest) -> str:
    """What is behind the gateway."""
    return str(request.param)


@pytest.fixture(scope="module")
def scene(engine: str, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    seen = tmp_path_factory.mktemp("seen")
    with contextlib.ExitStack() as stack:
        settings, endpoints, grpc = {}, [], []
        if engine == "embedded":
            settings = {
                "MAAS_EMBEDDED__MODEL_REPOSITORY": str(repository),
                "MAAS_EMBEDDED__PYTHON_MODELS": "true",
            }
        else:
            try:
                triton = stack.enter_context(TritonServer.start(repository, ready_timeout_s=90))
            except TritonStartError as error:
                pytest.skip(f"Triton does not run here: {error}")
            endpoints, grpc = [triton.http_url], [triton.grpc_target]
        gateway = stack.enter_context(Gateway(install(tmp_path_factory.mktemp("gateway")), settings))
        operator = stack.enter_context(gateway.operator())
        operator.pool("pool", *endpoints, grpc=grpc)
        for name in ("patient", "speaker"):
            operator.model(repository / name, team=TEAM, pool="pool")
            operator.alias(name, f"{name}@1", team=TEAM)
            adapter = {"kind": "generate", "template": "{{ messages[-1].content }}"}
            operator.set(f"/aliases/{name}/adapter", {"adapter": adapter})
        operator.role("app:shop", "consumer", TEAM)
        key = operator.key("app:shop")
        with gateway.caller(key) as http:
            # The adapters came last: what lists an alias knows all of it.
            wait_until(lambda: len(http.get("/v1/models").json().get("data", ())) == 2, "both are served")
            for name in ("patient", "speaker"):
                wait_until(
                    lambda name=name: http.get(f"/v2/models/{name}/ready").is_success,  # type: ignore[misc]
                    f"{name} is ready",
                )
        yield Scene(gateway, key, seen)


def ignored(result: object, error: object) -> None:
    """What a client is told, which is not looked at here."""


def gone(scene: Scene) -> int:
    """How many callers of the gateway have gone so far."""
    text = httpx.get(f"{scene.gateway.control_url}/metrics", trust_env=False, timeout=60).text
    counts = re.findall(r'^maas_requests_total{.*outcome="caller_gone".*} ([\d.]+)$', text, re.MULTILINE)
    return int(sum(map(float, counts)))


def tensor(text: str) -> list[rpc.InferInput]:
    made = rpc.InferInput("text_input", [1], "BYTES")
    made.set_data_from_numpy(np.array([text.encode()], np.object_))
    stream = rpc.InferInput("stream", [1], "BOOL")
    stream.set_data_from_numpy(np.array([True]))
    return [made, stream]


@contextlib.contextmanager
def grpc_client(scene: Scene) -> Iterator[tuple[rpc.InferenceServerClient, dict[str, str]]]:
    """NVIDIA's client and the metadata that a call takes."""
    with rpc.InferenceServerClient(scene.gateway.grpc_target) as client:
        yield client, {"authorization": f"Bearer {scene.key.text}"}


def post(scene: Scene, path: str, body: dict[str, Any]) -> socket.socket:
    """A request on a connection of its own."""
    host, port = scene.gateway.inference.split(":")
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {scene.key.text}\r\nContent-Length: {len(data)}\r\n\r\n"
    connection = socket.create_connection((host, int(port)))
    connection.sendall(head.encode() + data)
    return connection


def v2(text: str, **parameters: int) -> dict[str, Any]:
    return {
        "inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [1], "data": [text]}],
        "parameters": parameters,
    }


def leaves(path: str, body: Callable[[str], dict[str, Any]]) -> Callable[[Scene, str], None]:
    """Closes the connection once the model has the call."""

    def call(scene: Scene, name: str) -> None:
        with post(scene, path, body(scene.text(name))):
            scene.began(name)

    return call


def http_deadline(scene: Scene, name: str) -> None:
    """The protocol's own parameter."""
    body = v2(scene.text(name), timeout=int(DEADLINE_S * 1e6))
    with scene.gateway.caller(scene.key) as http:
        assert http.post("/v2/models/patient/infer", json=body).status_code == 504


def grpc_leaves(scene: Scene, name: str) -> None:
    with grpc_client(scene) as (client, headers):
        call = client.async_infer("patient", tensor(scene.text(name)), ignored, headers=headers)
        scene.began(name)
        call.cancel()
        scene.told(name)


def grpc_deadline(scene: Scene, name: str) -> None:
    with grpc_client(scene) as (client, headers), pytest.raises(InferenceServerException, match="DEADLINE"):
        client.infer("patient", tensor(scene.text(name)), client_timeout=DEADLINE_S, headers=headers)


def grpc_timeout(scene: Scene, name: str) -> None:
    """The protocol's own parameter."""
    with grpc_client(scene) as (client, headers), pytest.raises(InferenceServerException, match="DEADLINE"):
        client.infer("patient", tensor(scene.text(name)), timeout=int(DEADLINE_S * 1e6), headers=headers)


def grpc_stream_leaves(scene: Scene, name: str) -> None:
    with grpc_client(scene) as (client, headers):
        client.start_stream(ignored, headers=headers)
        client.async_stream_infer("speaker", tensor(scene.text(name)))
        scene.began(name)
        client.stop_stream(cancel_requests=True)


def grpc_stream_deadline(scene: Scene, name: str) -> None:
    with grpc_client(scene) as (client, headers):
        client.start_stream(ignored, headers=headers, stream_timeout=DEADLINE_S)
        client.async_stream_infer("speaker", tensor(scene.text(name)))
        scene.told(name)


def openai_stream_leaves(scene: Scene, name: str) -> None:
    stream = ai(scene).completions.create(model="speaker", prompt=scene.text(name), stream=True)
    assert next(iter(stream)).choices[0].text == "."
    stream.close()


def openai_leaves(scene: Scene, name: str) -> None:
    with pytest.raises(openai.APITimeoutError):
        ai(scene).completions.create(model="patient", prompt=scene.text(name), timeout=DEADLINE_S)


def openai_leaves_before_the_first_piece(scene: Scene, name: str) -> None:
    with pytest.raises(openai.APITimeoutError):
        ai(scene).completions.create(
            model="patient", prompt=scene.text(name), stream=True, timeout=DEADLINE_S
        )


def ai(scene: Scene) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{scene.gateway.inference_url}/v1", api_key=scene.key.text, max_retries=0)


STREAMED = leaves("/v2/models/speaker/generate_stream", lambda text: {"text_input": text, "stream": True})
EVERYWHERE = [
    STREAMED,
    grpc_leaves,
    grpc_deadline,
    grpc_timeout,
    grpc_stream_leaves,
    grpc_stream_deadline,
    openai_stream_leaves,
]
IN_THE_GATEWAY = [
    leaves("/v2/models/patient/infer", v2),
    leaves("/v2/models/patient/generate", lambda text: {"text_input": text}),
    leaves("/v2/models/speaker/generate_stream", lambda text: {"text_input": text}),
    http_deadline,
    openai_leaves,
    openai_leaves_before_the_first_piece,
]
"""What only the embedded engine can tell: to Triton these go over HTTP, and it does not look."""


@pytest.mark.parametrize("call", EVERYWHERE)
def test_a_model_is_told(scene: Scene, call: Callable[[Scene, str], None]) -> None:
    """Long before it would have ended by itself."""
    name = next(NAMES)
    call(scene, name)
    scene.told(name)


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
@pytest.mark.parametrize("call", IN_THE_GATEWAY)
def test_a_model_in_the_gateway_is_told_of_every_call(
    scene: Scene, call: Callable[[Scene, str], None]
) -> None:
    """Also of those that have said nothing yet."""
    name = next(NAMES)
    call(scene, name)
    scene.told(name)


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
def test_who_leaves_before_an_instance_is_free_is_not_computed_for(scene: Scene) -> None:
    """Of the calls that wait for one, those whose callers have gone are passed over."""
    names = [next(NAMES) for _ in range(4)]
    connections = [post(scene, "/v2/models/patient/infer", v2(scene.text(name))) for name in names[:2]]
    for name in names[:2]:
        scene.began(name)
    waiting = [post(scene, "/v2/models/patient/infer", v2(scene.text(name))) for name in names[2:]]
    before = gone(scene)
    for connection in waiting:
        connection.close()
    wait_until(lambda: gone(scene) == before + len(waiting), "the gateway knows that they have gone")
    for connection in connections:
        connection.close()
    for name in names[:2]:
        scene.told(name)
    leaves("/v2/models/patient/infer", v2)(scene, next(NAMES))
    assert not any((scene.seen / f"{name}.began").exists() for name in names[2:])
