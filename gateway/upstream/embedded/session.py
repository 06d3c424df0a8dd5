"""One ONNX model in memory: its signature and its runs, whatever the element types.

The only module that knows onnxruntime. A session is used by many threads at once, as onnxruntime allows.
"""

import ctypes
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# It reports to its maker unless this is set before it is loaded (its Privacy.md): which models run is nobody's business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

from gateway.upstream.embedded.completion import Signature, SignatureTensor
from gateway.upstream.embedded.datatypes import BF16, BY_ORT_NAME, ONNX_BFLOAT16
from gateway.upstream.embedded.messages import LoadFailure, Refusal

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
ERRORS_ONLY = 3


def choose_providers(available: Sequence[str], *, gpu_wanted: bool) -> list[str]:
    """CUDA first where onnxruntime offers it and the configuration asks for it; the CPU always, for the rest."""
    return [CUDA, CPU] if gpu_wanted and CUDA in available else [CPU]


class Session:
    """An onnxruntime session on one model file. Raises LoadFailure when the file is not a model that can be served."""

    def __init__(self, path: Path, *, intra_op_threads: int, gpu_wanted: bool) -> None:
        if not path.is_file():
            raise LoadFailure(f"failed to load model: no such file: {path}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = intra_op_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        # An arena keeps the memory of the largest request ever served; without it, memory goes back after each.
        options.enable_cpu_mem_arena = False
        providers = choose_providers(onnxruntime.get_available_providers(), gpu_wanted=gpu_wanted)
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as fault:  # onnxruntime's errors share no narrower base
            raise LoadFailure(_words(fault)) from fault
        self.signature = Signature(
            _tensors(self._session.get_inputs()), _tensors(self._session.get_outputs())
        )
        tensors = self.signature.inputs + self.signature.outputs
        self._bf16_inputs = frozenset(t.name for t in self.signature.inputs if t.datatype is BF16)
        self._has_bf16 = any(tensor.datatype is BF16 for tensor in tensors)
        if self._has_bf16:
            # Bits are read from where the runtime leaves them, which must be this process's own memory.
            self._session.set_providers([CPU])
        self.on_gpu = CUDA in self._session.get_providers()

    def run(self, outputs: list[str], feed: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """The named outputs for these inputs. Raises Refusal when the model itself fails on them."""
        try:
            if self._has_bf16:
                return self._run_with_bits(outputs, feed)
            return [np.asarray(array) for array in self._session.run(outputs, dict(feed))]
        except Exception as fault:  # onnxruntime's errors share no narrower base
            raise Refusal(500, _words(fault)) from fault

    def _run_with_bits(
        self, outputs: list[str], feed: Mapping[str, np.ndarray[Any, Any]]
    ) -> list[np.ndarray[Any, Any]]:
        # numpy has no bfloat16: such tensors enter and leave as the uint16 of their bits.
        value = onnxruntime.OrtValue
        values = {
            name: value.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(array), ONNX_BFLOAT16)
            if name in self._bf16_inputs
            else value.ortvalue_from_numpy(np.ascontiguousarray(array))
            for name, array in feed.items()
        }
        return [_array(result) for result in self._session.run_with_ort_values(outputs, values)]


def _array(value: Any) -> np.ndarray[Any, Any]:
    if value.data_type() != BF16.ort_name:
        return np.asarray(value.numpy())
    shape = tuple(value.shape())
    count = int(np.prod(shape, dtype=np.int64))
    if not count:
        return np.empty(shape, BF16.numpy)
    bits = ctypes.string_at(value.data_ptr(), count * BF16.item_bytes)
    return np.frombuffer(bits, BF16.numpy).reshape(shape)


_FAULT = re.compile(r"\[ONNXRuntimeError\] : (\d+) : \w+ : (.*)", re.DOTALL)


def _words(fault: Exception) -> str:
    """The fault as Triton's C++ backend words it."""
    found = _FAULT.match(str(fault))
    return f"onnx runtime error {found[1]}: {found[2]}" if found else f"onnx runtime error: {fault}"


def _tensors(arguments: Sequence[Any]) -> tuple[SignatureTensor, ...]:
    tensors = []
    for argument in arguments:
        datatype = BY_ORT_NAME.get(argument.type)
        if datatype is None:
            raise LoadFailure(f"unsupported datatype {argument.type} for tensor '{argument.name}'")
        dims = tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in argument.shape or ())
        tensors.append(SignatureTensor(argument.name, datatype, dims))
    return tuple(tensors)
