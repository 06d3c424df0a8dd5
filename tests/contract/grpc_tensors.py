"""tritonclient's gRPC client as an application sets it up."""

from typing import Any

import numpy as np
import tritonclient.grpc as sync

from tests.contract.conftest import Served
from tests.contract.harness import Key


class Caller:
    """A client of a gateway's gRPC port that sends a key with each call: the one line that an application adds."""

    def __init__(self, client: Any, key: Key | None) -> None:
        self.client = client
        self.headers = {} if key is None else {"authorization": f"Bearer {key.text}"}

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.client, name)

        def with_key(*arguments: Any, headers: dict[str, str] | None = None, **named: Any) -> Any:
            return call(*arguments, headers={**self.headers, **(headers or {})}, **named)

        return with_key


def connect(served: Served, key: Key | None = None) -> Caller:
    """A client with the app's key, or another."""
    return Caller(sync.InferenceServerClient(served.gateway.grpc_target), key or served.app)


def tensor(name: str, values: np.ndarray, datatype: str) -> sync.InferInput:
    """One input of a request."""
    made = sync.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made
