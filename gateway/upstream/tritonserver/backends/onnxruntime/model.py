"""A Triton backend named `onnxruntime`, written in Python.

The packaged tritonserver has no C++ ONNX Runtime backend; this stands in for it, so that a `config.pbtxt` with
`backend: "onnxruntime"` works there as it does in NVIDIA's container. It reads the same fields and parameters and
words its errors alike. Triton's own stub process imports this file; it is no part of the gateway's processes.

Left to the C++ backend: bfloat16 and 8-bit float tensors, sequence and map values, implicit state, execution
accelerators, and BYTES that are not UTF-8 (onnxruntime's Python interface takes strings only).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}
# What the C++ backend makes of `optimization { graph { level: … } }`; anything else means all optimizations.
LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
# The batch size that the C++ backend gives a model without a configuration whose first dimension is free.
DEFAULT_MAX_BATCH_SIZE = 4


class TritonPythonModel:
    """One instance of one version of a model, as Triton's Python backend calls it."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Adds the inputs and outputs that the configuration leaves out, as the model file declares them."""
        config = auto_complete_model_config.as_dict()
        session = open_session(model_file(Path(pb_utils.get_model_dir()), config), config, gpu=None)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        batched = config["max_batch_size"] > 0
        if not batched and not config["input"] and not config["output"]:
            batched = all(shape_of(tensor)[:1] == [-1] for tensor in (*inputs, *outputs))
            if batched:
                auto_complete_model_config.set_max_batch_size(DEFAULT_MAX_BATCH_SIZE)
                if "sequence_batching" not in config:
                    auto_complete_model_config.set_dynamic_batching()
        for declared, tensors, add in (
            (config["input"], inputs, auto_complete_model_config.add_input),
            (config["output"], outputs, auto_complete_model_config.add_output),
        ):
            complete = {t["name"] for t in declared if t["dims"] and t["data_type"] != "TYPE_INVALID"}
            # Control tensors of sequences stand elsewhere in the configuration and must not be declared twice.
            complete |= {control["name"] for control in controls(config)}
            for tensor in tensors:
                if tensor.name not in complete:
                    shape = shape_of(tensor)[1:] if batched else shape_of(tensor)
                    add({"name": tensor.name, "data_type": TYPES.get(tensor.type), "dims": shape or [1]})
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the version's file and holds the configuration against it."""
        config = json.loads(args["model_config"])
        gpu = int(args["model_instance_device_id"]) if args["model_instance_kind"] == "GPU" else None
        folder = Path(args["model_repository"]) / args["model_version"]
        self._session = open_session(model_file(folder, config), config, gpu)
        self._inputs = [
            (tensor.name, tensor.type == "tensor(string)", len(tensor.shape))
            for tensor in self._session.get_inputs()
        ]
        self._batched = config["max_batch_size"] > 0
        check(config, "input", self._session.get_inputs())
        check(config, "output", self._session.get_outputs())

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers a batch of requests: in one run where their tensors can be stacked, else one by one."""
        if len(requests) == 1 or not self._batched:
            return [self._answer(request) for request in requests]
        try:
            return self._answer_together(requests)
        except Exception:  # noqa: BLE001 - onnxruntime's errors have no class of their own to name
            # One bad request must not fail its neighbours: alone, each gets its own answer or its own error.
            return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Frees the model."""
        del self._session

    def _answer(self, request: Any) -> Any:
        names = wanted(request)
        try:
            outputs = self._session.run(names, self._feed(request))
            return pb_utils.InferenceResponse(
                [tensor(n, value) for n, value in zip(names, outputs, strict=True)]
            )
        except pb_utils.TritonModelException as refused:
            return failed(str(refused), pb_utils.TritonError.INVALID_ARG)
        except Exception as error:  # noqa: BLE001 - whatever it is, this request's caller must hear of it
            return failed(worded(error), pb_utils.TritonError.INTERNAL)

    def _answer_together(self, requests: list[Any]) -> list[Any]:
        feeds = [self._feed(request) for request in requests]
        stacked = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
        sizes = [len(next(iter(feed.values()))) for feed in feeds]
        asked = [wanted(request) for request in requests]
        names = sorted(set().union(*asked))
        values = dict(zip(names, self._session.run(names, stacked), strict=True))
        if any(value.shape[:1] != (sum(sizes),) for value in values.values()):
            raise ValueError("an output has another batch size than the inputs")
        responses, start = [], 0
        for size, mine in zip(sizes, asked, strict=True):
            end = start + size
            responses.append(pb_utils.InferenceResponse([tensor(n, values[n][start:end]) for n in mine]))
            start = end
        return responses

    def _feed(self, request: Any) -> dict[str, Any]:
        feed = {}
        for name, text, rank in self._inputs:
            given = pb_utils.get_input_tensor_by_name(request, name)
            if given is None:  # optional, or onnxruntime says which one is missing
                continue
            value = given.as_numpy()
            if text:
                value = decoded(name, value)
            feed[name] = value.reshape(()) if rank == 0 else value
        return feed


def wanted(request: Any) -> list[str]:
    """The outputs asked for, in the C++ backend's order; Triton hands them over as a set, in no order."""
    return sorted(request.requested_output_names())


def tensor(name: str, value: Any) -> Any:
    """A Triton tensor of an output; Triton has no tensors without dimensions."""
    return pb_utils.Tensor(name, value if value.ndim else value.reshape(1))


def decoded(name: str, value: Any) -> Any:
    """BYTES as the str objects that onnxruntime takes."""
    text = np.empty(value.size, object)
    try:
        text[:] = [element.decode() for element in value.flat]
    except UnicodeDecodeError as error:
        raise pb_utils.TritonModelException(
            f"input '{name}' holds BYTES that are not UTF-8; this onnxruntime backend takes text only"
        ) from error
    return text.reshape(value.shape)


def worded(error: Exception) -> str:
    """An onnxruntime error in the C++ backend's words."""
    found = re.match(r"\[ONNXRuntimeError\] : (\d+) : \w+ : (.*)", str(error), re.DOTALL)
    return f"onnx runtime error {found[1]}: {found[2]}" if found else f"onnx runtime error: {error}"


def failed(message: str, code: Any) -> Any:
    """A response that carries an error."""
    return pb_utils.InferenceResponse([], pb_utils.TritonError(message, code))


def controls(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The control inputs of a sequence batcher."""
    return list(config.get("sequence_batching", {}).get("control_input", ()))


def model_file(folder: Path, config: dict[str, Any]) -> Path:
    """The file to load: `default_model_filename` or `model.onnx`, which may be a folder with such a file."""
    name = config.get("default_model_filename") or "model.onnx"
    path = folder / name
    if path.is_dir():
        path /= name
    if not path.is_file():
        raise pb_utils.TritonModelException(f"unable to find '{path}' for model '{config['name']}'")
    return path


def open_session(path: Path, config: dict[str, Any], gpu: int | None) -> Any:
    """The file as a session, with the parameters that the C++ backend knows."""
    parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    if parameters.get("execution_mode") == "1":
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = enabled(parameters.get("enable_mem_arena", "1"))
    options.enable_mem_pattern = enabled(parameters.get("enable_mem_pattern", "1"))
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = LEVELS.get(level, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    providers: list[Any] = ["CPUExecutionProvider"]
    if gpu is not None and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": gpu}))
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        raise pb_utils.TritonModelException(worded(error)) from error


def enabled(value: str) -> bool:
    """A boolean parameter as Triton reads them."""
    return value.lower() in ("1", "true")


def shape_of(tensor: Any) -> list[int]:
    """The dimensions of a model's tensor, free ones as -1."""
    return [size if isinstance(size, int) else -1 for size in tensor.shape]


def check(config: dict[str, Any], side: str, tensors: list[Any]) -> None:
    """Raises, in the C++ backend's words, where the configuration does not fit the model file."""
    known = {tensor.name: tensor for tensor in tensors}
    batched = config["max_batch_size"] > 0
    for declared in config[side]:
        name, model = declared["name"], config["name"]
        if name not in known:
            raise pb_utils.TritonModelException(
                f"unexpected inference {side} '{name}', allowed {side}s are: {', '.join(sorted(known))}"
            )
        kind = TYPES.get(known[name].type, known[name].type)
        if declared["data_type"] != kind:
            raise pb_utils.TritonModelException(
                f"unable to load model '{model}', unexpected datatype {kind} for inference {side} '{name}', "
                f"expecting {declared['data_type']}"
            )
        expected = shape_of(known[name])
        if batched and expected[:1] != [-1]:
            raise pb_utils.TritonModelException(
                f"model '{model}', tensor '{name}': for the model to support batching the shape should have at least "
                "1 dimension and the first dimension must be -1; but shape expected by the model is "
                f"[{listed(expected)}]"
            )
        dims = declared["reshape"]["shape"] if "reshape" in declared else declared["dims"]
        given = [-1] * batched + [int(size) for size in dims]
        if not expected and given == [1]:
            continue
        free = {-1}
        if len(given) != len(expected) or any(
            a != b and a not in free and b not in free for a, b in zip(given, expected, strict=True)
        ):
            how = (
                "an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making "
                f"complete shape [{listed(given)}]"
                if batched
                else f"shape [{listed(given)}]"
            )
            raise pb_utils.TritonModelException(
                f"model '{model}', tensor '{name}': the model expects {len(expected)} dimensions (shape "
                f"[{listed(expected)}]) but the model configuration specifies {len(given)} dimensions ({how})"
            )


def listed(shape: list[int]) -> str:
    """A shape as Triton prints it."""
    return ",".join(str(size) for size in shape)
