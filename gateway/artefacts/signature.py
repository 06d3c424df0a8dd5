"""A version's signature, as callers see it: names, types and shapes of what goes in and comes out; and how two compare."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, get_args

import msgspec

Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BF16",
    "BYTES",
]
DATATYPES: tuple[Datatype, ...] = get_args(Datatype)

TensorName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*(?![\s\S])")
]
Dimension = Annotated[int, msgspec.Meta(ge=-1, le=2**53)]
Shape = Annotated[list[Dimension], msgspec.Meta(max_length=32)]


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An input or output. `shape` has the batch as its first dimension where there is one; -1 varies."""

    name: TensorName
    datatype: Datatype
    shape: Shape
    optional: bool = False


Tensors = Annotated[list[Tensor], msgspec.Meta(min_length=1, max_length=1000)]


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a version takes and gives."""

    inputs: Tensors
    outputs: Tensors


def signature_problems(signature: Signature, where: str) -> list[str]:
    """Names that stand twice, which no server would take; one line each."""
    problems = []
    for side, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        names = [tensor.name for tensor in tensors]
        problems += [
            f"{where}.{side}[{index}].name: {name!r} stands twice"
            for index, name in enumerate(names)
            if name in names[:index]
        ]
    return problems


def breaking_differences(old: Signature, new: Signature) -> list[str]:
    """What a caller of `old` cannot go on with when `new` answers; one line each, empty where all can.

    A new optional input and a new output break nobody. Of an input the new version must take every shape that the old
    one took; of an output it must give no shape that the old one never gave.
    """
    found = []
    inputs, outputs = _by_name(new.inputs), _by_name(new.outputs)
    for tensor in old.inputs:
        found += _input_broken(tensor, inputs.get(tensor.name))
    known = _by_name(old.inputs)
    found += [
        f"input {tensor.name}: is new and not optional"
        for tensor in new.inputs
        if tensor.name not in known and not tensor.optional
    ]
    for tensor in old.outputs:
        found += _output_broken(tensor, outputs.get(tensor.name))
    return found


def disagreements(
    first: str, one: Sequence[Tensor], second: str, other: Sequence[Tensor], side: str
) -> list[str]:
    """Where two descriptions of the same tensors differ; each named by `first` and `second`, which say whose they are."""
    found = []
    ones, others = _by_name(one), _by_name(other)
    for name in ones.keys() | others.keys():
        left, right = ones.get(name), others.get(name)
        if left is None or right is None:
            has, lacks = (second, first) if left is None else (first, second)
            found.append(f"{side} {name}: {has} has it, {lacks} does not")
        elif left.datatype != right.datatype:
            found.append(f"{side} {name}: {left.datatype} by {first}, {right.datatype} by {second}")
        elif left.shape != right.shape:
            found.append(
                f"{side} {name}: shape {shape_text(left.shape)} by {first}, {shape_text(right.shape)} by {second}"
            )
        elif left.optional != right.optional:
            optional, needed = (first, second) if left.optional else (second, first)
            found.append(f"{side} {name}: optional by {optional}, needed by {needed}")
    return sorted(found)


def shape_text(shape: Sequence[int]) -> str:
    """`[-1,64]`."""
    return f"[{','.join(map(str, shape))}]"


def _input_broken(old: Tensor, new: Tensor | None) -> list[str]:
    if new is None:
        return [f"input {old.name}: is gone or has another name"]
    found = _datatype_broken("input", old, new)
    if old.optional and not new.optional:
        found.append(f"input {old.name}: is not optional any more")
    takes_all = len(old.shape) == len(new.shape) and all(
        now in (-1, before) for before, now in zip(old.shape, new.shape, strict=True)
    )
    return found if takes_all else [*found, _shapes("input", old, new)]


def _output_broken(old: Tensor, new: Tensor | None) -> list[str]:
    if new is None:
        return [f"output {old.name}: is gone or has another name"]
    found = _datatype_broken("output", old, new)
    gives_known = len(old.shape) == len(new.shape) and all(
        before in (-1, now) for before, now in zip(old.shape, new.shape, strict=True)
    )
    return found if gives_known else [*found, _shapes("output", old, new)]


def _datatype_broken(side: str, old: Tensor, new: Tensor) -> list[str]:
    same = old.datatype == new.datatype
    return [] if same else [f"{side} {old.name}: was {old.datatype}, is {new.datatype}"]


def _shapes(side: str, old: Tensor, new: Tensor) -> str:
    return f"{side} {old.name}: had shape {shape_text(old.shape)}, has {shape_text(new.shape)}"


def _by_name(tensors: Sequence[Tensor]) -> Mapping[str, Tensor]:
    return {tensor.name: tensor for tensor in tensors}
