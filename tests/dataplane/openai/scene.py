"""A gateway whose aliases have adapters, in front of a scripted model; and OpenAI's own client of it."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import msgspec
import openai

from gateway.snapshot.adapters import EmbeddingsAdapter, GenerateAdapter, TextInputs
from gateway.snapshot.document import DeprecationEntry, LimitEntry, QuotaEntry, SnapshotDocument
from tests.dataplane.upstream import Talk
from tests.gateway_process import APP, Gateway, alias_entry, changed, document
from tests.patience import PATIENT_S

CHATML = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
SUNSET = 4_000_000_000
TOKENS = 1_000

ADAPTERS = {
    "text": GenerateAdapter(template=CHATML, most_tokens=100, default_tokens=20),
    # A model that knows a prompt, and nothing else.
    "plain": GenerateAdapter(
        inputs=TextInputs(max_tokens=None, temperature=None, stop=None, seed=None, stream=None),
        fields={"exclude_input_in_output": True},
    ),
    "embed": EmbeddingsAdapter(),
    "flat": EmbeddingsAdapter(input="texts", output="vectors", rank=1, tokens="lengths"),
    "metered": GenerateAdapter(),
    "old": GenerateAdapter(),
    "picky": GenerateAdapter(template="{{ raise_exception('speak in turn') }}"),
    "hidden": GenerateAdapter(),
}


def adapted(*endpoints: str) -> SnapshotDocument:
    """Aliases with adapters on version 1 of `m`, and `a`, which has none.

    `metered` has a quota of 1000 tokens a day and 100 requests a minute for each principal; `old` retires.
    """
    found = document(*endpoints)
    known = {alias.name: alias for alias in found.aliases}
    aliases = [
        changed_alias(known.get(name) or alias_entry(name, ("m", 1, 10_000)), adapter=adapter)
        for name, adapter in ADAPTERS.items()
    ]
    aliases += [alias for name, alias in known.items() if name not in ADAPTERS]
    quota = QuotaEntry(
        "metered",
        (LimitEntry("tokens", "tokens", TOKENS, 86_400), LimitEntry("calls", "requests", 100, 60)),
        application="*",
        alias="metered",
    )
    return changed(found, aliases=tuple(aliases), quotas=(quota,))


def changed_alias(alias: Any, **fields: Any) -> Any:
    """With an adapter; the one that is to retire, with its end."""
    if alias.name == "old":
        fields["deprecation"] = DeprecationEntry(1_700_000_000.0, float(SUNSET), "text")
    return msgspec.structs.replace(alias, **fields)


def client(gateway: Gateway, key: str = APP, **options: Any) -> openai.OpenAI:
    """OpenAI's own client, unmodified; it tries once."""
    host, port = gateway.address
    return openai.OpenAI(
        base_url=f"http://{host}:{port}/v1", api_key=key, max_retries=0, timeout=PATIENT_S, **options
    )


def says(text: str, **told: Any) -> bytes:
    """What a model answers to generate."""
    return json.dumps({"model_name": "m", "model_version": "1", "text_output": text, **told}).encode()


def asked(talk: Talk) -> dict[str, Any]:
    """The JSON that the model was sent."""
    found: dict[str, Any] = json.loads(talk.take_body())
    return found


def streams(*events: bytes, whole: bool = True) -> Callable[[Talk], None]:
    """A model that streams these events, one write each; `whole`: and ends."""
    return partial(stream_to, events=events, whole=whole)


def stream_to(talk: Talk, events: Iterable[bytes], *, whole: bool = True) -> None:
    """Stream these events, one write each; `whole`: and end."""
    talk.take_body()
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for event in events:
        data = b"data: " + event + b"\n\n"
        talk.send(b"%x\r\n%b\r\n" % (len(data), data))
    if whole:
        talk.send(b"0\r\n\r\n")


def pieces(*texts: str, reason: str = "stop", counted: bool = True) -> Iterator[bytes]:
    """A stream's events as `tiny-lm` sends them: tokens so far with each piece, the reason with the last."""
    for number, text in enumerate(texts, 1):
        told: dict[str, Any] = {"finish_reason": reason if number == len(texts) else ""}
        if counted:
            told |= {"prompt_tokens": 7, "completion_tokens": number}
        yield says(text, **told)


def lines(body: bytes) -> list[Any]:
    """The data of a stream's events, decoded; the end as the text that it is."""
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event.startswith(b"data: ")]
    return [event.decode() if event == b"[DONE]" else json.loads(event) for event in events]
