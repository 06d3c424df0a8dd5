"""The reply to an inference: JSON header, binary tensors after it, packed when the caller accepts that."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from gateway.upstream.embedded.classification import best_classes
from gateway.upstream.embedded.compression import packed
from gateway.upstream.embedded.config import ModelConfig, TensorSpec
from gateway.upstream.embedded.datatypes import BYTES
from gateway.upstream.embedded.messages import EngineReply, Refusal
from gateway.upstream.embedded.request import InferCall, RequestedOutput
from gateway.upstream.embedded.tensors import to_bytes, to_json

JSON = (b"Content-Type", b"application/json")
MAX_ERROR_CHARS = 4096
"""An error text quotes what was sent; this much of it is enough to see the fault."""


def error_reply(refusal: Refusal) -> EngineReply:
    """Triton's error body, `{"error": "..."}`."""
    body = msgspec.json.encode({"error": refusal.words[:MAX_ERROR_CHARS]})
    return EngineReply(refusal.status, (JSON, *refusal.headers), body)


def infer_reply(
    call: InferCall,
    config: ModelConfig,
    version: int,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    labels: Mapping[str, Sequence[str]],
    accept_encoding: bytes,
) -> EngineReply:
    """The reply that carries `arrays`, outputs in the order of the configuration. Refuses forms that a type lacks."""
    header: dict[str, Any] = {"model_name": config.name, "model_version": str(version)}
    if call.request_id:
        header = {"id": call.request_id, **header}
    entries: list[dict[str, Any]] = []
    parts: list[bytes | memoryview] = []
    for spec in config.outputs:
        if spec.name not in arrays:
            continue
        wish = call.outputs.get(spec.name) or RequestedOutput(call.binary_default, 0)
        entry, part = output_of(
            spec, arrays[spec.name], wish, labels.get(spec.name, ()), config.max_batch_size > 0
        )
        entries.append(entry)
        parts.append(part)
    header["outputs"] = entries
    text = msgspec.json.encode(header)
    # Triton calls a reply binary by its bytes: empty binary tensors alone leave it JSON.
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,)
    if any(parts):
        headers = (
            (b"Content-Type", b"application/octet-stream"),
            (b"Inference-Header-Content-Length", b"%d" % len(text)),
        )
    body, coding = packed(b"".join((text, *parts)), accept_encoding)
    if coding:
        headers += ((b"Content-Encoding", coding),)
    return EngineReply(200, headers, body)


def output_of(
    spec: TensorSpec, array: np.ndarray[Any, Any], wish: RequestedOutput, labels: Sequence[str], batched: bool
) -> tuple[dict[str, Any], bytes | memoryview]:
    """One output as the header of a reply describes it, and its binary data. Refuses forms that a type lacks."""
    datatype = spec.datatype
    if wish.classes:
        array, datatype = best_classes(array, datatype, wish.classes, labels, batched=batched), BYTES
    entry: dict[str, Any] = {"name": spec.name, "datatype": datatype.name, "shape": array.shape}
    if not wish.binary:
        entry["data"] = to_json(array, datatype)
        return entry, b""
    raw = to_bytes(array, datatype)
    entry["parameters"] = {"binary_data_size": len(raw)}
    return entry, raw
