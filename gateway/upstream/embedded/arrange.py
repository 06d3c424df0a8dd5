"""A request held against the model: names, types, shapes, batch and sizes, then one array for each input.

The checks and their words are those of Triton's core when it normalizes a request.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from gateway.upstream.embedded.config import ModelConfig, TensorSpec
from gateway.upstream.embedded.datatypes import BYTES
from gateway.upstream.embedded.messages import Refusal
from gateway.upstream.embedded.raw import raw_input
from gateway.upstream.embedded.request import InferCall, ReceivedInput, element_count, fault
from gateway.upstream.embedded.tensors import from_bytes, strings_from_bytes

Arrays = Mapping[str, np.ndarray[Any, Any]]
"""Tensors by name."""


class Arranged(msgspec.Struct):
    """What the session runs on. `batch_size` is 0 for a model without batching."""

    feed: Mapping[str, np.ndarray[Any, Any]]
    batch_size: int


_BATCH_NOTE = (
    "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each "
    "input shape. If you want to specify the full shape including the batch dim in your input dims config, try "
    "setting max_batch_size to zero. See the model configuration docs for more info on max_batch_size."
)


def arrange(call: InferCall, config: ModelConfig) -> Arranged:
    """The arrays of a request that the model can take. Raises Refusal, with the request's id in the text."""
    if call.raw is not None:
        call.inputs = {config.inputs[0].name: raw_input(call, call.raw, config)}
    known = {spec.name for spec in config.outputs}
    for name in call.outputs:
        if name not in known:
            raise Refusal(400, f"unexpected inference output '{name}' for model '{config.name}'")
    _check_input_count(call, config)
    batch_size = _batch_size(call, config) if config.max_batch_size else 0
    specs = {spec.name: spec for spec in config.inputs}
    feed = {}
    for received in call.inputs.values():
        spec = specs.get(received.name)
        if spec is None:
            raise Refusal(400, f"unexpected inference input '{received.name}' for model '{config.name}'")
        _check_type_and_shape(call, received, spec, config)
        feed[received.name] = _array(call, received, spec, config)
    return Arranged(feed, batch_size)


def _check_input_count(call: InferCall, config: ModelConfig) -> None:
    required = [spec.name for spec in config.inputs if not spec.optional]
    most, count = len(config.inputs), len(call.inputs)
    if len(required) <= count <= most:
        return
    names = ",".join(f"'{name}'" for name in call.inputs)
    missing = ",".join(f"'{name}'" for name in required if name not in call.inputs)
    expected = (
        f"{most} inputs" if most == len(required) else f"number of inputs between {len(required)} and {most}"
    )
    raise fault(
        call,
        f"expected {expected} but got {count} inputs for model '{config.name}'. Got input(s) [{names}], but missing "
        f"required input(s) [{missing}]. Please provide all required input(s).",
    )


def _batch_size(call: InferCall, config: ModelConfig) -> int:
    batch_size = 0
    for received in call.inputs.values():
        if not received.shape:
            raise fault(
                call,
                f"input '{received.name}' has no shape but model requires batch dimension for '{config.name}'",
            )
        if batch_size == 0:
            batch_size = received.shape[0]
        elif received.shape[0] != batch_size:
            raise fault(
                call, f"input '{received.name}' batch size does not match other inputs for '{config.name}'"
            )
    if batch_size > config.max_batch_size:
        raise fault(
            call, f"inference request batch-size must be <= {config.max_batch_size} for '{config.name}'"
        )
    return batch_size


def _check_type_and_shape(
    call: InferCall, received: ReceivedInput, spec: TensorSpec, config: ModelConfig
) -> None:
    if received.datatype is not spec.datatype:
        sent = "<invalid>" if received.datatype is None else received.datatype.name
        raise fault(
            call,
            f"inference input '{spec.name}' data-type is '{sent}', but model '{config.name}' expects "
            f"'{spec.datatype.name}'",
        )
    batched = config.max_batch_size > 0
    expected = (-1, *spec.dims) if batched else spec.dims
    if len(expected) != len(received.shape) or any(
        want not in (-1, have) for want, have in zip(expected, received.shape, strict=True)
    ):
        raise fault(
            call,
            f"unexpected shape for input '{spec.name}' for model '{config.name}'. Expected {_text(expected)}, "
            f"got {_text(received.shape)}. {_BATCH_NOTE if batched else ''}",
        )


def _array(
    call: InferCall, received: ReceivedInput, spec: TensorSpec, config: ModelConfig
) -> np.ndarray[Any, Any]:
    batched = config.max_batch_size > 0
    if batched and received.shape[0] == 0:
        # Triton takes an empty batch for none, and misses the one element that it then expects.
        size = element_count(received.shape[1:]) * spec.datatype.item_bytes
        raise fault(call, _size_fault(spec, config, size, 0))
    array = _flat(call, received, spec, config)
    if spec.reshape is None:
        return array.reshape(received.shape)
    inner = _inner_shape(spec, spec.reshape, received.shape[1:] if batched else received.shape)
    return array.reshape((received.shape[0], *inner) if batched else inner)


def _flat(
    call: InferCall, received: ReceivedInput, spec: TensorSpec, config: ModelConfig
) -> np.ndarray[Any, Any]:
    count, payload = element_count(received.shape), received.payload
    if spec.datatype is BYTES:
        if isinstance(payload, memoryview):
            texts = strings_from_bytes(payload, spec.name, config.name, call.shown_id)
            payload = np.array(texts, dtype=object)
        if len(payload) < count:
            raise fault(
                call,
                f"expected {count} string elements for inference input '{spec.name}' for model '{config.name}', "
                f"got {len(payload)}",
            )
        if len(payload) > count:
            raise fault(
                call,
                f"unexpected number of string elements {len(payload)} for inference input '{spec.name}' for model "
                f"'{config.name}', expecting {count}",
            )
        return payload
    if not isinstance(payload, memoryview):
        return payload
    if len(payload) != count * spec.datatype.item_bytes:
        raise fault(call, _size_fault(spec, config, count * spec.datatype.item_bytes, len(payload)))
    return from_bytes(payload, spec.datatype)


def _size_fault(spec: TensorSpec, config: ModelConfig, expected: int, got: int) -> str:
    return f"input byte size mismatch for input '{spec.name}' for model '{config.name}'. Expected {expected}, got {got}"


def _inner_shape(spec: TensorSpec, reshape: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The model's shape, its varying dimensions being the caller's in order."""
    sizes = iter([have for want, have in zip(spec.dims, shape, strict=True) if want == -1])
    return tuple(next(sizes) if dim == -1 else dim for dim in reshape)


def _text(dims: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, dims)) + "]"
