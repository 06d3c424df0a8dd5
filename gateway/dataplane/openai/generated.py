"""What a model generates, as Triton's generate extension says it: JSON, by the names of the alias's adapter."""

from typing import Any

import msgspec

from gateway.errors import GatewayError, Kind, Source
from gateway.snapshot.adapters import TextOutputs


class Piece(msgspec.Struct, frozen=True):
    """A text, or the next piece of one, and what the model tells with it: tokens of prompt and answer so far, why it ended."""

    text: str
    prompt_tokens: int | None = None
    tokens: int | None = None
    reason: str = ""


def read_piece(data: bytes, outputs: TextOutputs) -> Piece:
    """Raises BAD_GATEWAY for what is no such document, or is an error of the model's."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unusable("what is no JSON") from error
    if not isinstance(found, dict):
        raise _unusable("JSON that is no object")
    if "error" in found and outputs.text not in found:
        raise GatewayError(Kind.BAD_GATEWAY, f"The model failed: {found['error']}", source=Source.UPSTREAM)
    text = _one(found, outputs.text)
    if not isinstance(text, str):
        raise _unusable(f"no text in {outputs.text}")
    reason = _one(found, outputs.finish_reason)
    return Piece(
        text,
        _count(found, outputs.prompt_tokens),
        _count(found, outputs.completion_tokens),
        reason if isinstance(reason, str) else "",
    )


def _one(found: dict[str, Any], name: str | None) -> Any:
    """A tensor's one element; Triton writes it bare, or as a list of one."""
    value = None if name is None else found.get(name)
    return value[0] if isinstance(value, list) and value else value


def _count(found: dict[str, Any], name: str | None) -> int | None:
    value = _one(found, name)
    return value if type(value) is int and value >= 0 else None


def _unusable(what: str) -> GatewayError:
    return GatewayError(Kind.BAD_GATEWAY, f"The model's server sent {what}.", source=Source.UPSTREAM)
