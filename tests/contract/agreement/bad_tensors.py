"""Inputs and outputs that do not fit the model or themselves."""

import struct
from typing import Any

from tests.contract.agreement.case import KIND, STRICT, A, B, Corpus
from tests.upstream.embedded.calls import binary, request, tensor, wish


def bad_tensors(c: Corpus) -> None:
    def second(*args: Any, **parameters: Any) -> bytes:
        return request(A, tensor("INPUT1", *args, **parameters))

    c.add("an input missing", "versions", request(A, id="my-id"))
    c.add("an input too many", "versions", request(A, B, tensor("X", "INT32", [1, 4], [1] * 4)))
    c.add("an unknown input", "versions", request(A, tensor("X", "INT32", [1, 4], [1] * 4)))
    c.add("an input twice", "versions", request(A, A))
    c.add("no inputs", "versions", request())
    c.add("an unknown output", "versions", request(A, B, outputs=[wish("NOPE")]))
    c.add("the wrong type", "versions", second("FP32", [1, 4], [1] * 4))
    c.add("an unknown type", "versions", second("FOO", [1, 4], [1] * 4))
    c.add("the wrong shape", "versions", second("INT32", [1, 5], [1] * 5))
    c.add(
        "the wrong rank",
        "versions",
        request(*(tensor(n, "INT32", [4], [1] * 4) for n in ("INPUT0", "INPUT1"))),
    )
    c.add("no dimension", "versions", second("INT32", [], [1]))
    c.add("batches differ", "versions", second("INT32", [2, 4], [1] * 8))
    nine = [tensor(name, "INT32", [9, 4], [1] * 36) for name in ("INPUT0", "INPUT1")]
    c.add("the batch too large", "versions", request(*nine))
    empty = [tensor(name, "INT32", [0, 4], []) for name in ("INPUT0", "INPUT1")]
    c.add("an empty batch", "versions", request(*empty))
    c.add(
        "the wrong rank without batching", "identity_fp32", request(tensor("INPUT0", "FP32", [1, 1, 1], [1]))
    )
    c.add(
        "the wrong fixed dimension", "scores", request(tensor("image", "FP32", [1, 5], [1] * 5), id="my-id")
    )
    c.add("no data", "versions", second("INT32", [1, 4]))
    c.add(
        "a shared memory region",
        "versions",
        second("INT32", [1, 4], shared_memory_region="r"),
        ours=400,
        because="no regions here",
    )
    c.add("a region and data", "versions", second("INT32", [1, 4], [1] * 4, shared_memory_region="r"))
    c.add("FP16 as JSON", "identity_fp16", request(tensor("INPUT0", "FP16", [1, 1], [1.0])))
    c.add("BF16 as JSON", "identity_fp16", request(tensor("INPUT0", "BF16", [1, 1], [1.0])))
    half = binary(request(tensor("INPUT0", "FP16", [1, 2], binary_data_size=4)), struct.pack("<2e", 1.5, -2))
    c.add("FP16 out as JSON", "identity_fp16", half)
    c.add("BYTES too few in JSON", "identity_bytes", request(tensor("INPUT0", "BYTES", [1, 3], ["a", "b"])))
    c.add("BYTES too many in JSON", "identity_bytes", request(tensor("INPUT0", "BYTES", [1, 1], ["a", "b"])))
    for name, data in {
        "too few elements": [1] * 3,
        "too many elements": [1] * 5,
        "a float in INT32": [1.5, 1, 1, 1],
        "a boolean in INT32": [True, 1, 1, 1],
        "a text in INT32": ["1", 1, 1, 1],
        "a null in INT32": [None, 1, 1, 1],
        "an object in INT32": [{}, 1, 1, 1],
        "more than INT64": [2**63, 0, 0, 0],
        "data that is no array": 7,
    }.items():
        c.add(
            name,
            "versions",
            second("INT32", [1, 4], data),
            ours=400,
            because=KIND,
            other_words=name.startswith("more"),
        )
    c.add("more than INT32", "versions", second("INT32", [1, 4], [2**31, 0, 0, 0]), ours=400, because=STRICT)
    c.add(
        "more than UINT8",
        "identity_uint8",
        request(tensor("INPUT0", "UINT8", [1, 1], [300])),
        ours=400,
        because=STRICT,
    )
    c.add(
        "less than UINT8",
        "identity_uint8",
        request(tensor("INPUT0", "UINT8", [1, 1], [-1])),
        ours=400,
        because=KIND,
        other_words=True,
    )
    c.add(
        "a number in BYTES",
        "identity_bytes",
        request(tensor("INPUT0", "BYTES", [1, 1], [1])),
        ours=400,
        because=KIND,
    )
    c.add(
        "a number in BOOL",
        "identity_bool",
        request(tensor("INPUT0", "BOOL", [1, 1], [1])),
        ours=400,
        because=KIND,
    )
    c.add(
        "a boolean in FP32",
        "identity_fp32",
        request(tensor("INPUT0", "FP32", [1, 1], [True])),
        ours=400,
        because=KIND,
    )
    for name, shape in {
        "a negative dimension": [-1, 4],
        "a float dimension": [1.0, 4],
        "a text dimension": ["1", 4],
        "a dimension of 2^64": [2**64, 4],
        "a shape that is no array": 4,
    }.items():
        c.add(name, "versions", second("INT32", shape, [1] * 4), ours=400, because=KIND)
    c.add("dimensions of 2^40", "versions", second("INT32", [2**40, 2**40], [1] * 4), other_words=True)
    c.add(
        "a product that wraps to four",
        "versions",
        second("INT32", [2**62 + 1, 4], [1] * 4),
        ours=400,
        because=STRICT,
    )
    c.add(
        "data beside zero elements",
        "identity_fp32",
        request(tensor("INPUT0", "FP32", [0, 4], [1])),
        ours=400,
        because=STRICT,
    )
