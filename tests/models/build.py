"""Writes a model repository for tests: every data type, several tensors, slow answers, streams.

    python -m tests.models.build FOLDER

- `identity_TYPE` for each of `DTYPES` in lower case: OUTPUT0 is INPUT0, [-1,-1], no batching;
- `add_sub`: INT32 INPUT0 and INPUT1 [-1,16] to OUTPUT0 (sum) and OUTPUT1 (difference), batches of at most 8;
- `slow` (Python): sleeps for `delay_ms` INT32 [1], answers `waited_ms` FP32 [1]; four at a time;
- `repeat` (Python, decoupled): streams `text` BYTES [1] and `index` INT32 [1], `times` INT32 [1] times (1), `delay_ms`
  INT32 [1] (0) apart; with `fail_at` INT32 [1], the response of that index is an error and ends the stream.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from onnx import ModelProto, TensorProto, helper

# Triton's name of each data type that ONNX has too, and ONNX's.
DTYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
PYTHON_MODELS = Path(__file__).parent / "python"

SLOW = """\
backend: "python"
max_batch_size: 0
input [ { name: "delay_ms" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "waited_ms" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU count: 4 } ]
"""
REPEAT = """\
backend: "python"
max_batch_size: 0
model_transaction_policy { decoupled: true }
input [
  { name: "text" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "times" data_type: TYPE_INT32 dims: [ 1 ] optional: true },
  { name: "delay_ms" data_type: TYPE_INT32 dims: [ 1 ] optional: true },
  { name: "fail_at" data_type: TYPE_INT32 dims: [ 1 ] optional: true }
]
output [
  { name: "text" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "index" data_type: TYPE_INT32 dims: [ 1 ] }
]
instance_group [ { kind: KIND_CPU count: 2 } ]
"""


def build_repository(
    folder: Path, *, python_models: bool = True, dtypes: Sequence[str] = tuple(DTYPES)
) -> Path:
    """Writes the models into `folder` and returns it.

    Without `python_models` it has ONNX models alone, as the embedded engine can serve. On the packaged tritonserver
    each model takes a process of 70 MB and about 0.3 s to load: name few `dtypes` where few are needed.
    """
    for dtype in dtypes:
        write_onnx(folder, f"identity_{dtype.lower()}", identity(dtype), identity_config(dtype))
    write_onnx(folder, "add_sub", add_sub(), add_sub_config())
    if python_models:
        write_python(folder, "slow", SLOW)
        write_python(folder, "repeat", REPEAT)
    return folder


def identity(dtype: str) -> ModelProto:
    """One node that copies its input."""
    ends = [
        helper.make_tensor_value_info(name, DTYPES[dtype], [None, None]) for name in ("INPUT0", "OUTPUT0")
    ]
    return model([helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])], ends[:1], ends[1:])


def identity_config(dtype: str) -> str:
    """Explicit shapes: both dimensions free, none of them a batch."""
    kind = "STRING" if dtype == "BYTES" else dtype
    return (
        'backend: "onnxruntime"\nmax_batch_size: 0\n'
        f'input [ {{ name: "INPUT0" data_type: TYPE_{kind} dims: [ -1, -1 ] }} ]\n'
        f'output [ {{ name: "OUTPUT0" data_type: TYPE_{kind} dims: [ -1, -1 ] }} ]\n'
        "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
    )


def add_sub() -> ModelProto:
    """Sum and difference of two rows of 16 numbers."""
    names = ("INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1")
    ends = [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", 16]) for name in names]
    nodes = [helper.make_node("Add", names[:2], names[2:3]), helper.make_node("Sub", names[:2], names[3:])]
    return model(nodes, ends[:2], ends[2:])


def add_sub_config() -> str:
    """Batched: the first dimension is not in `dims`."""
    inputs = ", ".join(f'{{ name: "INPUT{n}" data_type: TYPE_INT32 dims: [ 16 ] }}' for n in range(2))
    outputs = ", ".join(f'{{ name: "OUTPUT{n}" data_type: TYPE_INT32 dims: [ 16 ] }}' for n in range(2))
    return (
        f'backend: "onnxruntime"\nmax_batch_size: 8\ninput [ {inputs} ]\noutput [ {outputs} ]\n'
        "dynamic_batching { }\ninstance_group [ { kind: KIND_CPU count: 1 } ]\n"
    )


def model(nodes: list, inputs: list, outputs: list) -> ModelProto:
    """A graph as a model that old and new runtimes read."""
    graph = helper.make_graph(nodes, "test", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_onnx(folder: Path, name: str, content: ModelProto, config: str) -> None:
    """Writes one ONNX model, version 1."""
    version = folder / name / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(content.SerializeToString(deterministic=True))
    (folder / name / "config.pbtxt").write_text(f'name: "{name}"\n{config}')


def write_python(folder: Path, name: str, config: str) -> None:
    """Writes one model of Triton's Python backend, version 1."""
    version = folder / name / "1"
    version.mkdir(parents=True)
    shutil.copy(PYTHON_MODELS / f"{name}.py", version / "model.py")
    (folder / name / "config.pbtxt").write_text(f'name: "{name}"\n{config}')


if __name__ == "__main__":
    build_repository(Path(sys.argv[1]))
