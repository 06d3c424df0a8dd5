"""Signatures: what breaks a caller, and what does not."""

from typing import Any

import pytest

from gateway.artefacts.signature import (
    Signature,
    Tensor,
    breaking_differences,
    disagreements,
    signature_problems,
)

IMAGE = Tensor("image", "FP32", [-1, 64])
SCORES = Tensor("scores", "FP32", [-1, 10])
OLD = Signature([IMAGE], [SCORES])


def tensor(name: str, datatype: Any, *shape: int, optional: bool = False) -> Tensor:
    return Tensor(name, datatype, list(shape), optional)


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ([IMAGE], [SCORES], []),
        ([IMAGE, tensor("seed", "INT64", 1, optional=True)], [SCORES, tensor("more", "BYTES", 1)], []),
        ([tensor("image", "FP32", -1, -1)], [SCORES], []),
        ([tensor("pixels", "FP32", -1, 64)], [SCORES], ["image: is gone", "pixels: is new"]),
        ([IMAGE, tensor("seed", "INT64", 1)], [SCORES], ["input seed: is new and not optional"]),
        ([tensor("image", "FP16", -1, 64)], [SCORES], ["was FP32, is FP16"]),
        ([tensor("image", "FP32", -1, 32)], [SCORES], ["had shape [-1,64], has [-1,32]"]),
        ([tensor("image", "FP32", 8, 64)], [SCORES], ["had shape [-1,64], has [8,64]"]),
        ([tensor("image", "FP32", 64)], [SCORES], ["had shape [-1,64], has [64]"]),
        ([IMAGE], [tensor("label", "BYTES", -1, 1)], ["output scores: is gone"]),
        ([IMAGE], [tensor("scores", "FP32", -1, -1)], ["had shape [-1,10], has [-1,-1]"]),
        ([IMAGE], [tensor("scores", "FP32", 1, 10)], []),
        ([IMAGE], [tensor("scores", "FP64", -1, 11)], ["was FP32, is FP64", "has [-1,11]"]),
    ],
)
def test_what_breaks_a_caller(inputs: list[Tensor], outputs: list[Tensor], words: list[str]) -> None:
    """An input must go on taking all that it took; an output must give nothing that it never gave."""
    found = breaking_differences(OLD, Signature(inputs, outputs))
    assert len(found) == len(words), found
    assert all(word in line for word, line in zip(words, found, strict=True)), found


def test_an_optional_input_that_is_needed_now_breaks() -> None:
    """Whoever left it out is refused from now on."""
    old = Signature([tensor("a", "INT8", 1, optional=True)], [SCORES])
    new = Signature([tensor("a", "INT8", 1)], [SCORES])
    assert breaking_differences(old, new) == ["input a: is not optional any more"]
    assert breaking_differences(new, old) == []


def test_disagreements_name_each_difference_and_whose_it_is() -> None:
    """Missing on either side, another type, another shape, optional or not; nothing where all is alike."""
    one = [IMAGE, tensor("a", "INT8", 1), tensor("b", "INT8", 1)]
    other = [tensor("image", "FP16", -1, 64), tensor("b", "INT8", 2), tensor("c", "INT8", 1)]
    assert disagreements("X", one, "Y", other, "input") == [
        "input a: X has it, Y does not",
        "input b: shape [1] by X, [2] by Y",
        "input c: Y has it, X does not",
        "input image: FP32 by X, FP16 by Y",
    ]
    assert disagreements("X", one, "Y", one, "input") == []


def test_a_name_stands_once_on_each_side() -> None:
    """Twice would be two tensors that nobody can tell apart."""
    twice = Signature([IMAGE, SCORES, IMAGE], [SCORES])
    assert signature_problems(twice, "signature") == ["signature.inputs[2].name: 'image' stands twice"]
