"""What can be asked for in OpenAI's words, read strictly. What would change the answer and cannot be had is refused by name."""

import re
from typing import Annotated, Any, Final, TypeVar

import msgspec

from gateway.errors import GatewayError, Kind
from gateway.strict_json import decode_body

T = TypeVar("T", bound=msgspec.Struct)

MOST_MESSAGES: Final = 4096
MOST_STOPS: Final = 16
LONGEST_STOP: Final = 512
MOST_INPUTS: Final = 2048
"""Texts of one request for embeddings; OpenAI's own limit."""

_SMALL_BODY = 64 * 1024
_MOST_QUOTES, _MOST_STRUCTURE = 100_000, 256 * 1024
"""Of quotes that begin or end a text, and of characters outside of texts: 4096 messages have far fewer. A body of nothing but
brackets would hold up everybody for most of a second."""

_WHERE = re.compile(r"([A-Za-z0-9_.\[\]]+): ")
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


class Part(msgspec.Struct):
    """A part of a message's content; only text is known here."""

    type: str
    text: str | None = None


class Message(msgspec.Struct):
    """One message of a chat."""

    role: str
    content: str | list[Part] | None = None
    tool_calls: Any = None


class StreamOptions(msgspec.Struct):
    """How a stream is to be."""

    include_usage: bool | None = None


Model = Annotated[str, msgspec.Meta(max_length=1024)]
"""Longer than any alias, and short enough to be told in an error."""

Given = str | list[str | int | list[int]]
"""A text, several, or the tokens of one or of several: those are read to be refused by name."""

_Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]


class TextRequest(msgspec.Struct):
    """What both ways to ask for text have in common."""

    model: Model
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int | None = None
    logprobs: Any = None
    logit_bias: Any = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end the answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def limit(self) -> int | None:
        """The tokens that the answer may have."""
        return self.max_tokens

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with what it used."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


class ChatRequest(TextRequest, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    top_logprobs: Any = None
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    response_format: Any = None
    modalities: Any = None
    audio: Any = None
    web_search_options: Any = None

    @property
    def limit(self) -> int | None:
        """The tokens that the answer may have."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class CompletionRequest(TextRequest, kw_only=True):
    """`POST /v1/completions`."""

    prompt: Given
    suffix: str | None = None
    echo: bool | None = None
    best_of: int | None = None


class EmbeddingsRequest(msgspec.Struct):
    """`POST /v1/embeddings`."""

    model: Model
    input: Given
    encoding_format: str | None = None
    dimensions: int | None = None

    @property
    def texts(self) -> list[str]:
        """What is to be embedded. Raises BAD_REQUEST where that is not text."""
        return texts_of("input", self.input)


_WITHOUT_EFFECT: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    "suffix": ("",),
    "echo": (False,),
    "dimensions": (),
}
"""What is not supported, and the values, beside null, that ask for nothing. Fields not named anywhere are ignored."""


def read_chat(body: bytes) -> ChatRequest:
    """The request. Raises BAD_REQUEST, with the parameter that is at fault."""
    asked = _read_text(body, ChatRequest)
    if not 1 <= len(asked.messages) <= MOST_MESSAGES:
        raise refused("messages", f"messages must be 1 to {MOST_MESSAGES} messages")
    for number, message in enumerate(asked.messages):
        where = f"messages[{number}]"
        if message.role not in _ROLES:
            raise refused(where + ".role", f"{where}.role must be one of {', '.join(_ROLES)}")
        if message.tool_calls not in (None, []):
            raise unsupported(where + ".tool_calls")
        if message.content is None:
            raise refused(where + ".content", f"{where}.content is missing")
        for part in message.content if isinstance(message.content, list) else ():
            if part.type != "text" or part.text is None:
                raise refused(where + ".content", f"{where}.content may have parts of type 'text' alone")
    return asked


def read_completion(body: bytes) -> CompletionRequest:
    """The request. Raises BAD_REQUEST, with the parameter that is at fault."""
    asked = _read_text(body, CompletionRequest)
    texts = texts_of("prompt", asked.prompt)
    if len(texts) != 1:
        raise refused("prompt", "prompt must be one text; ask once for each", "unsupported_parameter")
    asked.prompt = texts[0]
    return asked


def read_embeddings(body: bytes) -> EmbeddingsRequest:
    """The request. Raises BAD_REQUEST, with the parameter that is at fault."""
    asked = _read(body, EmbeddingsRequest)
    if asked.encoding_format not in (None, "float", "base64"):
        raise refused("encoding_format", "encoding_format must be float or base64")
    texts = asked.texts
    if not 1 <= len(texts) <= MOST_INPUTS:
        raise refused("input", f"input must be a text, or a list of 1 to {MOST_INPUTS} texts")
    if not all(texts):
        raise refused("input", "input may have no empty text")
    return asked


def texts_of(param: str, given: Given) -> list[str]:
    """The texts of this parameter. Raises BAD_REQUEST where it has tokens: their numbers are those of another model."""
    found = [given] if isinstance(given, str) else [each for each in given if isinstance(each, str)]
    if not isinstance(given, str) and len(found) < len(given):
        why = f"{param} must be text; token ids are not supported here, since each model has its own"
        raise refused(param, why, "unsupported_parameter")
    return found


def messages_of(asked: ChatRequest) -> list[dict[str, object]]:
    """The messages as templates see them: role and text. `developer` is `system` by its newer name."""
    return [
        {
            "role": _ROLES[message.role],
            "content": message.content
            if isinstance(message.content, str)
            else "\n".join(part.text or "" for part in message.content or ()),
        }
        for message in asked.messages
    ]


def refused(param: str, why: str, code: str = "invalid_value") -> GatewayError:
    """What is said of a parameter that cannot be; `why` without a full stop."""
    return GatewayError(Kind.BAD_REQUEST, f"{why}.", members={"param": param, "code": code})


def unsupported(param: str) -> GatewayError:
    """What is said of a parameter that this gateway, or the alias's model, does not have."""
    return refused(param, f"{param} is not supported here; leave it out", "unsupported_parameter")


def _read_text(body: bytes, kind: type[T]) -> T:
    asked = _read(body, kind)
    assert isinstance(asked, TextRequest)
    if not len(asked.stops) <= MOST_STOPS or not all(1 <= len(stop) <= LONGEST_STOP for stop in asked.stops):
        raise refused("stop", f"stop may be up to {MOST_STOPS} texts of 1 to {LONGEST_STOP} characters")
    return asked


def _read(body: bytes, kind: type[T]) -> T:
    if len(body) > _SMALL_BODY and _is_all_structure(body):
        raise GatewayError(Kind.BAD_REQUEST, "The body has more values than any request needs.")
    try:
        asked = decode_body(body, kind)
    except GatewayError as error:
        problem = error.problems[0] if error.problems else None
        param = None if problem is None else _WHERE.match(problem)
        raise GatewayError(
            Kind.BAD_REQUEST,
            error.detail if problem is None else f"{problem}.",
            members={"param": param and param[1]},
        ) from error
    for name in kind.__struct_fields__:
        harmless = _WITHOUT_EFFECT.get(name)
        value = getattr(asked, name)
        if harmless is not None and value is not None and not any(value == each for each in harmless):
            raise unsupported(name)
    return asked


def _is_all_structure(body: bytes) -> bool:
    """Whether the body is made of small values, without looking at each of them."""
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > _MOST_QUOTES:
        return True
    return sum(map(len, plain.split(b'"')[::2])) > _MOST_STRUCTURE
