"""An ONNX file, read and never run: what it takes and gives, and where its weights lie."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.artefacts.files import ArtefactRefused, read_bounded
from gateway.artefacts.signature import Datatype, Tensor

if TYPE_CHECKING:
    from onnx import ModelProto

MOST_BYTES = 2**31 - 1
"""The most that a protobuf message can have, and so the file of a graph; larger weights lie in files beside it."""

_DATATYPES: dict[int, Datatype] = {
    1: "FP32",
    2: "UINT8",
    3: "INT8",
    4: "UINT16",
    5: "INT16",
    6: "INT32",
    7: "INT64",
    8: "BYTES",
    9: "BOOL",
    10: "FP16",
    11: "FP64",
    12: "UINT32",
    13: "UINT64",
    16: "BF16",
}
"""TensorProto.DataType of the ONNX specification, as far as Triton has types for it."""


class Graph(msgspec.Struct, frozen=True):
    """A graph's tensors, a dimension that varies being -1, and the paths of the files that hold some of its weights."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    external: frozenset[str]


def read_graph(path: Path) -> Graph:
    """The graph of an ONNX file. Raises `ArtefactRefused`."""
    import onnx

    try:
        model = onnx.ModelProto.FromString(read_bounded(path, MOST_BYTES))
    except Exception as error:  # protobuf's errors share no narrower base
        if isinstance(error, ArtefactRefused):
            raise
        raise ArtefactRefused(f"{path} is no ONNX file: {error}") from error
    if not model.graph.output:
        raise ArtefactRefused(f"{path} is no ONNX file: it has no outputs")
    constants = {each.name for each in model.graph.initializer}
    constants |= {each.values.name for each in model.graph.sparse_initializer}
    return Graph(
        inputs=[_tensor(path, each) for each in model.graph.input if each.name not in constants],
        outputs=[_tensor(path, each) for each in model.graph.output],
        external=frozenset(_external(model)),
    )


def _tensor(path: Path, value: Any) -> Tensor:
    kind = value.type.tensor_type
    datatype = _DATATYPES.get(kind.elem_type) if value.type.HasField("tensor_type") else None
    if datatype is None:
        raise ArtefactRefused(f"{path}: {value.name} has a type that no caller can send or read")
    shape = [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else -1 for dim in kind.shape.dim
    ]
    return Tensor(value.name, datatype, shape)


def _external(model: "ModelProto") -> Iterator[str]:
    for tensor in _stored(model):
        for entry in tensor.external_data:
            if entry.key == "location":
                yield entry.value


def _nodes(model: "ModelProto") -> Iterator[Any]:
    for graph in _graphs(model.graph):
        yield from graph.node
    for function in model.functions:
        for node in function.node:
            yield node
            for graph in _inner(node):
                yield from (each for inner in _graphs(graph) for each in inner.node)


def _stored(model: "ModelProto") -> Iterator[Any]:
    for graph in _graphs(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _graphs(graph: Any) -> Iterator[Any]:
    """The graph and those within its nodes; protobuf reads no more than a hundred levels."""
    yield graph
    for node in graph.node:
        for inner in _inner(node):
            yield from _graphs(inner)


def _inner(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
