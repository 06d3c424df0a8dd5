"""Requests for the engine, written briefly."""

import json
import struct
from typing import Any

from gateway.upstream.embedded import EmbeddedEngine, EngineReply, EngineRequest


def tensor(name: str, datatype: str, shape: list[Any], data: Any = None, **parameters: Any) -> dict[str, Any]:
    """An entry of `inputs`."""
    entry: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
    if data is not None:
        entry["data"] = data
    if parameters:
        entry["parameters"] = parameters
    return entry


def wish(name: str, **parameters: Any) -> dict[str, Any]:
    """An entry of `outputs`."""
    return {"name": name, "parameters": parameters} if parameters else {"name": name}


def request(*inputs: Any, **fields: Any) -> bytes:
    """The JSON text of an inference request."""
    return json.dumps({"inputs": list(inputs), **fields}).encode()


def strings(*elements: bytes) -> bytes:
    """BYTES elements as binary tensor data."""
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def binary(header: bytes, *tensors: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """The body of a request with binary tensors, and the header field that it needs."""
    return header + b"".join(tensors), {b"inference-header-content-length": str(len(header)).encode()}


def ask(
    engine: EmbeddedEngine,
    operation: Any,
    model: str,
    body: bytes = b"",
    headers: dict[bytes, bytes] | None = None,
    version: int = 1,
) -> EngineReply:
    """Calls the engine."""
    return engine.answer(EngineRequest(operation, model, version, headers or {}, body))


def infer(
    engine: EmbeddedEngine, model: str, body: bytes, headers: dict[bytes, bytes] | None = None
) -> EngineReply:
    """An inference on version 1."""
    return ask(engine, "infer", model, body, headers)


def parsed(reply: EngineReply) -> Any:
    """The JSON of a reply, without the binary tensors after it."""
    length = dict(reply.headers).get(b"Inference-Header-Content-Length")
    return json.loads(reply.body[: int(length)] if length else reply.body)


def outputs(reply: EngineReply) -> dict[str, Any]:
    """The entries of `outputs` by name, of a reply that must be a success."""
    assert reply.status == 200, reply.body
    return {entry["name"]: entry for entry in parsed(reply)["outputs"]}


def error(reply: EngineReply, status: int = 400) -> str:
    """The words of a reply that must be an error of this status."""
    assert reply.status == status, (reply.status, reply.body)
    assert (b"Content-Type", b"application/json") in reply.headers
    words: str = json.loads(reply.body)["error"]
    return words
