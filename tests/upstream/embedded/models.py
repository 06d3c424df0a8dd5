"""Models for the embedded engine's tests, beside those of `tests.models.build`.

- `scores`: FP32 `image` [-1,4] to `probabilities` [-1,4], no batching, with a label file of three lines for four classes;
- `versions`: INT32 as `add_sub` but four wide, batches of at most 8, versions 1, 2 and 3 of which the policy names 1
  and 3, labels on OUTPUT0;
- `fields`: one tensor each of BYTES, INT32, FP32 and BOOL, batches of at most 4, for the generate extension;
- `text`: BYTES `text_input` [1] to `text_output` [1], no batching;
- `picky`: FP32 `x` [-1] to `y` [2,2]; fails on anything but four numbers;
- `column`: FP32 [-1,2] that the model itself sees as [-1,2,1]: a reshape of input and output.
"""

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from tests.models.build import model

KINDS = {
    "STRING": TensorProto.STRING,
    "INT32": TensorProto.INT32,
    "FP32": TensorProto.FLOAT,
    "BOOL": TensorProto.BOOL,
}
CPU = "instance_group [ { kind: KIND_CPU count: 1 } ]\n"


def tensor(name: str, kind: int, *dims: int | str) -> ValueInfoProto:
    """A tensor of the graph's signature; a text for a dimension that varies."""
    return helper.make_tensor_value_info(name, kind, list(dims))


def write(
    folder: Path, name: str, config: str, content: ModelProto | bytes, versions: tuple[int, ...] = (1,)
) -> Path:
    """Writes one model, every version alike, and returns its folder."""
    raw = content if isinstance(content, bytes) else content.SerializeToString(deterministic=True)
    (folder / name).mkdir()
    for version in versions:
        target = folder / name / str(version)
        target.mkdir()
        (target / "model.onnx").write_bytes(raw)
    (folder / name / "config.pbtxt").write_text(config)
    return folder / name


def copies(*names: tuple[str, str, int], dims: tuple[int | str, ...] = ("batch", 1)) -> ModelProto:
    """A model that copies each named input to the output named beside it."""
    nodes = [helper.make_node("Identity", [source], [target]) for source, target, _ in names]
    inputs = [tensor(source, kind, *dims) for source, _, kind in names]
    return model(nodes, inputs, [tensor(target, kind, *dims) for _, target, kind in names])


def softmax() -> ModelProto:
    """Softmax over four numbers."""
    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32), "weights")
    nodes = [
        helper.make_node("MatMul", ["image", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    built = model(
        nodes,
        [tensor("image", TensorProto.FLOAT, "batch", 4)],
        [tensor("probabilities", TensorProto.FLOAT, "batch", 4)],
    )
    built.graph.initializer.append(weights)
    return built


def add_sub() -> ModelProto:
    """Sum and difference of two rows of four numbers."""
    names = ("INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1")
    ends = [tensor(name, TensorProto.INT32, "batch", 4) for name in names]
    nodes = [helper.make_node("Add", names[:2], names[2:3]), helper.make_node("Sub", names[:2], names[3:])]
    return model(nodes, ends[:2], ends[2:])


def build(folder: Path) -> Path:
    """Writes the models of this module into `folder` and returns it."""
    scores = write(
        folder,
        "scores",
        'backend: "onnxruntime"\nmax_batch_size: 0\n'
        'input [ { name: "image" data_type: TYPE_FP32 dims: [ -1, 4 ] } ]\n'
        'output [ { name: "probabilities" data_type: TYPE_FP32 dims: [ -1, 4 ] label_filename: "labels.txt" } ]\n'
        + CPU,
        softmax(),
    )
    (scores / "labels.txt").write_text("zero\none\ntwo\n")
    versions = write(
        folder,
        "versions",
        'backend: "onnxruntime"\nmax_batch_size: 8\nversion_policy { specific { versions: [ 1, 3 ] } }\n'
        'input [ { name: "INPUT0" data_type: TYPE_INT32 dims: [ 4 ] }, '
        '{ name: "INPUT1" data_type: TYPE_INT32 dims: [ 4 ] } ]\n'
        'output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 4 ] label_filename: "labels.txt" }, '
        '{ name: "OUTPUT1" data_type: TYPE_INT32 dims: [ 4 ] } ]\n' + CPU,
        add_sub(),
        (1, 2, 3),
    )
    (versions / "labels.txt").write_text("zero\none\ntwo\n")
    names = (
        ("text", "text_out", "STRING"),
        ("n", "n_out", "INT32"),
        ("f", "f_out", "FP32"),
        ("b", "b_out", "BOOL"),
    )

    def listed(at: int) -> str:
        entries = (
            f'{{ name: "{name[at]}" data_type: TYPE_{name[2]} dims: [ {-1 if name[2] == "FP32" else 1} ] }}'
            for name in names
        )
        return ", ".join(entries)

    write(
        folder,
        "fields",
        f'backend: "onnxruntime"\nmax_batch_size: 4\ninput [ {listed(0)} ]\noutput [ {listed(1)} ]\n' + CPU,
        copies(*((source, target, KINDS[kind]) for source, target, kind in names), dims=("batch", "n")),
    )
    write(
        folder,
        "text",
        'backend: "onnxruntime"\nmax_batch_size: 0\n'
        'input [ { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] } ]\n'
        'output [ { name: "text_output" data_type: TYPE_STRING dims: [ 1 ] } ]\n' + CPU,
        copies(("text_input", "text_output", TensorProto.STRING), dims=("n",)),
    )
    write(
        folder,
        "column",
        'backend: "onnxruntime"\nmax_batch_size: 4\n'
        'input [ { name: "x" data_type: TYPE_FP32 dims: [ 2 ] reshape { shape: [ 2, 1 ] } } ]\n'
        'output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] reshape { shape: [ 2, 1 ] } } ]\n' + CPU,
        copies(("x", "y", TensorProto.FLOAT), dims=("batch", 2, 1)),
    )
    shape = numpy_helper.from_array(np.array([2, 2], dtype=np.int64), "shape")
    square = model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [tensor("x", TensorProto.FLOAT, "n")],
        [tensor("y", TensorProto.FLOAT, 2, 2)],
    )
    square.graph.initializer.append(shape)
    write(
        folder,
        "picky",
        'backend: "onnxruntime"\nmax_batch_size: 0\n'
        'input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } ]\n'
        'output [ { name: "y" data_type: TYPE_FP32 dims: [ 2, 2 ] } ]\n' + CPU,
        square,
    )
    return folder
