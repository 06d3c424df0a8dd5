"""Trains the sample model `tiny-lm`, a language model of single characters, and writes it as a Triton model folder.

    python model_repository/train_tiny_lm.py [--out model_repository]

The model is the one of Y. Bengio et al., "A Neural Probabilistic Language Model" (JMLR 3, 2003), over characters: the
last `CONTEXT` characters are embedded, one hidden layer of tanh reads them, a softmax guesses the next. It learns
from the lines of `tiny_lm.txt`, each a text of its own with an end. It takes numpy
and some ten seconds. Rerun with the locked requirements on an x86-64 machine, it writes the very same weights; elsewhere they may
differ in their last digits.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Symbols = NDArray[np.int64]
    Weights = dict[str, Floats]

HERE = Path(__file__).parent
SEED = 20261
HELD_OUT_LINES = 12
CONTEXT = 24  # characters that the model sees
EMBEDDING = 16
HIDDEN = 192
EPOCHS = 60
BATCH = 64
RATE = 2e-3  # falls to nothing along a half cosine
# What a step of training leaves out, so that the model learns more than the text by heart (dropout).
BLANKED = 0.05  # of the characters
KEPT = 0.6  # of the hidden units
END = 0  # the symbol that ends a text, and fills the context before its beginning

CONFIG = """\
# The same folder serves NVIDIA's container, the packaged tritonserver and the embedded engine.
# Tensors are named as in Triton's vLLM and TensorRT-LLM backends.
name: "tiny-lm"
backend: "python"
default_model_filename: "tiny_lm.py"
max_batch_size: 0
model_transaction_policy { decoupled: true }
input [
  { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "max_tokens" data_type: TYPE_INT32 dims: [ 1 ] optional: true },
  { name: "temperature" data_type: TYPE_FP32 dims: [ 1 ] optional: true },
  { name: "stop_words" data_type: TYPE_STRING dims: [ -1 ] optional: true },
  { name: "seed" data_type: TYPE_UINT64 dims: [ 1 ] optional: true },
  { name: "stream" data_type: TYPE_BOOL dims: [ 1 ] optional: true }
]
output [
  { name: "text_output" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "prompt_tokens" data_type: TYPE_INT32 dims: [ 1 ] },
  { name: "completion_tokens" data_type: TYPE_INT32 dims: [ 1 ] },
  { name: "finish_reason" data_type: TYPE_STRING dims: [ 1 ] }
]
version_policy: { all {} }
instance_group [ { kind: KIND_CPU count: 1 } ]
"""


def pin_arithmetic() -> None:
    """Makes numpy sum in one order on every x86-64 machine. Only before it is first imported."""
    os.environ["OPENBLAS_CORETYPE"] = "Haswell"
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ["NPY_DISABLE_CPU_FEATURES"] = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"


def split(lines: Sequence[str], random: np.random.Generator) -> tuple[list[str], list[str]]:
    """The lines to learn from, and those held out."""
    held_out = set(random.permutation(len(lines))[:HELD_OUT_LINES].tolist())
    return (
        [line for number, line in enumerate(lines) if number not in held_out],
        [line for number, line in enumerate(lines) if number in held_out],
    )


def examples(lines: Sequence[str], alphabet: str) -> tuple[Symbols, Symbols]:
    """Contexts [n,CONTEXT] and the symbols [n] that follow them: each character of each line, and its end."""
    import numpy as np

    contexts, nexts = [], []
    for line in lines:
        symbols = [END] * CONTEXT + [alphabet.index(letter) + 1 for letter in line] + [END]
        for at in range(CONTEXT, len(symbols)):
            contexts.append(symbols[at - CONTEXT : at])
            nexts.append(symbols[at])
    return np.array(contexts), np.array(nexts)


def fresh_weights(symbols: int, random: np.random.Generator) -> Weights:
    """Small random numbers, scaled by the width of what they read."""
    import numpy as np

    def normal(rows: int, columns: int, scale: float) -> Floats:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    width = CONTEXT * EMBEDDING
    return {
        "embedding": normal(symbols, EMBEDDING, 1.0),
        "hidden_weight": normal(width, HIDDEN, width**-0.5),
        "hidden_bias": np.zeros(HIDDEN, np.float32),
        "output_weight": normal(HIDDEN, symbols, HIDDEN**-0.5),
        "output_bias": np.zeros(symbols, np.float32),
    }


def probabilities(weights: Weights, contexts: Symbols) -> Floats:
    """How likely each symbol comes next: [n,symbols] for contexts [n,CONTEXT]."""
    import numpy as np

    read = weights["embedding"][contexts].reshape(len(contexts), -1)
    hidden = np.tanh(read @ weights["hidden_weight"] + weights["hidden_bias"])
    return softmax(hidden @ weights["output_weight"] + weights["output_bias"])


def softmax(scores: Floats) -> Floats:
    """Positive numbers that sum to 1 in each row."""
    import numpy as np

    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def gradients(weights: Weights, contexts: Symbols, nexts: Symbols, kept: Floats) -> Weights:
    """Of the mean cross-entropy in nats. `kept` [n,HIDDEN] is 0 for hidden units left out, else 1/KEPT."""
    import numpy as np

    count = len(nexts)
    read = weights["embedding"][contexts].reshape(count, -1)
    active = np.tanh(read @ weights["hidden_weight"] + weights["hidden_bias"])
    hidden = active * kept
    error = softmax(hidden @ weights["output_weight"] + weights["output_bias"])
    error[np.arange(count), nexts] -= 1
    error /= count
    back = (error @ weights["output_weight"].T) * kept * (1 - active**2)
    embedding = np.zeros_like(weights["embedding"])
    np.add.at(embedding, contexts, (back @ weights["hidden_weight"].T).reshape(*contexts.shape, EMBEDDING))
    return {
        "embedding": embedding,
        "hidden_weight": read.T @ back,
        "hidden_bias": back.sum(axis=0),
        "output_weight": hidden.T @ error,
        "output_bias": error.sum(axis=0),
    }


def train(contexts: Symbols, nexts: Symbols, symbols: int, random: np.random.Generator) -> Weights:
    """Adam (D. Kingma and J. Ba, 2015) with its authors' constants and a falling rate."""
    import numpy as np

    weights = fresh_weights(symbols, random)
    means = {name: np.zeros_like(weight) for name, weight in weights.items()}
    squares = {name: np.zeros_like(weight) for name, weight in weights.items()}
    steps = EPOCHS * (len(nexts) // BATCH)
    order = np.concatenate([random.permutation(len(nexts))[: steps // EPOCHS * BATCH] for _ in range(EPOCHS)])
    for step, chosen in enumerate(order.reshape(steps, BATCH), start=1):
        seen = np.where(random.random((BATCH, CONTEXT), np.float32) < BLANKED, END, contexts[chosen])
        kept = (random.random((BATCH, HIDDEN), np.float32) < KEPT) / np.float32(KEPT)
        found = gradients(weights, seen, nexts[chosen], kept)
        rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps)) * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
        for name in weights:
            means[name] += np.float32(0.1) * (found[name] - means[name])
            squares[name] += np.float32(0.001) * (found[name] ** 2 - squares[name])
            weights[name] -= np.float32(rate) * means[name] / (np.sqrt(squares[name]) + np.float32(1e-8))
    return weights


def bits_per_character(weights: Weights, contexts: Symbols, nexts: Symbols) -> float:
    """The mean cross-entropy in bits; guessing blindly among n symbols costs log2(n)."""
    import numpy as np

    right = probabilities(weights, contexts)[np.arange(len(nexts)), nexts]
    return round(float(-np.log2(right).mean()), 3)


def record_of(weights: Weights, alphabet: str) -> NDArray[Any]:
    """All weights and the alphabet as one record, which numpy reads without unpickling anything."""
    import numpy as np

    fields: list[Any] = [("alphabet", f"<U{len(alphabet)}")]
    fields += [(name, "<f4", weight.shape) for name, weight in weights.items()]
    return np.array((alphabet, *weights.values()), np.dtype(fields))


def build(out: Path) -> dict[str, Any]:
    """Writes the folder `tiny-lm` into `out`; returns what it also writes as `tiny-lm/quality.json`."""
    import numpy as np

    lines = (HERE / "tiny_lm.txt").read_text(encoding="ascii").splitlines()
    alphabet = "".join(sorted(set("".join(lines))))
    random = np.random.Generator(np.random.PCG64(SEED))
    learned, held_out = split(lines, random)
    contexts, nexts = examples(learned, alphabet)
    weights = train(contexts, nexts, len(alphabet) + 1, random)
    folder = out / "tiny-lm"
    version = folder / "1"
    version.mkdir(parents=True, exist_ok=True)
    np.save(version / "weights.npy", record_of(weights, alphabet))
    (folder / "config.pbtxt").write_text(CONFIG)
    served = version / "tiny_lm.py"
    if out.resolve() != HERE.resolve():
        served.write_bytes((HERE / "tiny-lm" / "1" / "tiny_lm.py").read_bytes())
    record = {
        "data": "tiny_lm.txt",
        "seed": SEED,
        "made_with": {"numpy": metadata.version("numpy")},
        "parameters": int(sum(weight.size for weight in weights.values())),
        "lines": {"train": len(learned), "held_out": len(held_out)},
        "bits_per_character": {
            "blind": round(float(np.log2(len(alphabet) + 1)), 3),
            "train": bits_per_character(weights, contexts, nexts),
            "held_out": bits_per_character(weights, *examples(held_out, alphabet)),
        },
        "held_out": held_out,
    }
    (folder / "quality.json").write_text(json.dumps(record, indent=2) + "\n")
    return record


def main() -> None:
    """Reads the command line, builds, and prints what was measured."""
    parser = argparse.ArgumentParser(
        description="Train the sample model `tiny-lm` and write it in Triton's layout."
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=HERE,
        help="model repository to write into (default: this folder)",
    )
    out: Path = parser.parse_args().out
    pin_arithmetic()
    record = build(out)
    bits = record["bits_per_character"]
    print(
        f"tiny-lm@1  {record['parameters']} parameters  bits per character: "
        f"{bits['train']:.3f} on what it has read, {bits['held_out']:.3f} held out, {bits['blind']:.3f} blind"
    )


if __name__ == "__main__":
    main()
