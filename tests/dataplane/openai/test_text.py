"""Chats and completions that are answered whole, through OpenAI's own client."""

import asyncio
import gzip
import json
from typing import Any

import openai
import pytest

from tests.dataplane.openai.scene import asked, client, says
from tests.dataplane.raw import ask, request
from tests.dataplane.upstream import Upstream
from tests.gateway_process import APP, Gateway, wait_for

MESSAGES: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]


def test_a_chat_is_rendered_by_the_aliass_template_and_answered(
    ai: openai.OpenAI, upstream: Upstream
) -> None:
    """The model gets one text and what steers it, by its own names; the caller an answer of OpenAI's form."""
    upstream.behave = lambda talk: talk.answer(
        body=says("Hi.", prompt_tokens=9, completion_tokens=2, finish_reason="stop")
    )
    reply = ai.chat.completions.with_raw_response.create(
        model="text", messages=MESSAGES, max_tokens=30, temperature=0.5, stop=["\n"], seed=-1, user="u"
    )
    (talk,) = upstream.talks
    assert talk.path == b"/v2/models/m/versions/1/generate"
    assert asked(talk) == {
        "text_input": "<system>Be brief.<user>Hello<assistant>", "max_tokens": 30, "temperature": 0.5,
        "stop_words": ["\n"], "seed": 2**63 - 1, "stream": False,
    }  # fmt: skip
    found = reply.parse()
    assert (found.model, found.object, found.system_fingerprint) == ("text", "chat.completion", "m/1")
    (choice,) = found.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "Hi.", "stop")
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (9, 2, 11)
    assert reply.headers["Maas-Served-By"] == "m/1"
    assert found.id == f"chatcmpl-{reply.headers['X-Request-Id']}"


def test_a_completion_goes_on_with_its_prompt(ai: openai.OpenAI, upstream: Upstream) -> None:
    """It has 16 tokens where it does not say, as with OpenAI; what the model does not tell is estimated."""
    upstream.behave = lambda talk: talk.answer(body=says(" in a land far away"))
    found = ai.completions.create(model="text", prompt="Once")
    assert asked(upstream.talks[0]) == {"text_input": "Once", "max_tokens": 16, "stream": False}
    assert (found.object, found.choices[0].text) == ("text_completion", " in a land far away")
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (1, 5)


def test_the_asyncio_client_is_served_too(gateway: Gateway, upstream: Upstream) -> None:
    """The published client's other face."""
    upstream.behave = lambda talk: talk.answer(body=says("Hi."))
    host, port = gateway.address

    async def chat() -> str | None:
        async with openai.AsyncOpenAI(base_url=f"http://{host}:{port}/v1", api_key=APP) as ai:
            found = await ai.chat.completions.create(model="text", messages=MESSAGES)
            return found.choices[0].message.content

    assert asyncio.run(chat()) == "Hi."


@pytest.mark.parametrize(
    ("answer", "wish", "text", "reason", "tokens"),
    [
        ("one two STOP three", {"stop": "STOP"}, "one two ", "stop", 5),
        ("abcdefghijklmnop", {"max_tokens": 2}, "abcdefgh", "length", 2),
        ("abcdefgh", {"max_tokens": 2}, "abcdefgh", "length", 2),
        ("abcd", {"max_tokens": 2}, "abcd", "stop", 1),
        ("", {}, "", "stop", 0),
    ],
)
def test_a_model_that_knows_no_stop_and_no_limit_is_cut(
    ai: openai.OpenAI,
    upstream: Upstream,
    answer: str,
    wish: dict[str, object],
    text: str,
    reason: str,
    tokens: int,
) -> None:
    """The gateway ends what the model does not end, by its estimate of tokens."""
    upstream.behave = lambda talk: talk.answer(body=says(answer))
    found = ai.completions.create(model="plain", prompt="p", **wish)  # type: ignore[call-overload]
    assert asked(upstream.talks[0]) == {"text_input": "p", "exclude_input_in_output": True}
    assert (found.choices[0].text, found.choices[0].finish_reason) == (text, reason)
    assert found.usage.completion_tokens == tokens


def test_a_model_that_tells_more_tokens_than_it_may_have_is_cut(
    ai: openai.OpenAI, upstream: Upstream
) -> None:
    """Where they end nobody knows, so they are taken to be equally long."""
    upstream.behave = lambda talk: talk.answer(body=says("a b c d ", completion_tokens=4))
    found = ai.completions.create(model="text", prompt="p", max_tokens=3)
    assert (found.choices[0].text, found.choices[0].finish_reason) == ("a b c ", "length")


def test_models_are_the_aliases_that_the_caller_may_call_this_way(
    ai: openai.OpenAI, gateway: Gateway
) -> None:
    """Not those without an adapter, nor those of others."""
    names = {model.id for model in ai.models.list()}
    assert names == {"text", "plain", "embed", "flat", "metered", "old", "picky"}
    found = ai.models.retrieve("text")
    assert (found.id, found.object, found.owned_by) == ("text", "model", "vision")
    for name in ("a", "hidden", "none"):
        with pytest.raises(openai.NotFoundError):
            ai.models.retrieve(name)
    assert list(client(gateway, "key-of-stranger").models.list()) == []


def test_a_question_about_models_stands_in_the_access_log(ai: openai.OpenAI, gateway: Gateway) -> None:
    """As one over the other protocols does: who asked, and that it went well."""
    reply = ai.models.with_raw_response.retrieve("text")
    asked = reply.headers["X-Request-Id"]

    def line() -> dict[str, Any] | None:
        return next((each for each in gateway.access_log() if each["request_id"] == asked), None)

    wait_for(lambda: line() is not None, what="its line")
    found = line()
    assert found is not None
    assert (found["principal"], found["protocol"], found["operation"], found["outcome"], found["status"]) == (
        "app:caller", "openai", "metadata", "ok", 200,
    )  # fmt: skip


def test_an_alias_that_retires_says_so_here_too(ai: openai.OpenAI, upstream: Upstream) -> None:
    """With an answer, with a refusal, and with its description."""
    upstream.behave = lambda talk: talk.answer(body=says("x"))
    told = ai.completions.with_raw_response.create(model="old", prompt="p").headers
    assert told["Deprecation"] == "@1700000000"
    assert "Sunset" in told
    assert 'rel="successor-version"' in told["Link"]
    assert ai.models.with_raw_response.retrieve("old").headers["Deprecation"] == "@1700000000"
    with pytest.raises(openai.BadRequestError) as refusal:
        ai.completions.create(model="old", prompt="p", max_tokens=1_000_000)
    assert refusal.value.response.headers["Deprecation"] == "@1700000000"


def test_calls_are_recorded_as_openai_calls(gateway: Gateway, upstream: Upstream, ai: openai.OpenAI) -> None:
    """One line each in the access log, those that were refused as they were read too."""
    upstream.behave = lambda talk: talk.answer(body=says("x"))
    told = ai.completions.with_raw_response.create(model="text", prompt="p").headers["X-Request-Id"]
    bad = ask(gateway.address, request("/v1/completions", b"{")).header("X-Request-Id")

    def logged() -> dict[str, dict[str, object]]:
        return {str(line["request_id"]): line for line in gateway.access_log()}

    wait_for(lambda: {told, bad} <= logged().keys(), 10, "both lines")
    good, refused = logged()[told], logged()[str(bad)]
    assert (good["alias"], good["protocol"], good["outcome"]) == ("text", "openai", "ok")
    assert (refused["protocol"], refused["outcome"], refused["status"]) == ("openai", "bad_request", 400)


def test_what_the_model_refuses_comes_in_openais_form(ai: openai.OpenAI, upstream: Upstream) -> None:
    """With the status and the words of the model's server."""
    upstream.behave = lambda talk: talk.answer(400, b'{"error":"no such voice"}')
    with pytest.raises(openai.BadRequestError) as refusal:
        ai.completions.create(model="text", prompt="p")
    assert refusal.value.body == {
        "message": "no such voice", "type": "invalid_request_error", "code": "model_refused", "param": None,
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"text_output": 1}', b"no", b'{"error": "out of memory"}'])
def test_what_is_no_answer_of_a_model_is_a_bad_gateway(
    ai: openai.OpenAI, upstream: Upstream, body: bytes
) -> None:
    """502, and no fault of the gateway's."""
    upstream.behave = lambda talk: talk.answer(body=body)
    with pytest.raises(openai.InternalServerError) as fault:
        ai.completions.create(model="text", prompt="p")
    assert fault.value.status_code == 502


def test_a_body_that_comes_in_chunks_or_compressed_is_read(gateway: Gateway, upstream: Upstream) -> None:
    """A large one, of which not all came with its head, and a gzip of it."""
    upstream.behave = lambda talk: talk.answer(body=says("x"))
    text = json.dumps({"model": "text", "prompt": "p" * 300_000}).encode()
    assert ask(gateway.address, request("/v1/completions", text)).status == 200
    zipped = request("/v1/completions", gzip.compress(text), headers=b"Content-Encoding: gzip\r\n")
    assert ask(gateway.address, zipped).status == 200
    assert [len(asked(talk)["text_input"]) for talk in upstream.talks] == [300_000, 300_000]
