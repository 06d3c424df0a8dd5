"""The sample models as they lie in the repository, on each engine that serves them."""

import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.upstream.embedded import EmbeddedEngine, EngineRequest
from gateway.upstream.tritonserver import TritonServer, TritonStartError

REPOSITORY = Path(__file__).parents[2] / "model_repository"


class Engine(NamedTuple):
    """Something that serves the sample models: `call` takes model, version, operation and body, and gives status and body."""

    name: str
    call: Callable[[str, int, str, bytes], tuple[int, bytes]]

    def post(self, model: str, operation: str, **fields: Any) -> tuple[int, str]:
        """One call with a JSON body: status and body of the reply."""
        status, body = self.call(model, 1, operation, json.dumps(fields).encode())
        return status, body.decode()

    def answer(self, model: str, operation: str, **fields: Any) -> dict[str, Any]:
        """The JSON of a reply that must be a success."""
        status, body = self.post(model, operation, **fields)
        assert status == 200, body
        answered: dict[str, Any] = json.loads(body)
        return answered

    def events(self, model: str, **fields: Any) -> list[dict[str, Any]]:
        """The JSON of each server-sent event of a generate stream that must be a success."""
        status, body = self.post(model, "generate_stream", **fields)
        assert status == 200, body
        return [json.loads(event.removeprefix("data: ")) for event in body.split("\n\n") if event.strip()]

    def described(self, model: str, what: str) -> dict[str, Any]:
        """The model's `metadata` or `config`."""
        status, body = self.call(model, 1, what, b"")
        assert status == 200, body
        described: dict[str, Any] = json.loads(body)
        return described

    def infer(
        self, model: str, parameters: dict[str, Any] | None = None, version: int = 1, **inputs: Any
    ) -> dict[str, Any]:
        """The outputs' data by name; each input is its data type, its shape and its data."""
        tensors = [
            {"name": name, "datatype": datatype, "shape": shape, "data": data}
            for name, (datatype, shape, data) in inputs.items()
        ]
        fields = {"inputs": tensors, "parameters": parameters or {}}
        status, body = self.call(model, version, "infer", json.dumps(fields).encode())
        assert status == 200, body
        return {output["name"]: output["data"] for output in json.loads(body)["outputs"]}


@pytest.fixture(scope="session")
def triton_server() -> Iterator[TritonServer]:
    """A real Triton with every sample model."""
    try:
        server = TritonServer.start(
            REPOSITORY, ready_timeout_s=90, extra_args=["--disable-auto-complete-config"]
        )
    except TritonStartError as error:
        pytest.skip(f"Triton does not run here: {error}")
    with server:
        yield server
        server.stop(timeout_s=0)


@pytest.fixture(scope="session")
def triton(triton_server: TritonServer) -> Engine:
    """Calls over HTTP, each on a connection of its own."""

    def call(model: str, version: int, operation: str, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(triton_server.http_url.removeprefix("http://"), timeout=30)
        path = f"/v2/models/{model}/versions/{version}" + ("" if operation == "metadata" else f"/{operation}")
        connection.request("POST" if body else "GET", path, body)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        return reply.status, content

    return Engine("triton", call)


@pytest.fixture(scope="session")
def embedded() -> Iterator[Engine]:
    """The engine in this process, with every sample model, Python code too."""
    loaded = EmbeddedEngine(REPOSITORY, python_models=True)
    loaded.load()
    assert not loaded.failures()

    def call(model: str, version: int, operation: Any, body: bytes) -> tuple[int, bytes]:
        reply = loaded.answer(EngineRequest(operation, model, version, {}, body))
        return reply.status, reply.body if reply.events is None else b"".join(reply.events)

    yield Engine("embedded", call)
    loaded.close()


@pytest.fixture(params=["embedded", pytest.param("triton", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine that serves the sample models, one after the other."""
    found: Engine = request.getfixturevalue(request.param)
    return found
