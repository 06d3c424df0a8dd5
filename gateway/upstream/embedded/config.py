"""`config.pbtxt` as Triton reads it: parsed, checked, completed from the ONNX signature, and printed as JSON.

The schema is NVIDIA's own protobuf message, as tritonclient carries it, read with protobuf's text format.
"""

import functools
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from google.protobuf import text_format  # type: ignore[import-untyped]

from gateway.upstream.embedded.datatypes import BY_CONFIG_NAME, DataType
from gateway.upstream.embedded.messages import LoadFailure

BACKEND: Final = "onnxruntime"
PLATFORM: Final = "onnxruntime_onnx"
MODEL_FILENAME: Final = "model.onnx"
PYTHON: Final = "python"
PYTHON_FILENAME: Final = "model.py"
ENSEMBLE: Final = "ensemble"

SCHEMA_MODULE: Final = "tritonclient.grpc.model_config_pb2"


class TensorSpec(msgspec.Struct, frozen=True):
    """One input or output as callers see it. `dims` lack the batch dimension.

    `reshape` is the shape (again without batch) that the model itself sees, where it differs.
    """

    name: str
    datatype: DataType
    dims: tuple[int, ...]
    reshape: tuple[int, ...] | None = None
    optional: bool = False
    label_filename: str = ""


class ModelConfig(msgspec.Struct, frozen=True):
    """What the engine needs of one version's configuration. `max_batch_size` 0 means that callers own all dimensions.

    `platform` is what metadata call the kind of model; a `decoupled` one answers a request any number of times.
    """

    name: str
    platform: str
    max_batch_size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    decoupled: bool = False


@functools.cache
def schema() -> Any:
    """NVIDIA's generated messages, loaded by their file: the package around them would bring in all of grpcio."""
    loaded = sys.modules.get(SCHEMA_MODULE)
    if loaded is not None:
        return loaded
    package = importlib.util.find_spec("tritonclient")
    if package is None or package.origin is None:
        raise LoadFailure("the package tritonclient, whose schema reads config.pbtxt, is not installed")
    path = Path(package.origin).parent / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("embedded_model_config_pb2", path)
    if spec is None or spec.loader is None:
        raise LoadFailure(f"cannot load the model configuration schema from {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_config(folder: Path) -> Any:
    """The `inference.ModelConfig` message of a model's folder, checked as far as the file alone allows.

    A missing file is an empty configuration, completed later as Triton does. Raises LoadFailure.
    """
    message = schema().ModelConfig()
    path = folder / "config.pbtxt"
    if path.exists():
        try:
            text_format.Parse(path.read_text(encoding="utf-8"), message)
        except (text_format.ParseError, UnicodeDecodeError, OSError) as fault:
            raise LoadFailure(f"failed to read text proto from {path}: {fault}") from fault
    if not message.name:
        message.name = folder.name
    elif message.name != folder.name:
        raise LoadFailure(
            f"unexpected directory name '{folder.name}' for model '{message.name}', directory name must equal model name"
        )
    _check_backend(message)
    return message


def _check_backend(message: Any) -> None:
    in_python = is_python(message)
    scheduling = message.WhichOneof("scheduling_choice")
    if is_ensemble(message) != (scheduling == "ensemble_scheduling"):
        raise LoadFailure(f"model '{message.name}': platform '{ENSEMBLE}' and its steps come together")
    if message.max_batch_size < 0:
        raise LoadFailure(f"'max_batch_size' must be non-negative value for model '{message.name}'")
    if is_ensemble(message):
        return
    if not in_python and (message.backend not in ("", BACKEND) or message.platform not in ("", PLATFORM)):
        raise LoadFailure(
            f"model '{message.name}' asks for backend '{message.backend or message.platform}'; "
            f"the embedded engine serves '{BACKEND}' and '{PYTHON}' only"
        )
    decoupled = message.model_transaction_policy.decoupled
    if not in_python and (decoupled or scheduling == "sequence_batching"):
        kind = "decoupled responses" if decoupled else scheduling
        raise LoadFailure(
            f"model '{message.name}' needs {kind}, which the embedded engine has for Python models only"
        )


def is_python(message: Any) -> bool:
    """Whether the model is one of Triton's Python backend."""
    return bool(message.backend == PYTHON)


def is_ensemble(message: Any) -> bool:
    """Whether the model is made of others."""
    return bool(message.platform == ENSEMBLE)


def select_versions(message: Any, found: Sequence[int]) -> tuple[list[int], list[int]]:
    """The versions to load by `version_policy` (default: the latest), and those it names that are not there."""
    policy = message.version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return sorted(found), []
    if choice == "specific":
        wanted = sorted(set(policy.specific.versions))
        return [v for v in wanted if v in found], [v for v in wanted if v not in found]
    count = policy.latest.num_versions or 1
    return sorted(found)[-count:], []


def wants_gpu(message: Any) -> bool:
    """Whether any instance may run on a GPU: KIND_GPU, KIND_AUTO, or nothing said."""
    kinds = {group.kind for group in message.instance_group}
    return not kinds or bool(kinds & {0, 1})


def thread_count(message: Any, default: int) -> int:
    """The threads of one run: the configuration's own `intra_op_thread_count`, else the engine's setting."""
    if "intra_op_thread_count" not in message.parameters:
        return default
    text = message.parameters["intra_op_thread_count"].string_value
    if not re.fullmatch("[0-9]{1,4}", text):
        raise LoadFailure(
            f"model '{message.name}': intra_op_thread_count '{text}' is not a number of threads"
        )
    return int(text)


def _specs(message: Any, tensors: Any) -> tuple[TensorSpec, ...]:
    kind = schema().DataType
    specs = []
    for tensor in tensors:
        datatype = BY_CONFIG_NAME.get(kind.Name(tensor.data_type))
        if datatype is None:
            raise LoadFailure(f"model '{message.name}', tensor '{tensor.name}': data type is not specified")
        dims = tuple(tensor.dims)
        reshape = tuple(tensor.reshape.shape) if tensor.HasField("reshape") else None
        if reshape is not None and reshape.count(-1) != dims.count(-1):
            raise LoadFailure(
                f"model '{message.name}', tensor '{tensor.name}' has mismatch between dims and reshape"
            )
        specs.append(
            TensorSpec(
                tensor.name,
                datatype,
                dims,
                reshape,
                getattr(tensor, "optional", False),
                getattr(tensor, "label_filename", ""),
            )
        )
    return tuple(specs)


def engine_config(message: Any) -> ModelConfig:
    """The engine's view of a completed message. Raises LoadFailure for a tensor without a type."""
    return ModelConfig(
        message.name,
        message.platform or message.backend,
        message.max_batch_size,
        _specs(message, message.input),
        _specs(message, message.output),
        message.model_transaction_policy.decoupled,
    )
