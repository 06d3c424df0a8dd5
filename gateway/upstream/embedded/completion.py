"""What a configuration leaves open, filled from the ONNX signature and Triton's defaults, then held against the signature."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gateway.upstream.embedded.config import (
    BACKEND,
    MODEL_FILENAME,
    PLATFORM,
    PYTHON,
    PYTHON_FILENAME,
    TensorSpec,
    schema,
)
from gateway.upstream.embedded.datatypes import DataType
from gateway.upstream.embedded.messages import LoadFailure

DEFAULT_MAX_BATCH_SIZE: Final = 4
"""What Triton gives a model that can batch and does not say how far (its option `default-max-batch-size`)."""

DEFAULT_CPU_INSTANCES: Final = 2
"""Triton's instance count on a CPU for ONNX models. Only printed: one session serves all threads here."""

DEFAULT_PYTHON_INSTANCES: Final = 1

KIND_AUTO, KIND_GPU, KIND_CPU = 0, 1, 2


class SignatureTensor(msgspec.Struct, frozen=True):
    """One input or output as the ONNX file declares it; -1 is a dimension that varies."""

    name: str
    datatype: DataType
    dims: tuple[int, ...]


class Signature(msgspec.Struct, frozen=True):
    """The inputs and outputs that the ONNX file declares."""

    inputs: tuple[SignatureTensor, ...]
    outputs: tuple[SignatureTensor, ...]


def complete(message: Any, signature: Signature, *, on_gpu: bool) -> None:
    """Fills the message in place, as Triton's auto-complete does. Raises LoadFailure when the two contradict.

    Inputs, outputs and the batch size are filled only where inputs or outputs are missing (Triton's ONNX backend
    leaves a configuration alone that names both).
    """
    if not message.input or not message.output:
        _complete_batching(message, signature)
        for tensors, declared in ((message.input, signature.inputs), (message.output, signature.outputs)):
            if not tensors:
                _complete_tensors(tensors, declared, batched=message.max_batch_size > 0)
    message.backend, message.platform = BACKEND, PLATFORM
    message.default_model_filename = message.default_model_filename or MODEL_FILENAME
    _complete_rest(message, DEFAULT_CPU_INSTANCES, on_gpu=on_gpu)


def complete_ensemble(message: Any) -> None:
    """Fills the message of an ensemble in place, which has neither instances nor a file.

    Raises LoadFailure where inputs or outputs are missing.
    """
    _check_tensors(message)
    _complete_policy(message)
    message.model_transaction_policy.SetInParent()


def complete_python(message: Any) -> int:
    """Fills the message of a model of the Python backend in place; returns how many instances it is to have.

    Raises LoadFailure where inputs or outputs are missing: the model's own `auto_complete_config` is not asked here.
    """
    _check_tensors(message)
    message.backend = PYTHON
    message.default_model_filename = message.default_model_filename or PYTHON_FILENAME
    _complete_rest(message, DEFAULT_PYTHON_INSTANCES, on_gpu=False)
    return sum(group.count for group in message.instance_group)


def _check_tensors(message: Any) -> None:
    if not message.input or not message.output:
        raise LoadFailure(f"model '{message.name}': its configuration must name its inputs and outputs")


def _complete_policy(message: Any) -> None:
    if message.version_policy.WhichOneof("policy_choice") is None:
        message.version_policy.latest.num_versions = 1


def _complete_rest(message: Any, cpu_instances: int, *, on_gpu: bool) -> None:
    _complete_policy(message)
    pinned = schema().ModelOptimizationPolicy.PinnedMemoryBuffer(enable=True)
    message.optimization.input_pinned_memory.MergeFrom(pinned)
    message.optimization.output_pinned_memory.MergeFrom(pinned)
    _complete_instances(message, cpu_instances, on_gpu=on_gpu)


def _complete_batching(message: Any, signature: Signature) -> None:
    tensors = signature.inputs + signature.outputs
    can_batch = all(tensor.dims and tensor.dims[0] == -1 for tensor in tensors)
    if not can_batch:
        if message.max_batch_size:
            raise LoadFailure(
                f"autofill failed for model '{message.name}': model does not support batching "
                "while non-zero max_batch_size is specified"
            )
        return
    message.max_batch_size = message.max_batch_size or DEFAULT_MAX_BATCH_SIZE
    if message.max_batch_size > 1:
        message.dynamic_batching.SetInParent()


def _complete_tensors(tensors: Any, declared: Sequence[SignatureTensor], *, batched: bool) -> None:
    for tensor in declared:
        dims = tensor.dims[1:] if batched else tensor.dims
        filled = tensors.add(name=tensor.name, data_type=schema().DataType.Value(tensor.datatype.config_name))
        filled.dims.extend(dims or (1,))
        if not dims:
            # A configuration cannot hold a scalar: callers see one element, the model sees none.
            filled.reshape.SetInParent()


def _complete_instances(message: Any, cpu_instances: int, *, on_gpu: bool) -> None:
    if not message.instance_group:
        message.instance_group.add()
    for index, group in enumerate(message.instance_group):
        group.name = group.name or f"{message.name}_{index}"
        if group.kind == KIND_AUTO:
            group.kind = KIND_GPU if on_gpu else KIND_CPU
        group.count = group.count or (1 if group.kind == KIND_GPU else cpu_instances)


def check_agreement(
    model: str, specs: Sequence[TensorSpec], declared: Sequence[SignatureTensor], batched: bool
) -> None:
    """Raises LoadFailure when a configured tensor is not one that the ONNX file declares, of that type and shape."""
    by_name = {tensor.name: tensor for tensor in declared}
    for spec in specs:
        tensor = by_name.get(spec.name)
        if tensor is None:
            raise LoadFailure(
                f"unable to load model '{model}': unexpected tensor '{spec.name}', allowed are: {', '.join(by_name)}"
            )
        if tensor.datatype != spec.datatype:
            raise LoadFailure(
                f"unable to load model '{model}', configuration expects datatype {spec.datatype.config_name} "
                f"for '{spec.name}', model provides {tensor.datatype.config_name}"
            )
        inner = spec.dims if spec.reshape is None else spec.reshape
        _check_dims(model, spec.name, (-1, *inner) if batched else inner, tensor.dims, batched)


def _check_dims(
    model: str, name: str, configured: tuple[int, ...], declared: tuple[int, ...], batched: bool
) -> None:
    # onnxruntime shows a scalar and an unknown rank alike, without dimensions: nothing to compare.
    if not declared:
        return
    if batched and declared[0] != -1:
        raise LoadFailure(
            f"model '{model}', tensor '{name}': for the model to support batching the shape should have at least "
            f"1 dimension and the first dimension must be -1; but shape expected by the model is {_text(declared)}"
        )
    if len(configured) != len(declared) or any(
        want != have and -1 not in (want, have) for want, have in zip(configured, declared, strict=True)
    ):
        raise LoadFailure(
            f"model '{model}', tensor '{name}': the model expects {len(declared)} dimensions (shape {_text(declared)}) "
            f"but the model configuration specifies {len(configured)} dimensions (shape {_text(configured)})"
        )


def _text(dims: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, dims)) + "]"
