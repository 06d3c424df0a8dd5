"""Chats and completions: a request in OpenAI's words becomes one of Triton's generate extension."""

import msgspec

from gateway.dataplane.call import Call
from gateway.dataplane.openai.answer import Answer
from gateway.dataplane.openai.body import adapter_for
from gateway.dataplane.openai.ending import Ending
from gateway.dataplane.openai.gathered import Gathered
from gateway.dataplane.openai.requests import (
    ChatRequest,
    CompletionRequest,
    messages_of,
    refused,
    unsupported,
)
from gateway.dataplane.openai.stream import Stream
from gateway.dataplane.openai.tokens import estimate
from gateway.dataplane.openai.wording import Wording
from gateway.dataplane.plane import Render
from gateway.dataplane.whole_body import WholeBody
from gateway.snapshot.adapters import GenerateAdapter
from gateway.snapshot.compile import Snapshot
from gateway.types import Target

COMPLETION_TOKENS = 16
"""What a plain completion may have where its request does not say (OpenAI API reference, `max_tokens`)."""

_STEERING = {"temperature": None, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""What steers a model, with the value that asks for nothing: a model that cannot be told so is not asked otherwise."""


def translate_text(
    asked: ChatRequest | CompletionRequest, render: Render, target: Target, call: Call, snapshot: Snapshot
) -> None:
    """Have the call ask the alias's model. Raises BAD_REQUEST for what this alias does not do."""
    adapter = adapter_for(call.alias, snapshot, GenerateAdapter, "text")
    chat = isinstance(asked, ChatRequest)
    most = _most_tokens(asked, adapter)
    prompt = render(adapter.template, messages_of(asked)) if isinstance(asked, ChatRequest) else asked.prompt
    assert isinstance(prompt, str)
    text = msgspec.json.encode(_fields(asked, adapter, prompt, most))
    call.body = WholeBody(text, text=text)
    prompt_tokens = estimate(prompt)
    call.trail.expected_tokens = prompt_tokens + most
    ending = Ending(asked.stops, most, limited=adapter.inputs.max_tokens is not None)
    wording = Wording(call.request_id, call.alias, target.served_by, chat=chat)
    answer = Answer(call.trail, adapter.outputs, ending, prompt_tokens, wording)
    call.sink = (
        Stream(call.sink, call.trail, answer, include_usage=asked.include_usage)
        if asked.stream
        else Gathered(call.sink, call.trail, answer.whole)
    )


def _most_tokens(asked: ChatRequest | CompletionRequest, adapter: GenerateAdapter) -> int:
    wanted = asked.limit
    if wanted is None:
        default = adapter.default_tokens if isinstance(asked, ChatRequest) else COMPLETION_TOKENS
        return min(default, adapter.most_tokens)
    if not 1 <= wanted <= adapter.most_tokens:
        name = "max_tokens" if asked.max_tokens == wanted else "max_completion_tokens"
        raise refused(name, f"{name} must be between 1 and {adapter.most_tokens} for this alias")
    return wanted


def _fields(
    asked: ChatRequest | CompletionRequest, adapter: GenerateAdapter, prompt: str, most: int
) -> dict[str, object]:
    """The model's inputs. What it does not take is left out, as far as the gateway can do without."""
    names = adapter.inputs
    fields: dict[str, object] = {**adapter.fields, names.text: prompt}
    if names.max_tokens is not None:
        fields[names.max_tokens] = most
    if names.stream is not None:
        fields[names.stream] = bool(asked.stream)
    if names.stop is not None and asked.stops:
        fields[names.stop] = list(asked.stops)
    if names.seed is not None and asked.seed is not None:
        # OpenAI's may be negative; Triton's models take one without a sign.
        fields[names.seed] = asked.seed % 2**63
    for param, harmless in _STEERING.items():
        value, name = getattr(asked, param), getattr(names, param)
        if value is not None and name is not None:
            fields[name] = value
        elif value is not None and value != harmless:
            raise unsupported(param)
    return fields
