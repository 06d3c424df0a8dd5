"""OpenAI's own client, unmodified, against the sample models of language on a real Triton."""

import asyncio
import base64
import json
import shutil
import struct
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import openai
import pytest

from gateway.snapshot.adapters import EmbeddingsAdapter, GenerateAdapter
from gateway.snapshot.document import ModelEntry, PoolEntry
from gateway.upstream.tritonserver import TritonServer, TritonStartError
from tests.contract.conftest import SAMPLES
from tests.dataplane.openai.scene import changed_alias, client
from tests.dataplane.raw import ask, request
from tests.gateway_process import APP, Gateway, alias_entry, changed, document, running, wait_for

pytestmark = pytest.mark.slow

PROMPT = "The gateway"
MINILM = ("minilm", "minilm-tokenizer", "minilm-encoder")
BUILT = (SAMPLES / "minilm").is_dir()
LAST = "{{ messages[-1].content }}"
"""The model reads one line alone."""


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """With `tiny-lm`, and `minilm` where it is built."""
    folder = tmp_path_factory.mktemp("language")
    for model in ("tiny-lm", *(MINILM if BUILT else ())):
        shutil.copytree(SAMPLES / model, folder / model)
    try:
        server = TritonServer.start(folder, ready_timeout_s=90, extra_args=["--disable-auto-complete-config"])
    except TritonStartError as error:
        pytest.skip(f"Triton does not run here: {error}")
    with server:
        yield server


@pytest.fixture(scope="module")
def gateway(triton: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """In front of it."""
    adapters = {"tiny-lm": GenerateAdapter(template=LAST), "minilm": EmbeddingsAdapter(tokens="tokens")}
    found = changed(
        document(),
        aliases=tuple(
            changed_alias(alias_entry(name, (name, 1, 10_000)), adapter=adapter)
            for name, adapter in adapters.items()
        ),
        models=tuple(ModelEntry(name, "vision", "main", (1,)) for name in adapters),
        pools=(PoolEntry("main", "triton", (triton.http_url,)),),
    )
    with running(tmp_path_factory.mktemp("gateway"), found) as gateway:
        ready = request("/v2/models/tiny-lm/ready", method="GET")
        wait_for(lambda: ask(gateway.address, ready).status == 200, 30, "the model")
        yield gateway


@pytest.fixture
def ai(gateway: Gateway) -> openai.OpenAI:
    """OpenAI's own client."""
    return client(gateway)


def direct(triton: TritonServer, **fields: Any) -> dict[str, Any]:
    """What the model answers without a gateway."""
    url = f"{triton.http_url}/v2/models/tiny-lm/generate"
    asked = urllib.request.Request(url, json.dumps({"text_input": PROMPT, **fields}).encode())
    with urllib.request.urlopen(asked, timeout=30) as reply:
        found: dict[str, Any] = json.loads(reply.read())
        return found


def test_a_chat_and_a_completion_say_what_the_model_says(triton: TritonServer, ai: openai.OpenAI) -> None:
    """Text, tokens and the reason why it ended."""
    said = direct(triton, max_tokens=40, temperature=0)
    completion = ai.completions.create(model="tiny-lm", prompt=PROMPT, max_tokens=40, temperature=0)
    chat = ai.chat.completions.create(
        model="tiny-lm", messages=[{"role": "user", "content": PROMPT}], max_tokens=40, temperature=0
    )
    for text, found in (
        (completion.choices[0].text, completion),
        (chat.choices[0].message.content, chat),
    ):
        assert text == said["text_output"]
        assert found.choices[0].finish_reason == said["finish_reason"]
        assert found.usage is not None
        assert found.usage.prompt_tokens == said["prompt_tokens"]
        assert found.usage.completion_tokens == said["completion_tokens"]


def test_a_stream_adds_up_to_the_whole(triton: TritonServer, ai: openai.OpenAI) -> None:
    """Token by token, and by both faces of the client."""
    said = direct(triton, max_tokens=40, temperature=0)
    asked: Any = {
        "model": "tiny-lm", "prompt": PROMPT, "max_tokens": 40, "temperature": 0, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    events = list(ai.completions.create(**asked))
    texts = [event.choices[0].text for event in events if event.choices]
    assert "".join(texts) == said["text_output"]
    assert len([text for text in texts if text]) > 10
    assert events[-2].choices[0].finish_reason == said["finish_reason"]
    assert events[-1].usage.completion_tokens == said["completion_tokens"]

    async def streamed() -> str:
        async with openai.AsyncOpenAI(base_url=str(ai.base_url), api_key=APP) as there:
            stream = await there.completions.create(**asked)
            return "".join([event.choices[0].text async for event in stream if event.choices])

    assert asyncio.run(streamed()) == said["text_output"]


def test_stops_seeds_and_limits_reach_the_model(triton: TritonServer, ai: openai.OpenAI) -> None:
    """The same seed gives the same text; a stop is no part of it."""
    whole = direct(triton, max_tokens=60, temperature=0)["text_output"]
    stop = whole[5:8]
    cut = ai.completions.create(model="tiny-lm", prompt=PROMPT, max_tokens=60, temperature=0, stop=stop)
    assert cut.choices[0].text == whole[: whole.index(stop)]
    assert cut.choices[0].finish_reason == "stop"
    drawn = [
        ai.completions.create(model="tiny-lm", prompt=PROMPT, max_tokens=30, temperature=1, seed=7)
        .choices[0]
        .text
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]


@pytest.mark.skipif(not BUILT, reason="minilm is not built: make minilm does it")
def test_sentences_are_embedded_as_without_a_gateway(triton: TritonServer, ai: openai.OpenAI) -> None:
    """Whichever way the numbers travel; what means the same is near."""
    texts = ["A cat sleeps.", "A kitten is asleep.", "The gateway forwards a request."]
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [3, 1], "data": texts}]}
    asked = urllib.request.Request(f"{triton.http_url}/v2/models/minilm/infer", json.dumps(body).encode())
    with urllib.request.urlopen(asked, timeout=30) as reply:
        said = {tensor["name"]: tensor["data"] for tensor in json.loads(reply.read())["outputs"]}
    encodings: tuple[Literal["base64", "float"], ...] = ("base64", "float")
    for encoding in encodings:
        found = ai.embeddings.create(model="minilm", input=texts, encoding_format=encoding)
        rows = [each.embedding for each in found.data]
        if encoding == "base64":
            rows = [list(struct.unpack("<384f", base64.b64decode(str(row)))) for row in rows]
        vectors = np.array(rows)
        np.testing.assert_allclose(vectors.ravel(), said["embedding"], rtol=1e-4, atol=1e-6)
        assert found.usage.prompt_tokens == sum(said["tokens"])
        assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_a_curl_of_the_guide_is_answered(gateway: Gateway) -> None:
    """As a shell has it."""
    host, port = gateway.address
    body = json.dumps({"model": "tiny-lm", "messages": [{"role": "user", "content": PROMPT}], "stream": True})
    done = subprocess.run(
        ["curl", "-sN", f"http://{host}:{port}/v1/chat/completions", "-H", f"Authorization: Bearer {APP}", "-d", body],
        capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout.endswith(b"data: [DONE]\n\n")
