"""Requests that are broken before any tensor is looked at: sizes, framing, JSON."""

import struct
from typing import Any

from tests.contract.agreement.case import KIND, A, B, Corpus
from tests.upstream.embedded.calls import binary, request, strings, tensor, wish


def bad_binaries(c: Corpus) -> None:
    raw = struct.pack("<4f", 1, 2, 3, 4)

    def sized(size: Any) -> bytes:
        return request(tensor("INPUT0", "FP32", [1, 4], binary_data_size=size))

    c.add("short", "identity_fp32", binary(sized(16), raw[:8]))
    c.add("long", "identity_fp32", binary(sized(16), raw + b"xx"))
    c.add("size below shape", "identity_fp32", binary(sized(12), raw[:12]))
    c.add("size above shape", "identity_fp32", binary(sized(20), raw + raw[:4]))
    c.add("size zero", "identity_fp32", binary(sized(0)))
    c.add("size huge", "identity_fp32", binary(sized(2**62), raw))
    for size in (-1, "16", 16.0, 2**64):
        c.add(f"size {size!r}", "identity_fp32", binary(sized(size), raw), ours=400, because=KIND)
    both = tensor("INPUT0", "FP32", [1, 4], [1, 2, 3, 4], binary_data_size=16)
    c.add("data and binary", "identity_fp32", binary(request(both), raw))
    c.add("binary without the header field", "identity_fp32", sized(16))
    for length in (b"1000", b"-1", b"99999999999"):
        words = {"other_words": True} if length == b"-1" else {}
        header = {b"inference-header-content-length": length}
        c.add(f"header length {length!r}", "identity_fp32", sized(16) + raw, headers=header, **words)
    for length in (b"12abc", b"+5"):
        header = {b"inference-header-content-length": length}
        because = "Triton reads the digits at the start and fails on the JSON that this cuts off"
        c.add(
            f"header length {length!r}",
            "identity_fp32",
            sized(16) + raw,
            headers=header,
            ours=400,
            because=because,
            other_words=True,
        )
    cut = sized(16)
    c.add(
        "header length one short",
        "identity_fp32",
        cut + raw,
        headers={b"inference-header-content-length": str(len(cut) - 1).encode()},
        ours=400,
        because=KIND,
        other_words=True,
    )

    def texts(raw: bytes, shape: list[int]) -> tuple[bytes, dict[bytes, bytes]]:
        return binary(request(tensor("INPUT0", "BYTES", shape, binary_data_size=len(raw))), raw)

    c.add("BYTES too few", "identity_bytes", texts(strings(b"ab"), [1, 2]))
    c.add("BYTES too many", "identity_bytes", texts(strings(b"ab", b"c"), [1, 1]))
    c.add("BYTES cut", "identity_bytes", texts(strings(b"ab")[:-1], [1, 1]))
    c.add("BYTES length cut", "identity_bytes", texts(b"\1\0", [1, 1]))
    c.add("BYTES huge length", "identity_bytes", texts(b"\xff\xff\xff\xffa", [1, 1]))
    c.add("BYTES trailing", "identity_bytes", texts(strings(b"ab") + b"\1", [1, 1]))


def bad_documents(c: Corpus) -> None:
    for missing in ("name", "datatype", "shape"):
        entry = {key: value for key, value in B.items() if key != missing}
        c.add(f"no {missing}", "versions", request(A, entry), ours=400, because=KIND)
    c.add("a name that is no text", "versions", request(A, {**B, "name": 3}), ours=400, because=KIND)
    c.add("no inputs field", "versions", b'{"id":"3"}', ours=400, because=KIND)
    c.add("inputs that are no array", "versions", b'{"inputs":{}}', ours=400, because=KIND)
    c.add("inputs that are numbers", "versions", b'{"inputs":[1,2]}')
    c.add("null inputs", "versions", b'{"inputs":null}', ours=400, because=KIND)
    c.add("an array", "versions", b"[]", ours=400, because=KIND)
    c.add("an empty body", "versions", b"")
    c.add("an id that is no text", "versions", request(A, B, id=5), ours=400, because=KIND)
    c.add("outputs that are no array", "versions", request(A, B, outputs={}), ours=400, because=KIND)
    c.add("an output without a name", "versions", request(A, B, outputs=[{}]), ours=400, because=KIND)
    c.add(
        "binary_data that is no boolean",
        "versions",
        request(A, B, outputs=[wish("OUTPUT0", binary_data="x")]),
        ours=400,
        because=KIND,
    )
    for name, value in {
        "priority": -1,
        "timeout": "x",
        "sequence_start": 1,
        "sequence_id": -1,
        "binary_data_output": 1,
    }.items():
        c.add(f"a wrong {name}", "versions", request(A, B, parameters={name: value}), ours=400, because=KIND)
    c.add("a reserved parameter", "versions", request(A, B, parameters={"triton_x": 1}))
    c.add("a null parameter", "versions", request(A, B, parameters={"foo": None}))
    c.add("parameters that are no object", "versions", request(A, B, parameters=[]), ours=400, because=KIND)
    syntax: dict[str, Any] = {"ours": 400, "because": KIND, "other_words": True}
    c.add("cut JSON", "versions", b'{"inputs":', **syntax)
    c.add("junk after JSON", "versions", request(A, B) + b"xx", **syntax)
    c.add(
        "a lone surrogate", "identity_bytes", request(tensor("INPUT0", "BYTES", [1, 1], ["\ud800"])), **syntax
    )
    c.add(
        "a number beyond doubles",
        "identity_fp32",
        request(tensor("INPUT0", "FP32", [1, 1], [1])).replace(b"[1]}", b"[1e999]}"),
        **syntax,
    )
    c.add("100 000 arrays deep", "versions", b"[" * 100_000, **syntax)
    strict: dict[str, Any] = {"ours": 400, "because": "no JSON", "other_words": True}
    c.add("NaN", "identity_fp32", request(tensor("INPUT0", "FP32", [1, 1], [float("nan")])), **strict)
    c.add("a key twice", "versions", request(A, B)[:-1] + b',"inputs":[]}', **strict)
