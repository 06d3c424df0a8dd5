"""The sample ensemble: two models, one after the other, that a caller sees as one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.conftest import REPOSITORY, Engine

SCRIPT = REPOSITORY / "build_digits_label.py"
NAMES = (REPOSITORY / "digits" / "labels.txt").read_text().split()


def images(count: int) -> tuple[list[list[float]], list[str]]:
    """Held-out images and the names of the digits that they show."""
    held_out = np.load(REPOSITORY / "digits" / "held_out.npz")
    return held_out["images"][:count].astype(float).tolist(), [NAMES[at] for at in held_out["labels"][:count]]


def flat(rows: list[list[float]]) -> list[float]:
    return [value for row in rows for value in row]


def test_script_makes_the_committed_folders_again(tmp_path: Path) -> None:
    """Byte for byte: nothing in it is trained."""
    subprocess.run([sys.executable, SCRIPT, "--out", tmp_path], capture_output=True, check=True)
    for name in ("digits-names", "digits-label"):
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        assert len(files) == 2
        for path in files:
            assert path.read_bytes() == (REPOSITORY / path.relative_to(tmp_path)).read_bytes()


def test_an_image_goes_in_and_a_word_comes_out(engine: Engine) -> None:
    """The word and the certainty are those of version 2 of `digits`, for many images at once."""
    pixels, shown = images(200)
    answered = engine.infer("digits-label", image=("FP32", [200, 64], flat(pixels)))
    right = sum(label == word for label, word in zip(answered["label"], shown, strict=True))
    assert right >= 190
    scores = engine.infer("digits", version=2, image=("FP32", [200, 64], flat(pixels)))["probabilities"]
    best = np.array(scores).reshape(200, 10)
    assert answered["label"] == [NAMES[at] for at in best.argmax(axis=1)]
    np.testing.assert_allclose(answered["certainty"], best.max(axis=1), rtol=1e-6)


def test_generate_answers_a_word(engine: Engine) -> None:
    """One image as plain JSON."""
    (pixels,), (word,) = images(1)
    assert engine.answer("digits-label", "generate", image=pixels)["label"] == word


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "picture"}, "unexpected inference input 'picture' for model 'digits-label'"),
        ({"shape": [1, 32], "data": [0.0] * 32}, "Expected [-1,64], got [1,32]"),
        ({"shape": [1025, 64], "data": [0.0] * 64 * 1025}, "batch-size must be <= 1024"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(engine: Engine, change: dict[str, Any], words: str) -> None:
    """By the ensemble's own configuration, before any step runs."""
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64} | change
    status, body = engine.post("digits-label", "infer", inputs=[tensor])
    assert status == 400
    assert words in json.loads(body)["error"]


def test_what_passes_between_the_steps_is_not_given_away(engine: Engine) -> None:
    """A tensor inside the ensemble is no output of it."""
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64}
    status, body = engine.post("digits-label", "infer", inputs=[tensor], outputs=[{"name": "scores"}])
    assert (status, json.loads(body)["error"]) == (
        400,
        "unexpected inference output 'scores' for model 'digits-label'",
    )
