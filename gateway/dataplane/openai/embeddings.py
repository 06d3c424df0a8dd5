"""Embeddings: texts in OpenAI's words become one v2 inference, and its tensor the vectors of the answer."""

import base64
import sys
from array import array
from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Literal, NamedTuple

import msgspec

from gateway.dataplane.call import Call, Trail
from gateway.dataplane.openai.body import adapter_for
from gateway.dataplane.openai.gathered import Gathered
from gateway.dataplane.openai.requests import EmbeddingsRequest
from gateway.dataplane.openai.tokens import estimate
from gateway.dataplane.whole_body import WholeBody
from gateway.errors import GatewayError, Kind, Source
from gateway.snapshot.adapters import EmbeddingsAdapter
from gateway.snapshot.compile import Snapshot
from gateway.types import Target
from gateway.upstream.exchange import Headers

_NUMBER_BYTES = 4


class _Parameters(msgspec.Struct):
    binary_data_size: int


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: _Parameters


class _Reply(msgspec.Struct):
    outputs: list[_Output] = []


class _Tensor(NamedTuple):
    datatype: str
    shape: list[int]
    data: memoryview


def translate_embeddings(asked: EmbeddingsRequest, target: Target, call: Call, snapshot: Snapshot) -> None:
    """Have the call ask the alias's model. Raises BAD_REQUEST for an alias that gives no embeddings."""
    adapter = adapter_for(call.alias, snapshot, EmbeddingsAdapter, "embeddings")
    texts = asked.texts
    shape = [len(texts), 1][: adapter.rank]
    wanted = [adapter.output] if adapter.tokens is None else [adapter.output, adapter.tokens]
    document = {
        "inputs": [{"name": adapter.input, "datatype": "BYTES", "shape": shape, "data": texts}],
        "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in wanted],
    }
    text = msgspec.json.encode(document)
    call.body = WholeBody(text, text=text)
    call.trail.expected_tokens = sum(map(estimate, texts))
    call.sink = Gathered(call.sink, call.trail, partial(_answer, asked, adapter, call.alias, call.trail))


def _answer(
    asked: EmbeddingsRequest,
    adapter: EmbeddingsAdapter,
    alias: str,
    trail: Trail,
    headers: Headers,
    body: bytes,
) -> bytes:
    """The answer of OpenAI's form. Raises BAD_GATEWAY where the model did not give one vector for each text."""
    trail.tokens = trail.expected_tokens
    tensors = _tensors(headers, body)
    if adapter.tokens is not None:
        told = _of(tensors, adapter.tokens, "INT32", len(asked.texts)).data
        trail.tokens = int(sum(_numbers("i", told)))
    vectors = _of(tensors, adapter.output, "FP32", len(asked.texts)).data
    step = len(vectors) // len(asked.texts)
    data = [
        {"object": "embedding", "index": at // step, "embedding": _written(vectors[at : at + step], asked)}
        for at in range(0, len(vectors), step)
    ]
    usage = {"prompt_tokens": trail.tokens, "total_tokens": trail.tokens}
    return msgspec.json.encode({"object": "list", "data": data, "model": alias, "usage": usage})


def _tensors(headers: Headers, body: bytes) -> dict[str, _Tensor]:
    """The outputs by name. Raises BAD_GATEWAY for what is no reply with binary ones."""
    known = {name.lower(): value for name, value in headers}
    size = known.get(b"inference-header-content-length", b"")
    at = int(size) if size.isdigit() else len(body)
    try:
        reply = msgspec.json.decode(body[:at], type=_Reply)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unusable("what is no inference reply in binary form") from error
    found: dict[str, _Tensor] = {}
    data = memoryview(body)
    for output in reply.outputs:
        end = at + output.parameters.binary_data_size
        found[output.name] = _Tensor(output.datatype, output.shape, data[at:end])
        at = end
    return found


def _of(tensors: dict[str, _Tensor], name: str, datatype: str, count: int) -> _Tensor:
    """An output of `count` rows that has as many bytes as its shape says."""
    tensor = tensors.get(name)
    if (
        tensor is None
        or tensor.datatype != datatype
        or tensor.shape[:1] != [count]
        or min(tensor.shape) < 1
        or len(tensor.data) != prod(tensor.shape) * _NUMBER_BYTES
    ):
        raise _unusable(f"no output {name} of {datatype} with a row for each text")
    return tensor


def _written(row: memoryview, asked: EmbeddingsRequest) -> str | Sequence[float]:
    """As numbers, or as base64 of little-endian 32-bit floats."""
    if asked.encoding_format == "base64":
        return base64.b64encode(row).decode()
    return _numbers("f", row)


def _numbers(code: Literal["f", "i"], data: memoryview) -> Sequence[float]:
    """Little-endian numbers of 32 bits."""
    numbers = array(code, data.tobytes())
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _unusable(what: str) -> GatewayError:
    return GatewayError(Kind.BAD_GATEWAY, f"The model's server sent {what}.", source=Source.UPSTREAM)
