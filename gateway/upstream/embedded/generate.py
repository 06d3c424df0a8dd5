"""The generate extension: plain JSON fields to input tensors, and output tensors to plain JSON fields."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from gateway.upstream.embedded.config import ModelConfig, TensorSpec
from gateway.upstream.embedded.document import as_string, decode
from gateway.upstream.embedded.messages import Body, Refusal
from gateway.upstream.embedded.request import InferCall, ReceivedInput, check_parameter, fault
from gateway.upstream.embedded.tensors import flattened, from_json, to_json


def generate_call(body: Body, config: ModelConfig) -> InferCall:
    """The inference that a generate request stands for. Fields that name no input are parameters. Raises Refusal."""
    document = decode(body)
    if type(document) is not dict:
        raise Refusal(400, "attempt to get members for non-object")
    call = InferCall()
    inputs = {spec.name: spec for spec in config.inputs}
    for field, value in document.items():
        if field == "id":
            call.request_id = as_string(value, "id")
        elif field == "parameters":
            _read_parameters(call, value, config, inputs)
        else:
            _read_field(call, field, value, config, inputs)
    return call


def _read_parameters(
    call: InferCall, value: Any, config: ModelConfig, inputs: Mapping[str, TensorSpec]
) -> None:
    if "parameters" in inputs:
        raise Refusal(400, "Keyword 'parameters' for nested schema also given as input tensor name")
    if type(value) is not dict:
        raise Refusal(
            400, "Expected JSON object for keyword: 'parameters': attempt to access JSON non-object as object"
        )
    for field, nested in value.items():
        try:
            _read_field(call, field, nested, config, inputs)
        except Refusal as refusal:
            raise Refusal(refusal.status, f"Converting keyword: 'parameters': {refusal.words}") from refusal


def _read_field(
    call: InferCall, field: str, value: Any, config: ModelConfig, inputs: Mapping[str, TensorSpec]
) -> None:
    spec = inputs.get(field)
    if spec is None:
        check_parameter(field, value)
        return
    if field in call.inputs:
        raise fault(call, f"input '{field}' already exists in request")
    data = value if type(value) is list else [value]
    dims = (-1, *spec.dims) if config.max_batch_size > 0 else spec.dims
    shape = _shape(field, dims, len(data))
    call.inputs[field] = ReceivedInput(
        field, spec.datatype, shape, from_json(field, data, spec.datatype, len(data))
    )


def _shape(field: str, dims: tuple[int, ...], count: int) -> tuple[int, ...]:
    """A shape for `count` elements: fixed dimensions take their part, the innermost varying one the rest, others 1."""
    for dim in dims:
        if dim != -1:
            if dim == 0 or count % dim:
                raise _no_shape(field)
            count //= dim
    shape = []
    for dim in reversed(dims):
        shape.append(count if dim == -1 else dim)
        count = 1 if dim == -1 else count
    if count != 1:
        raise _no_shape(field)
    return tuple(reversed(shape))


def _no_shape(field: str) -> Refusal:
    return Refusal(400, f"The schema can not convert input '{field}' to tensor with proper shape")


def generate_body(
    call: InferCall, config: ModelConfig, version: int, arrays: Mapping[str, np.ndarray[Any, Any]]
) -> bytes:
    """The reply's JSON object, keys in order. An output of one element is that element, not an array of it."""
    fields: dict[str, Any] = {"model_name": config.name, "model_version": str(version)}
    if call.request_id:
        fields["id"] = call.request_id
    for spec in config.outputs:
        if spec.name in fields or spec.name not in arrays:
            continue
        array = arrays[spec.name]
        data = to_json(array, spec.datatype)
        fields[spec.name] = _single(data) if array.size == 1 else data
    return msgspec.json.encode(dict(sorted(fields.items())))


def _single(data: Any) -> Any:
    return msgspec.Raw(bytes(data)[1:-1]) if isinstance(data, msgspec.Raw) else flattened(data)[0]
