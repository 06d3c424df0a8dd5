"""What a translated call says of its body, and the adapter that says how it is made."""

from typing import TypeVar

from gateway.dataplane.openai.requests import refused
from gateway.snapshot.adapters import EmbeddingsAdapter, GenerateAdapter
from gateway.snapshot.compile import Snapshot

A = TypeVar("A", GenerateAdapter, EmbeddingsAdapter)

HEADERS = b"Content-Type: application/json\r\n"


def adapter_for(alias: str, snapshot: Snapshot, kind: type[A], what: str) -> A:
    """The alias's adapter, if it gives `what` is asked for. Raises BAD_REQUEST."""
    adapter = snapshot.adapters.get(alias)
    if adapter is None:
        raise refused(
            "model",
            f"Alias {alias!r} is not called by way of this API; its owner can give it an adapter",
            "model_not_supported",
        )
    if not isinstance(adapter, kind):
        raise refused("model", f"Alias {alias!r} does not give {what}", "model_not_supported")
    return adapter
