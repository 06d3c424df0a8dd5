"""Triton's extensions: classification, compression, generate."""

import gzip
import json
import zlib
from typing import Any

from tests.contract.agreement.case import A2, B2, FIELDS, KIND, STRICT, A, B, Corpus, X
from tests.upstream.embedded.calls import binary, request, tensor, wish


def classification(c: Corpus) -> None:
    for classes in (1, 4, 100):
        c.add(
            f"{classes} classes",
            "scores",
            request(X, outputs=[wish("probabilities", classification=classes)]),
        )
    c.add("0 classes", "scores", request(X, outputs=[wish("probabilities", classification=0)]))
    c.add(
        "binary classes",
        "scores",
        request(X, outputs=[wish("probabilities", classification=2, binary_data=True)]),
    )
    c.add(
        "classes of a batch",
        "versions",
        request(A2, B2, outputs=[wish("OUTPUT0", classification=2), wish("OUTPUT1", classification=9)]),
    )
    ties = tensor("INPUT0", "FP32", [1, 6], [1, 2, 1, 2, 1, 2])
    c.add("equal classes", "identity_fp32", request(ties, outputs=[wish("OUTPUT0", classification=6)]))
    wide = tensor("INPUT0", "FP64", [1, 4], [0.1, 1e20, -1e-7, 1 / 3])
    c.add("FP64 classes", "identity_fp64", request(wide, outputs=[wish("OUTPUT0", classification=4)]))
    whole = tensor("INPUT0", "INT64", [1, 3], [-5, 2**62, 7])
    c.add("INT64 classes", "identity_int64", request(whole, outputs=[wish("OUTPUT0", classification=3)]))
    flags = tensor("INPUT0", "BOOL", [1, 2], [True, False])
    c.add("classes of BOOL", "identity_bool", request(flags, outputs=[wish("OUTPUT0", classification=2)]))
    for value in (-1, "1", 1.0, True):
        c.add(
            f"classes {value!r}",
            "scores",
            request(X, outputs=[wish("probabilities", classification=value)]),
            ours=400,
            because=KIND,
        )
    shared = wish("probabilities", classification=1, shared_memory_region="r")
    c.add("classes into shared memory", "scores", request(X, outputs=[shared]))


def compression(c: Corpus) -> None:
    body = request(A, B)
    c.add("gzip", "versions", gzip.compress(body), headers={b"content-encoding": b"gzip"})
    c.add("deflate", "versions", zlib.compress(body), headers={b"content-encoding": b"deflate"})
    c.add("gzip named deflate", "versions", gzip.compress(body), headers={b"content-encoding": b"deflate"})
    c.add("identity", "versions", body, headers={b"content-encoding": b"identity"})
    c.add(
        "brotli",
        "versions",
        body,
        headers={b"content-encoding": b"br"},
        ours=415,
        because="the status of HTTP for it",
    )
    c.add("gzip of nothing", "versions", b"", headers={b"content-encoding": b"gzip"})
    c.add("no gzip", "versions", body, headers={b"content-encoding": b"gzip"}, other_words=True)
    cut = gzip.compress(body)[:-9]
    c.add(
        "cut gzip",
        "versions",
        cut,
        headers={b"content-encoding": b"gzip"},
        ours=400,
        because=STRICT,
        other_words=True,
    )
    for accept in (
        b"gzip",
        b"deflate",
        b"deflate, gzip",
        b"gzip;q=0.5, deflate;q=0.8",
        b"br",
        b"gzip;q=0",
        b"*",
    ):
        c.add(f"accepts {accept.decode()}", "versions", body, headers={b"accept-encoding": accept})
    packed = binary(
        request(
            tensor("INPUT0", "FP32", [1, 4], binary_data_size=16), parameters={"binary_data_output": True}
        ),
        bytes(16),
    )
    coded = {**packed[1], b"content-encoding": b"gzip", b"accept-encoding": b"gzip"}
    c.add("binary in gzip both ways", "identity_fp32", gzip.compress(packed[0]), headers=coded)


def generate(c: Corpus) -> None:
    def add(name: str, model: str, body: Any, **fields: Any) -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        for operation in ("generate", "generate_stream"):
            c.add(f"{operation}: {name}", model, text, operation=operation, **fields)

    add("fields", "fields", FIELDS)
    add("an id", "fields", {**FIELDS, "id": "abc"})
    add("parameters", "fields", {**FIELDS, "temperature": 0.5, "parameters": {"a": 1, "c": "x"}})
    add("inputs as parameters", "fields", {"parameters": FIELDS})
    add("one number", "fields", {**FIELDS, "f": 1})
    add("no number", "fields", {**FIELDS, "f": []})
    add("text", "text", {"text_input": ["hi"]})
    add("rows", "scores", {"image": [1, 2, 3, 4, 5, 6, 7, 8]})
    add("several texts", "identity_bytes", {"INPUT0": ["a", "b", "c"]})
    add("an input missing", "fields", {"text": "x"})
    add("ragged rows", "scores", {"image": [1, 2, 3]})
    add("nested rows", "scores", {"image": [[1, 2, 3, 4]]})
    add("batches differ", "fields", {**FIELDS, "text": ["a", "b"]})
    add("an array as parameter", "fields", {**FIELDS, "x": [1]})
    add("FP16", "identity_fp16", {"INPUT0": [1, 2]})
    add("a key twice", "fields", b'{"text":"a","text":"b","n":1,"f":[1],"b":true}', other_words=True)
    add("gzip", "fields", FIELDS, headers={b"content-encoding": b"gzip"})
    add("a wrong kind", "fields", {**FIELDS, "n": "x"}, ours=400, because=KIND)
    add("an id that is no text", "fields", {**FIELDS, "id": 4}, ours=400, because=KIND)
    add("parameters that are no object", "fields", {**FIELDS, "parameters": 3}, ours=400, because=KIND)
    add("an array", "fields", b"[]", ours=400, because=KIND)
    add("cut JSON", "fields", b"{", ours=400, because=KIND, other_words=True)
    add("a model that fails", "picky", {"x": [1, 2, 3, 4, 5]})
    add("an unknown model", "nope", FIELDS)
