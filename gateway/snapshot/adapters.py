"""How an alias's models are called by way of the OpenAI API: which of their inputs and outputs are which."""

import re
from typing import Final, Literal

import msgspec

DEFAULT_TEMPLATE: Final = (
    "{% for message in messages %}\n{{ message.role }}: {{ message.content }}\n{% endfor %}\nassistant: "
)
"""For models that were trained on no chats: a dialogue, written down."""

MOST_TOKENS: Final = 1_000_000
MOST_FIELDS: Final = 32
LONGEST_TEMPLATE: Final = 64 * 1024
"""Characters of a chat template."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


class TextInputs(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The model's names for what a request says; None: the model is not told of it.

    The defaults are those of Triton's TensorRT-LLM backend; vLLM's are the same, but it takes no `stop_words`.
    """

    text: str = "text_input"
    max_tokens: str | None = "max_tokens"
    temperature: str | None = "temperature"
    top_p: str | None = None
    presence_penalty: str | None = None
    frequency_penalty: str | None = None
    stop: str | None = "stop_words"
    seed: str | None = "seed"
    stream: str | None = "stream"


class TextOutputs(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The model's names for what it tells. Of tokens it tells how many there are so far; what it does not tell is estimated."""

    text: str = "text_output"
    prompt_tokens: str | None = "prompt_tokens"
    completion_tokens: str | None = "completion_tokens"
    finish_reason: str | None = "finish_reason"


class GenerateAdapter(
    msgspec.Struct,
    frozen=True,
    tag_field="kind",
    tag="generate",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """A model that goes on with a text, by Triton's generate extension.

    `template` makes a text of the messages of a chat. A request may ask for `most_tokens` at most, and gets up to
    `default_tokens` where it does not say. `fields` are sent with every request as they are.
    """

    template: str = DEFAULT_TEMPLATE
    most_tokens: int = 4096
    default_tokens: int = 256
    inputs: TextInputs = TextInputs()
    outputs: TextOutputs = TextOutputs()
    fields: dict[str, str | int | float | bool] = {}


class EmbeddingsAdapter(
    msgspec.Struct,
    frozen=True,
    tag_field="kind",
    tag="embeddings",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """A model that turns n texts, BYTES of shape [n] or (`rank` 2) [n, 1], into FP32 [n, d], by inference.

    `tokens` is the output, INT32 of n numbers, that tells the tokens of each text, where there is one.
    """

    input: str = "text"
    output: str = "embedding"
    rank: Literal[1, 2] = 2
    tokens: str | None = None


Adapter = GenerateAdapter | EmbeddingsAdapter


def adapter_problems(what: str, adapter: Adapter) -> list[str]:
    """What forbids it, one line each. Whether the template can be used, its own module knows."""
    if isinstance(adapter, EmbeddingsAdapter):
        tensors = {"input": adapter.input, "output": adapter.output, "tokens": adapter.tokens}
        return [
            f"{what}: {side} {name!r} can be no tensor's name"
            for side, name in tensors.items()
            if name is not None and not _NAME.fullmatch(name)
        ] + ([f"{what}: one name stands for both outputs"] if adapter.tokens == adapter.output else [])
    found = []
    if not 1 <= len(adapter.template) <= LONGEST_TEMPLATE:
        found.append(f"{what}: template: must have 1 to {LONGEST_TEMPLATE} characters")
    if not 1 <= adapter.most_tokens <= MOST_TOKENS:
        found.append(f"{what}: most_tokens: must be between 1 and {MOST_TOKENS}")
    if not 1 <= adapter.default_tokens <= adapter.most_tokens:
        found.append(f"{what}: default_tokens: must be between 1 and most_tokens")
    sent: list[str] = [*adapter.fields]
    for side, names in (("inputs", adapter.inputs), ("outputs", adapter.outputs)):
        given = {field: getattr(names, field) for field in names.__struct_fields__}
        used = [name for name in given.values() if name is not None]
        found += [
            f"{what}: {side}: {name!r} can be no tensor's name" for name in used if not _NAME.fullmatch(name)
        ]
        if side == "inputs":
            sent += used
        elif len(set(used)) < len(used):
            found.append(f"{what}: outputs: one name stands for two of them")
    if len(adapter.fields) > MOST_FIELDS or not all(_NAME.fullmatch(name) for name in adapter.fields):
        found.append(
            f"{what}: fields: at most {MOST_FIELDS}, each with a name of letters, digits, '.', '_', '-'"
        )
    if len(set(sent)) < len(sent):
        found.append(f"{what}: inputs, fields: one name stands for two of them")
    return found
