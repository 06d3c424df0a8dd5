"""Writes the sample ensemble `digits-label` and its second step `digits-names` as Triton model folders.

    python model_repository/build_digits_label.py [--out model_repository]

`digits-label` is version 2 of `digits`, then `digits-names`, which turns probabilities into the digit's name. Nothing
is trained: the same script writes the same files. Needs the dependency group `train`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# As those of `digits`: any onnxruntime since 1.13 and Triton's since 22.10 load these.
OPSET = 17
IR_VERSION = 8

NAMES_CONFIG = """\
# The same folder serves NVIDIA's container, the packaged tritonserver and the embedded engine.
name: "digits-names"
backend: "onnxruntime"
max_batch_size: 1024
input [ { name: "probabilities" data_type: TYPE_FP32 dims: [ 10 ] } ]
output [
  { name: "label" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "certainty" data_type: TYPE_FP32 dims: [ 1 ] }
]
version_policy: { all {} }
instance_group [ { kind: KIND_CPU count: 1 } ]
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
"""
LABEL_CONFIG = """\
# The same folder serves NVIDIA's container, the packaged tritonserver and the embedded engine.
name: "digits-label"
platform: "ensemble"
max_batch_size: 1024
input [ { name: "image" data_type: TYPE_FP32 dims: [ 64 ] } ]
output [
  { name: "label" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "certainty" data_type: TYPE_FP32 dims: [ 1 ] }
]
ensemble_scheduling {
  step [
    {
      model_name: "digits"
      model_version: 2
      input_map { key: "image" value: "image" }
      output_map { key: "probabilities" value: "scores" }
    },
    {
      model_name: "digits-names"
      model_version: 1
      input_map { key: "probabilities" value: "scores" }
      output_map { key: "label" value: "label" }
      output_map { key: "certainty" value: "certainty" }
    }
  ]
}
version_policy: { all {} }
"""
# Triton wants a folder for the version; a folder without a file is none to git, nor has it a digest.
NO_FILES = "An ensemble has no files of its own: config.pbtxt names its steps.\n"


def graph() -> ModelProto:
    """`probabilities` FP32 [batch,10] to the name of the likeliest, `label` BYTES [batch,1], and its `certainty`."""
    import numpy as np
    from onnx import TensorProto, checker, helper, numpy_helper

    names = numpy_helper.from_array(np.array(CLASSES, object), "names")
    nodes = [
        helper.make_node("ArgMax", ["probabilities"], ["best"], axis=1, keepdims=1),
        helper.make_node("Gather", ["names", "best"], ["label"]),
        helper.make_node("ReduceMax", ["probabilities"], ["certainty"], axes=[1], keepdims=1),
    ]
    ends = [
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(CLASSES)]),
        helper.make_tensor_value_info("label", TensorProto.STRING, ["batch", 1]),
        helper.make_tensor_value_info("certainty", TensorProto.FLOAT, ["batch", 1]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "digits-names", ends[:1], ends[1:], [names]),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="maas",
        model_version=1,
    )
    checker.check_model(model)
    return model


def build(out: Path) -> None:
    """Writes the folders `digits-names` and `digits-label` into `out`."""
    for name, config, file, content in (
        ("digits-names", NAMES_CONFIG, "model.onnx", graph().SerializeToString(deterministic=True)),
        ("digits-label", LABEL_CONFIG, "ensemble.txt", NO_FILES.encode()),
    ):
        version = out / name / "1"
        version.mkdir(parents=True, exist_ok=True)
        (version / file).write_bytes(content)
        (version.parent / "config.pbtxt").write_text(config)


def main() -> None:
    """Reads the command line and builds."""
    parser = argparse.ArgumentParser(
        description="Write the sample ensemble `digits-label` in Triton's layout."
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent,
        help="model repository to write into (default: this folder)",
    )
    build(parser.parse_args().out)
    print("digits-label@1  digits@2, then digits-names@1")


if __name__ == "__main__":
    main()
