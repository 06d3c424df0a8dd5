"""Reads inference requests and replies: JSON, or JSON with binary tensors behind it, or one tensor's bytes alone."""

import json
from typing import Any, TypeVar

import msgspec

from gateway.sampling import elements
from gateway.sampling.content import Content, NotKept, Tensor
from gateway.upstream.tensors import TensorSpec, VersionTensors

Document = TypeVar("Document")


class _Parameters(msgspec.Struct, frozen=True):
    binary_data_size: int | None = None


class _Tensor(msgspec.Struct):
    name: str
    datatype: str = ""
    shape: list[int] = []
    data: Any = None
    parameters: _Parameters = _Parameters()


class _Request(msgspec.Struct):
    inputs: list[_Tensor] = []
    id: Any = msgspec.UNSET
    parameters: Any = msgspec.UNSET


class _Reply(msgspec.Struct):
    outputs: list[_Tensor] = []
    id: Any = msgspec.UNSET
    parameters: Any = msgspec.UNSET


_REQUEST = msgspec.json.Decoder(_Request)
_REPLY = msgspec.json.Decoder(_Reply)


def read_request(body: bytes, json_bytes: int | None, known: VersionTensors) -> Content:
    """The inputs of a request. `json_bytes` is the length of its JSON part (None: all). Raises `NotKept`."""
    if json_bytes == 0:
        return Content([_raw(body, known.inputs)], {})
    head, rest = _split(body, json_bytes)
    document = _decoded(head, _REQUEST)
    return Content(_tensors(document.inputs, rest, known.inputs), _beside(document))


def read_reply(body: bytes, json_bytes: int | None, known: VersionTensors) -> Content:
    """The outputs of a reply. Raises `NotKept`."""
    head, rest = _split(body, json_bytes)
    document = _decoded(head, _REPLY)
    return Content(_tensors(document.outputs, rest, known.outputs), _beside(document))


def decode_json(text: bytes) -> Any:
    """The value of a JSON text. NaN and Infinity, which JSON does not have, stand in replies all the same."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _with_nan(text)


def _with_nan(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotKept("unreadable") from error


def _decoded(text: bytes, decoder: "msgspec.json.Decoder[Document]") -> Document:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return msgspec.convert(_with_nan(text), decoder.type)
    except (msgspec.ValidationError, RecursionError) as error:
        raise NotKept("unreadable") from error


def _split(body: bytes, json_bytes: int | None) -> tuple[bytes, memoryview]:
    """The JSON part, and the binary tensors behind it."""
    at = len(body) if json_bytes is None else json_bytes
    if at > len(body):
        raise NotKept("unreadable")
    return body[:at], memoryview(body)[at:]


def _beside(document: "_Request | _Reply") -> dict[str, Any]:
    """What rules may name by path."""
    found = {"id": document.id, "parameters": document.parameters}
    return {name: value for name, value in found.items() if value is not msgspec.UNSET}


def _tensors(rows: list[_Tensor], rest: memoryview, known: tuple[TensorSpec, ...]) -> list[Tensor]:
    names = {spec.name for spec in known}
    if any(row.name not in names for row in rows):
        # A name that is not the model's is the caller's text.
        raise NotKept("unknown_tensor")
    tensors: list[Tensor] = []
    for row in rows:
        size = row.parameters.binary_data_size
        if size is None:
            tensors.append(elements.from_json(row.name, row.datatype, row.shape, row.data))
        elif 0 <= size <= len(rest):
            tensors.append(elements.from_bytes(row.name, row.datatype, row.shape, rest[:size]))
            rest = rest[size:]
        else:
            raise NotKept("unreadable")
    return tensors


def _raw(body: bytes, inputs: tuple[TensorSpec, ...]) -> Tensor:
    """A raw body is the one input of its model; how many elements it has, it tells by its length."""
    if len(inputs) != 1:
        raise NotKept("unreadable")
    spec = inputs[0]
    if spec.datatype == "BYTES":
        return elements.one_text(spec.name, memoryview(body))
    return elements.from_bytes(spec.name, spec.datatype, None, memoryview(body))
