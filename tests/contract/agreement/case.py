"""One call that a real Triton and the embedded engine are both given, and where their answers may differ.

No call here is one that ends the Triton 2.51 process itself (a declared shape whose elements exceed memory,
`classification` of BYTES or of an empty output): those are the embedded engine's own tests.
"""

from typing import Any

import msgspec

from tests.upstream.embedded.calls import tensor


class Case(msgspec.Struct, frozen=True):
    """One call. `ours` is the embedded engine's status where it is not Triton's, `because` the reason.

    `other_words` allows another text: JSON syntax errors are worded by the parser.
    """

    name: str
    operation: str
    model: str
    body: bytes = b""
    headers: dict[bytes, bytes] = {}
    version: int = 1
    ours: int | None = None
    because: str = ""
    other_words: bool = False


class Corpus:
    """The cases, collected by the functions beside this module."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def add(
        self, name: str, model: str, body: bytes | tuple[bytes, dict[bytes, bytes]], **fields: Any
    ) -> None:
        """Adds an inference, or the operation named in `fields`."""
        text, headers = body if isinstance(body, tuple) else (body, {})
        headers = {**headers, **fields.pop("headers", {})}
        self.cases.append(Case(name, fields.pop("operation", "infer"), model, text, headers, **fields))


KIND = "Triton answers 500 for a field of the wrong kind, which is the caller's fault"
STRICT = "refused rather than computed with other data than was sent"
A = tensor("INPUT0", "INT32", [1, 4], [1, 2, 3, 4])
B = tensor("INPUT1", "INT32", [1, 4], [1, 1, 1, 1])
A2 = tensor("INPUT0", "INT32", [2, 4], [1, 2, 3, 4, 9, 8, 7, 7])
B2 = tensor("INPUT1", "INT32", [2, 4], [1] * 8)
X = tensor("image", "FP32", [2, 4], [1, 2, 3, 4, 4, 3, 3, 1])
FIELDS = {"text": "hi", "n": 3, "f": [1.5, 2], "b": True}
