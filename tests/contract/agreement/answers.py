"""Calls that get an answer: JSON, binary tensors, raw requests, descriptions."""

import struct

from tests.contract.agreement.case import A2, B2, A, B, Corpus, X
from tests.upstream.embedded.calls import binary, request, strings, tensor, wish


def plain(c: Corpus) -> None:
    c.add("answer with an id", "versions", request(A, B, id="x-7"))
    c.add("another version", "versions", request(A, B), version=3)
    c.add("nested data", "versions", request(A, tensor("INPUT1", "INT32", [1, 4], [[1, 2, 3, 4]])))
    c.add(
        "unevenly nested data",
        "versions",
        request(A, tensor("INPUT1", "INT32", [1, 4], [[1, [2]], [[3, 4]]])),
    )
    c.add("a batch of two", "versions", request(A2, B2))
    c.add("one output", "versions", request(A, B, outputs=[wish("OUTPUT1")]))
    c.add("both outputs", "versions", request(A, B, outputs=[wish("OUTPUT1"), wish("OUTPUT0")]))
    c.add("no outputs named", "versions", request(A, B, outputs=[]))
    c.add(
        "an output twice",
        "versions",
        request(A, B, outputs=[wish("OUTPUT1"), wish("OUTPUT1", binary_data=True)]),
    )
    c.add("unknown parameters", "versions", request(A, B, parameters={"a": 1, "b": "x", "c": True, "d": 1.5}))
    c.add(
        "protocol parameters",
        "versions",
        request(A, B, parameters={"priority": 1, "timeout": 0, "sequence_id": 5}),
    )
    c.add("unknown fields", "versions", request(A, B, more=1))
    c.add("unicode id", "versions", request(A, B, id='é☃"\\/\n'))
    c.add("empty id", "versions", request(A, B, id=""))
    c.add("zero elements", "identity_fp32", request(tensor("INPUT0", "FP32", [0, 4], [])))
    c.add("a reshaped tensor", "column", request(tensor("x", "FP32", [2, 2], [1, 2, 3, 4])))
    c.add("a model that can do it", "picky", request(tensor("x", "FP32", [4], [1, 2, 3, 4])))
    c.add("a model that fails", "picky", request(tensor("x", "FP32", [5], [1] * 5)))
    c.add("softmax", "scores", request(X))
    c.add(
        "six times FP32", "identity_fp32", request(tensor("INPUT0", "FP32", [1, 4], [0.1, 1e-30, 1e30, 1e39]))
    )
    c.add("FP64", "identity_fp64", request(tensor("INPUT0", "FP64", [1, 4], [0.1, 1e-300, 1e300, -0.0])))
    c.add("greatest UINT64", "identity_uint64", request(tensor("INPUT0", "UINT64", [1, 1], [2**64 - 1])))
    c.add("least INT64", "identity_int64", request(tensor("INPUT0", "INT64", [1, 1], [-(2**63)])))
    c.add("BOOL", "identity_bool", request(tensor("INPUT0", "BOOL", [1, 2], [True, False])))
    c.add("BYTES", "identity_bytes", request(tensor("INPUT0", "BYTES", [2, 2], ["a", "", "é😀", "a\0b"])))
    for datatype in ("INT8", "INT16", "INT32", "UINT8", "UINT16", "UINT32"):
        c.add(
            f"JSON {datatype}",
            f"identity_{datatype.lower()}",
            request(tensor("INPUT0", datatype, [1, 3], [0, 1, 99])),
        )


def binaries(c: Corpus) -> None:
    raw = struct.pack("<4f", 1, 2, 3, 4)
    data = tensor("INPUT0", "FP32", [1, 4], binary_data_size=16)
    c.add("binary in", "identity_fp32", binary(request(data), raw))
    c.add(
        "binary both ways",
        "identity_fp32",
        binary(request(data, parameters={"binary_data_output": True}), raw),
    )
    c.add(
        "binary output",
        "identity_fp32",
        binary(request(data, outputs=[wish("OUTPUT0", binary_data=True)]), raw),
    )
    c.add(
        "an output named overrides the default",
        "identity_fp32",
        binary(request(data, parameters={"binary_data_output": True}, outputs=[wish("OUTPUT0")]), raw),
    )
    c.add(
        "binary zero elements",
        "identity_fp32",
        binary(
            request(
                tensor("INPUT0", "FP32", [0, 4], binary_data_size=0), parameters={"binary_data_output": True}
            )
        ),
    )
    for datatype, size in {
        "BOOL": 1,
        "UINT8": 1,
        "INT8": 1,
        "UINT16": 2,
        "INT16": 2,
        "FP16": 2,
        "UINT32": 4,
    }.items():
        entry = tensor("INPUT0", datatype, [2, 4 // size], binary_data_size=8)
        header = request(entry, parameters={"binary_data_output": True})
        c.add(f"binary {datatype}", f"identity_{datatype.lower()}", binary(header, bytes(range(8))))
    for datatype in ("INT64", "UINT64", "FP64"):
        header = request(
            tensor("INPUT0", datatype, [1, 1], binary_data_size=8), parameters={"binary_data_output": True}
        )
        c.add(f"binary {datatype}", f"identity_{datatype.lower()}", binary(header, bytes(range(8))))
    texts = strings(b"ab", b"", "é".encode())
    entry = tensor("INPUT0", "BYTES", [1, 3], binary_data_size=len(texts))
    c.add("binary BYTES", "identity_bytes", binary(request(entry), texts))
    c.add(
        "BYTES both ways",
        "identity_bytes",
        binary(request(entry, parameters={"binary_data_output": True}), texts),
    )
    zero = {b"inference-header-content-length": b"0"}
    c.add("raw", "scores", raw, headers=zero)
    c.add("raw, two rows", "scores", raw * 2, headers=zero)
    c.add("raw BYTES", "text", b"hello", headers=zero)
    c.add("raw, empty", "scores", b"", headers=zero)
    c.add("raw, ragged", "scores", raw + b"x", headers=zero)
    c.add("raw, two varying dimensions", "identity_fp32", raw, headers=zero)
    c.add("raw, two inputs", "versions", raw, headers=zero)


def descriptions(c: Corpus) -> None:
    for operation in ("metadata", "config", "stats", "ready"):
        c.add(f"{operation} of a batching model", "versions", b"", operation=operation)
        c.add(f"{operation} of a model without batching", "scores", b"", operation=operation)
        c.add(f"{operation} of a version left out", "versions", b"", operation=operation, version=2)
        c.add(f"{operation} of an unknown model", "nope", b"", operation=operation)
    image = tensor("image", "FP32", [1, 64], [float(n % 17) for n in range(64)])
    for version in (1, 2, 3):
        best = [wish("probabilities", classification=3)]
        c.add(f"digits {version}", "digits", request(image), version=version)
        c.add(f"best digits {version}", "digits", request(image, outputs=best), version=version)
        for operation in ("metadata", "config", "stats", "ready"):
            c.add(f"{operation} of digits {version}", "digits", b"", operation=operation, version=version)
    c.add("a version left out", "versions", request(A, B), version=2)
    c.add("a version that is not there", "versions", request(A, B), version=9)
    c.add("an unknown model", "nope", request(A, B))
