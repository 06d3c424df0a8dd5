"""tritonclient as an application sets it up, and the tensors that the tests send with it."""

from typing import Any

import numpy as np
import tritonclient.http as sync

from tests.contract.conftest import Served
from tests.contract.harness import Key

DTYPE_OF = {
    "BOOL": np.bool_,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}


class Credential(sync.InferenceServerClientPlugin):  # type: ignore[misc]
    """Puts the key into every request: the one line that an application adds."""

    def __init__(self, key: Key) -> None:
        self._headers = key.headers

    def __call__(self, request: Any) -> None:
        request.headers.update(self._headers)


def connect(served: Served, key: Key | None = None) -> sync.InferenceServerClient:
    """A client with this key, else the app's."""
    client = sync.InferenceServerClient(served.gateway.inference, concurrency=4)
    client.register_plugin(Credential(key or served.app))
    return client


def numbers(datatype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values of a data type, its extremes among them."""
    count = int(np.prod(shape))
    if datatype == "BYTES":
        texts = [b"", "grün".encode(), b"\x01long " * 9, b"plain"]
        return np.array([texts[i % 4] for i in range(count)], dtype=np.object_).reshape(shape)
    if datatype == "BOOL":
        return (np.arange(count) % 3 == 0).reshape(shape)
    kind = np.dtype(DTYPE_OF.get(datatype) or datatype.lower())
    if kind.kind == "f":
        return (np.arange(count) / 8 - 1).astype(kind).reshape(shape)
    values = np.arange(count).astype(kind)
    if count:
        values[-1], values[0] = np.iinfo(kind).max, np.iinfo(kind).min
    return values.reshape(shape)


def as_bytes(values: np.ndarray) -> np.ndarray:
    """The tensor; of texts, which the client reads from JSON as str and from binary as bytes, as bytes."""
    if values.dtype != np.object_:
        return values
    texts = [text.encode() if isinstance(text, str) else bytes(text) for text in values.flat]
    return np.array(texts, dtype=np.object_).reshape(values.shape)


def tensor(name: str, values: np.ndarray, datatype: str, *, binary: bool = True) -> sync.InferInput:
    """One input of a request, in its binary or JSON form."""
    made = sync.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def image() -> np.ndarray:
    """A picture as the data set has them, 0 to 16."""
    return (np.arange(64) % 17).astype(np.float32).reshape(1, 64)
