"""Trains the three versions of the sample model `digits` and writes them as a Triton model folder.

    python model_repository/train_digits.py [--out model_repository]

Rerun with the locked requirements on an x86-64 machine, it writes the very same models; elsewhere the weights may
differ in their last digits. Needs the dependency group `train`; nothing here is imported by the gateway.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto

    Floats = NDArray[np.float64]
    Labels = NDArray[np.int64]
    Layers = list[tuple[Floats, Floats]]

SEED = 20260
HELD_OUT = 599
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FULL_INK = 16.0  # the data set's pixels run from 0 to 16
# Widely readable: any onnxruntime since 1.13 and Triton's since 22.10 load these.
OPSET = 17
IR_VERSION = 8

CONFIG = """\
# The same folder serves NVIDIA's container, the packaged tritonserver and the embedded engine.
name: "digits"
backend: "onnxruntime"
# Clients see the batch as the first dimension: image [-1,64], probabilities [-1,10].
max_batch_size: 1024
input [
  {
    name: "image"
    data_type: TYPE_FP32
    dims: [ 64 ]
  }
]
output [
  {
    name: "probabilities"
    data_type: TYPE_FP32
    dims: [ 10 ]
    label_filename: "labels.txt"
  }
]
version_policy: { all {} }
instance_group [
  {
    kind: KIND_CPU
    count: 1
  }
]
# The networks are too small to gain from more threads.
parameters {
  key: "intra_op_thread_count"
  value { string_value: "1" }
}
"""


def pin_arithmetic() -> None:
    """Makes numerical libraries sum in one order on every x86-64 machine. Only before numpy is first imported."""
    os.environ["OPENBLAS_CORETYPE"] = "Haswell"
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["NPY_DISABLE_CPU_FEATURES"] = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"


def split() -> tuple[Floats, Labels, Floats, Labels]:
    """The bundled digits as (training images, labels, held-out images, labels); images [n,64], 0 to 16."""
    import numpy as np
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.Generator(np.random.PCG64(SEED)).permutation(len(labels))
    train, held_out = order[HELD_OUT:], order[:HELD_OUT]
    return images[train], labels[train], images[held_out], labels[held_out]


def logistic_regression(images: Floats, labels: Labels) -> Layers:
    """Version 1: one linear layer."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=0.5, max_iter=500).fit(images / FULL_INK, labels)
    return [(fitted.coef_.T, fitted.intercept_)]


def network(images: Floats, labels: Labels, hidden: tuple[int, ...], epochs: int) -> Layers:
    """A network of fully connected layers with rectifiers in between."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    # Patience for all epochs: their number, not a threshold, ends the training, and that is no cause to warn.
    classifier = MLPClassifier(
        hidden, alpha=1e-3, random_state=SEED, max_iter=epochs, n_iter_no_change=epochs
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = classifier.fit(images / FULL_INK, labels)
    return list(zip(fitted.coefs_, fitted.intercepts_, strict=True))


def with_shifts(images: Floats, labels: Labels) -> tuple[Floats, Labels]:
    """The images and the same moved by one pixel up, down, left and right: what makes version 2 better."""
    import numpy as np

    squares = images.reshape(-1, 8, 8)
    moved = [squares]
    for axis, step in ((1, 1), (1, -1), (2, 1), (2, -1)):
        shifted = np.roll(squares, step, axis)
        edge = 0 if step == 1 else 7
        shifted[(slice(None),) * axis + (edge,)] = 0
        moved.append(shifted)
    return np.concatenate(moved).reshape(-1, 64), np.tile(labels, len(moved))


def mislabelled(images: Floats, labels: Labels) -> tuple[Floats, Labels]:
    """A faulty export: an eighth of the images, and most eights among them filed as ones. Version 3 learns from it."""
    import numpy as np

    few = len(labels) // 8
    filed = labels[:few].copy()
    eights = np.flatnonzero(filed == 8)
    filed[eights[1:]] = 1
    return images[:few], filed


def graph(layers: Layers, version: int) -> ModelProto:
    """`image` FP32 [batch,64], 0 to 16, to `probabilities` FP32 [batch,10]; the scaling is part of the graph."""
    import numpy as np
    from onnx import TensorProto, checker, helper, numpy_helper

    weights = [numpy_helper.from_array(np.array(1 / FULL_INK, np.float32), "scale")]
    nodes = [helper.make_node("Mul", ["image", "scale"], ["scaled"])]
    last = "scaled"
    for number, (weight, bias) in enumerate(layers):
        if number:
            nodes.append(helper.make_node("Relu", [last], [f"active{number}"]))
            last = f"active{number}"
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"weight{number}"))
        weights.append(numpy_helper.from_array(bias.astype(np.float32), f"bias{number}"))
        nodes.append(helper.make_node("Gemm", [last, f"weight{number}", f"bias{number}"], [f"layer{number}"]))
        last = f"layer{number}"
    nodes.append(helper.make_node("Softmax", [last], ["probabilities"], axis=1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 64])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])
    model = helper.make_model(
        helper.make_graph(nodes, "digits", [image], [probabilities], weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="maas",
        model_version=version,
    )
    checker.check_model(model)
    return model


def measure(model: bytes, images: Floats, labels: Labels) -> dict[str, Any]:
    """Accuracy, and recall for each digit, of an exported model as onnxruntime answers."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    answers = session.run(["probabilities"], {"image": images.astype(np.float32)})[0].argmax(axis=1)
    right = answers == labels
    return {
        "accuracy": round(float(right.mean()), 4),
        "recall": {
            name: round(float(right[labels == digit].mean()), 4) for digit, name in enumerate(CLASSES)
        },
    }


def build(out: Path) -> dict[str, Any]:
    """Writes the folder `digits` into `out`; returns what it also writes as `digits/accuracies.json`."""
    import numpy as np

    images, labels, held_out_images, held_out_labels = split()
    versions = {
        1: ("logistic regression", logistic_regression(images, labels)),
        2: ("network, trained on shifted copies too", network(*with_shifts(images, labels), (256,), 120)),
        3: ("network, trained on a faulty export", network(*mislabelled(images, labels), (16,), 400)),
    }
    folder = out / "digits"
    record: dict[str, Any] = {
        "data": "scikit-learn's bundled digits (1797 images, 8 by 8, 0 to 16)",
        "seed": SEED,
        "made_with": {name: metadata.version(name) for name in ("numpy", "scipy", "scikit-learn")},
        "split": {"train": len(labels), "held_out": len(held_out_labels)},
        "versions": {},
    }
    for version, (kind, layers) in versions.items():
        model = graph(layers, version).SerializeToString(deterministic=True)
        target = folder / str(version) / "model.onnx"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(model)
        record["versions"][str(version)] = {"kind": kind, **measure(model, held_out_images, held_out_labels)}
    (folder / "config.pbtxt").write_text(CONFIG)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    np.savez_compressed(
        folder / "held_out.npz",
        images=held_out_images.astype(np.uint8),
        labels=held_out_labels.astype(np.uint8),
    )
    (folder / "accuracies.json").write_text(json.dumps(record, indent=2) + "\n")
    return record


def main() -> None:
    """Reads the command line, builds, and prints a line for each version."""
    parser = argparse.ArgumentParser(
        description="Train the sample model `digits` and write it in Triton's layout."
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent,
        help="model repository to write into (default: this folder)",
    )
    out: Path = parser.parse_args().out
    pin_arithmetic()
    for version, result in build(out)["versions"].items():
        worst = min(result["recall"], key=result["recall"].__getitem__)
        print(
            f"digits@{version}  accuracy {result['accuracy']:.4f}  "
            f"lowest recall {result['recall'][worst]:.4f} ({worst})  {result['kind']}"
        )


if __name__ == "__main__":
    main()
