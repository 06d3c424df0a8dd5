"""Ensembles in the engine: which are served, how they fail, and what is counted."""

from pathlib import Path

import numpy as np
import pytest

from gateway.upstream.embedded import EmbeddedEngine
from tests.upstream.embedded.calls import ask, error, infer, outputs, parsed, request, tensor
from tests.upstream.embedded.models import add_sub, softmax, write

BATCHED = "max_batch_size: 8\n"
ONNX = f'backend: "onnxruntime"\n{BATCHED}'
SUMS_IO = (
    'input [ { name: "INPUT0" data_type: TYPE_INT32 dims: [ 4 ] }, { name: "INPUT1" data_type: TYPE_INT32 dims: [ 4 ] } ]\n'
    'output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 4 ] }, { name: "OUTPUT1" data_type: TYPE_INT32 dims: [ 4 ] } ]\n'
)
SOFTMAX_IO = (
    'input [ { name: "image" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
    'output [ { name: "probabilities" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
)
ENSEMBLE_IO = (
    'input [ { name: "a" data_type: TYPE_INT32 dims: [ 4 ] }, { name: "b" data_type: TYPE_INT32 dims: [ 4 ] } ]\n'
    'output [ { name: "c" data_type: TYPE_INT32 dims: [ 4 ] } ]\n'
)


def step(model: str, version: int, inputs: dict[str, str], given: dict[str, str]) -> str:
    maps = [("input_map", *pair) for pair in inputs.items()] + [
        ("output_map", *pair) for pair in given.items()
    ]
    written = " ".join(f'{kind} {{ key: "{own}" value: "{name}" }}' for kind, own, name in maps)
    return f'step {{ model_name: "{model}" model_version: {version} {written} }}'


def sums(a: str, b: str, given: dict[str, str], version: int = 1) -> str:
    """A step of `sums`."""
    return step("sums", version, {"INPUT0": a, "INPUT1": b}, given)


def ensemble(*steps: str, io: str = ENSEMBLE_IO, batching: str = BATCHED) -> str:
    return f'platform: "ensemble"\n{batching}{io}ensemble_scheduling {{ {" ".join(steps)} }}'


# (a + b) - b, the second step written first.
BACK = ensemble(
    sums("total", "b", {"OUTPUT1": "c"}, version=-1),
    sums("a", "b", {"OUTPUT0": "total"}),
)


def engine_with(folder: Path, config: str) -> EmbeddedEngine:
    """An engine with `sums` (versions 1 and 2), `softmax`, and the ensemble `all`."""
    write(folder, "sums", ONNX + SUMS_IO + "version_policy { all {} }", add_sub(), (1, 2))
    write(folder, "softmax", ONNX + SOFTMAX_IO, softmax())
    write(folder, "all", config, b"")
    engine = EmbeddedEngine(folder)
    engine.load()
    return engine


def pair(count: int = 1) -> bytes:
    a, b = (tensor(name, "INT32", [count, 4], [number] * 4 * count) for name, number in (("a", 30), ("b", 7)))
    return request(a, b)


def test_steps_run_in_the_order_that_their_tensors_ask_for(tmp_path: Path) -> None:
    """However they are written; -1 is the latest version; each step's own statistics count it too."""
    engine = engine_with(tmp_path, BACK)
    assert not engine.failures()
    answered = outputs(infer(engine, "all", pair(2)))
    assert answered["c"]["shape"] == [2, 4]
    assert answered["c"]["data"] == [30] * 8
    assert parsed(ask(engine, "metadata", "all"))["platform"] == "ensemble"
    for name, version in (("all", 1), ("sums", 1), ("sums", 2)):
        (stats,) = parsed(ask(engine, "stats", name, version=version))["model_stats"]
        assert (stats["inference_count"], stats["execution_count"]) == (2, 1)


def test_what_a_step_fails_on_is_told(tmp_path: Path) -> None:
    """With the ensemble's name before the model's words; the step counts the failure too."""
    body = "def execute(self, requests): raise ValueError('bad day')"
    (tmp_path / "moody" / "1").mkdir(parents=True)
    (tmp_path / "moody" / "config.pbtxt").write_text(f'backend: "python"\n{ENSEMBLE_IO}')
    (tmp_path / "moody" / "1" / "model.py").write_text(f"class TritonPythonModel:\n    {body}\n")
    steps = step("moody", 1, {"a": "a", "b": "b"}, {"c": "c"})
    write(tmp_path, "all", ensemble(steps, batching=""), b"")
    engine = EmbeddedEngine(tmp_path, python_models=True)
    engine.load()
    a, b = (tensor(name, "INT32", [4], [1] * 4) for name in "ab")
    words = error(infer(engine, "all", request(a, b)), 500)
    assert words.startswith("in ensemble 'all', ")
    assert "bad day" in words
    for name in ("all", "moody"):
        (stats,) = parsed(ask(engine, "stats", name))["model_stats"]
        assert stats["inference_stats"]["fail"]["count"] == 1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ensemble(sums("a", "nothing", {"OUTPUT0": "c"})), "nothing gives tensor(s) nothing"),
        (ensemble(sums("a", "b", {"OUTPUT0": "d"})), "no step gives its output 'c'"),
        (
            ensemble(sums("a", "d", {"OUTPUT0": "c"}), sums("c", "b", {"OUTPUT0": "d"})),
            "nothing gives tensor(s) c, d",
        ),
        (
            ensemble(sums("a", "b", {"OUTPUT0": "c"}), sums("b", "a", {"OUTPUT0": "c"})),
            "two steps give tensor 'c'",
        ),
        (ensemble(sums("a", "b", {"OUTPUT0": "c"}, version=9)), "its step sums@9 is not loaded"),
        (ensemble(step("gone", -1, {}, {"x": "c"})), "its step gone@any is not loaded"),
        (ensemble(step("all", 1, {"a": "a"}, {"c": "c"})), "its step all@1 is not loaded"),
        (ensemble(step("sums", 1, {"INPUT0": "a"}, {"OUTPUT0": "c"})), "lacks or does not have INPUT1"),
        (ensemble(sums("a", "b", {"OUTPUT7": "c"})), "lacks or does not have OUTPUT7"),
        (
            ensemble(step("softmax", 1, {"image": "a"}, {"probabilities": "c"})),
            "tensor 'a' is not what 'image'",
        ),
        (
            ensemble(sums("a", "b", {"OUTPUT0": "c"}), io=ENSEMBLE_IO.replace("[ 4 ]", "[ 5 ]")),
            "tensor 'a' is not what 'INPUT0'",
        ),
        (
            ensemble(sums("a", "b", {"OUTPUT0": "c"}), batching=""),
            "batches of 0 do not fit its step 'sums' (8)",
        ),
        (
            ensemble(sums("a", "b", {"OUTPUT0": "c"}), batching="max_batch_size: 9\n"),
            "batches of 9 do not fit its step 'sums' (8)",
        ),
        (ensemble(sums("a", "b", {"OUTPUT0": "c"}), io=""), "must name its inputs and outputs"),
        ('platform: "ensemble"', "and its steps come together"),
        (f'backend: "onnxruntime" {BATCHED} ensemble_scheduling {{}}', "and its steps come together"),
    ],
)
def test_an_ensemble_that_does_not_hold_together_is_not_served(
    tmp_path: Path, config: str, words: str
) -> None:
    """The reason names the tensor or the step; its models are served all the same."""
    engine = engine_with(tmp_path, config)
    assert words in engine.failures()["all", 1]
    assert {("sums", 1), ("sums", 2), ("softmax", 1)} == engine.ready_versions()


def test_an_ensemble_answers_as_its_models_do(tmp_path: Path) -> None:
    """The same numbers as a caller gets who carries the tensors from one to the other."""
    config = ensemble(
        step("softmax", 1, {"image": "x"}, {"probabilities": "once"}),
        step("softmax", 1, {"image": "once"}, {"probabilities": "twice"}),
        io='input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
        'output [ { name: "twice" data_type: TYPE_FP32 dims: [ 4 ] }, { name: "once" data_type: TYPE_FP32 dims: [ 4 ] } ]\n',
    )
    engine = engine_with(tmp_path, config)
    answered = outputs(infer(engine, "all", request(tensor("x", "FP32", [1, 4], [1, 2, 3, 4]))))
    by_hand = outputs(infer(engine, "softmax", request(tensor("image", "FP32", [1, 4], [1, 2, 3, 4]))))
    once = by_hand["probabilities"]["data"]
    np.testing.assert_array_equal(answered["once"]["data"], once)
    by_hand = outputs(infer(engine, "softmax", request(tensor("image", "FP32", [1, 4], once))))
    np.testing.assert_array_equal(answered["twice"]["data"], by_hand["probabilities"]["data"])
