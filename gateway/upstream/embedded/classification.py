"""The classification extension: an output's best classes as `score:index` or `score:index:label` strings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gateway.upstream.embedded.datatypes import BINARY_ONLY, DataType
from gateway.upstream.embedded.messages import Refusal


def best_classes(
    output: np.ndarray[Any, Any], datatype: DataType, classes: int, labels: Sequence[str], *, batched: bool
) -> np.ndarray[Any, Any]:
    """The `classes` highest elements, best first, equals by index. Shape [batch, k] or, without a batch, [k].

    Refuses types without an order that Triton knows.
    """
    if datatype.numpy.kind not in "iuf" or datatype in BINARY_ONLY:
        raise Refusal(400, f"class result not available for output due to unsupported type '{datatype.name}'")
    rows = output.reshape((output.shape[0], -1)) if batched and output.size else output.reshape((1, -1))
    keep = min(classes, rows.shape[1])
    texts = [_row(row, keep, labels) for row in rows]
    shape = (output.shape[0], keep) if batched and output.ndim else (keep,)
    return np.array(texts, dtype=object).reshape(shape)


def _row(scores: np.ndarray[Any, Any], keep: int, labels: Sequence[str]) -> list[str]:
    # Sorting the reversed row, stably, and reading it from the end puts the lower index first among equals.
    last = len(scores) - 1
    order = [last - at for at in np.argsort(scores[::-1], kind="stable")[::-1][:keep].tolist()]
    floating = scores.dtype.kind == "f"
    texts = []
    for index, score in zip(order, scores[order].tolist(), strict=True):
        text = f"{score:f}:{index}" if floating else f"{score}:{index}"
        label = labels[index] if index < len(labels) else ""
        texts.append(f"{text}:{label}" if label else text)
    return texts
