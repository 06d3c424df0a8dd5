"""Bad input on /v1: a clear error in OpenAI's form, never a 500, and nothing that the next caller would feel."""

import gzip
import json
from typing import Any

import openai
import pytest

from tests.dataplane.openai.scene import client, says
from tests.dataplane.raw import CREDENTIAL, RawClient, ask, chunked, request
from tests.dataplane.upstream import Upstream
from tests.gateway_process import Gateway

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
MESSAGES = [{"role": "user", "content": "Hello"}]


def chat(**fields: Any) -> tuple[str, bytes]:
    """A chat with these fields; None takes one away."""
    body = {"model": "text", "messages": MESSAGES} | fields
    return CHAT, json.dumps({name: value for name, value in body.items() if value is not ...}).encode()


def complete(**fields: Any) -> tuple[str, bytes]:
    """A completion with these fields."""
    return COMPLETIONS, json.dumps({"model": "text", "prompt": "p"} | fields).encode()


def embed(**fields: Any) -> tuple[str, bytes]:
    """Embeddings with these fields."""
    return EMBEDDINGS, json.dumps({"model": "embed"} | fields).encode()


def error(gateway: Gateway, path: str, body: bytes, **options: Any) -> tuple[int, dict[str, Any]]:
    """Status and error of a reply that must be one of OpenAI's form."""
    reply = ask(gateway.address, request(path, body, **options))
    assert reply.header("Content-Type") == "application/json"
    assert reply.header("X-Request-Id")
    found: dict[str, Any] = json.loads(reply.body)["error"]
    assert set(found) == {"message", "type", "code", "param"}
    assert found["message"]
    return reply.status, found


BAD = [
    ("no JSON", (CHAT, b"{"), None, None),
    ("no JSON object", (CHAT, b"[]"), None, None),
    ("empty", (CHAT, b""), None, None),
    ("no UTF-8", (CHAT, b'{"model": "\xff"}'), None, None),
    ("duplicate keys", (CHAT, b'{"model": "text", "model": "a", "messages": []}'), None, None),
    ("half a surrogate pair", (CHAT, b'{"model": "text", "messages": [{"role": "user", "content": "\\ud800"}]}'), None, None),
    ("a hundred thousand levels", (CHAT, b'{"model":"text","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), None, None),
    ("NaN", (COMPLETIONS, b'{"model": "text", "prompt": "p", "temperature": NaN}'), "temperature", None),
    ("no messages", chat(messages=[]), "messages", "invalid_value"),
    ("messages missing", chat(messages=...), "messages", None),
    ("messages of another type", chat(messages="hello"), "messages", None),
    ("an unknown role", chat(messages=[{"role": "tool", "content": "x"}]), "messages[0].role", "invalid_value"),
    ("no content", chat(messages=[{"role": "user"}]), "messages[0].content", "invalid_value"),
    ("a picture", chat(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), "messages[0].content", "invalid_value"),
    ("a template that refuses", chat(model="picky"), "messages", "bad_request"),
    ("model missing", (CHAT, json.dumps({"messages": MESSAGES}).encode()), "model", None),
    ("model of another type", chat(model=7), "model", None),
    ("a model without end", chat(model="x" * 100_000), "model", None),
    ("tokens of another type", chat(max_tokens="many"), "max_tokens", None),
    ("huge max_tokens", chat(max_tokens=10**12), "max_tokens", "invalid_value"),
    ("max_tokens of 10^400", (COMPLETIONS, b'{"model":"text","prompt":"p","max_tokens":1' + b"0" * 400 + b"}"), "max_tokens", "invalid_value"),
    ("max_completion_tokens of 0", chat(max_completion_tokens=0), "max_completion_tokens", "invalid_value"),
    ("too hot", chat(temperature=3), "temperature", None),
    ("n of 2", chat(n=2), "n", "unsupported_parameter"),
    ("tools", chat(tools=[{"type": "function"}]), "tools", "unsupported_parameter"),
    ("a JSON answer", chat(response_format={"type": "json_object"}), "response_format", "unsupported_parameter"),
    ("log probabilities", chat(logprobs=True), "logprobs", "unsupported_parameter"),
    ("what the model is not told", chat(top_p=0.5), "top_p", "unsupported_parameter"),
    ("an echo", complete(echo=True), "echo", "unsupported_parameter"),
    ("two prompts", complete(prompt=["a", "b"]), "prompt", "unsupported_parameter"),
    ("tokens for a prompt", complete(prompt=[1, 2]), "prompt", "unsupported_parameter"),
    ("tokens of several prompts", complete(prompt=[[1, 2], [3]]), "prompt", "unsupported_parameter"),
    ("no prompt", complete(prompt=[]), "prompt", "unsupported_parameter"),
    ("tokens to be embedded", embed(input=[1, 2]), "input", "unsupported_parameter"),
    ("tokens of several texts", embed(input=[[1, 2], [3]]), "input", "unsupported_parameter"),
    ("tokens among texts", embed(input=["a", 1]), "input", "unsupported_parameter"),
    ("numbers that are no tokens", embed(input=[1.5]), "input[0]", None),
    ("dimensions", embed(input="a", dimensions=2), "dimensions", "unsupported_parameter"),
    ("an empty stop", complete(stop=""), "stop", "invalid_value"),
    ("too many stops", complete(stop=["x"] * 17), "stop", "invalid_value"),
    ("nothing but brackets", (CHAT, b'{"model":"text","x":[' + b"[]," * 1_300_000 + b"0]}"), None, None),
    ("nothing but keys", (CHAT, b'{"model":"text","x":{' + b",".join(b'"%d":0' % n for n in range(60_000)) + b"}}"), None, None),
    ("an alias without an adapter", complete(model="a"), "model", "model_not_supported"),
    ("an alias of another kind", complete(model="embed"), "model", "model_not_supported"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "param", "code"), [
    pytest.param(path, body, param, code, id=name) for name, (path, body), param, code in BAD
])  # fmt: skip
def test_bad_input_is_refused_with_the_parameter_at_fault(
    gateway: Gateway, upstream: Upstream, path: str, body: bytes, param: str | None, code: str | None
) -> None:
    """400 in OpenAI's form; the model is not asked."""
    status, found = error(gateway, path, body)
    assert (status, found["type"], found["param"]) == (400, "invalid_request_error", param)
    assert found["code"] == (code or "bad_request")
    assert not upstream.talks


def test_what_asks_for_nothing_is_let_through(ai: openai.OpenAI, upstream: Upstream) -> None:
    """Clients send what they have; what has no effect, or concerns nobody here, is ignored."""
    upstream.behave = lambda talk: talk.answer(body=says("x"))
    ai.chat.completions.create(
        model="text",
        messages=MESSAGES,
        n=1,
        top_p=1,
        logprobs=False,
        tool_choice="none",
        presence_penalty=0,
        response_format={"type": "text"},
        user="u",
        metadata={"a": "b"},
        store=False,
        extra_body={"something_new": 1, "tools": []},
    )  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["none", "hidden", "../a", "x" * 1000, ""])
def test_an_alias_that_is_not_there_and_one_that_is_hidden_are_the_same(gateway: Gateway, name: str) -> None:
    """404, whether or not what is asked of them could be answered."""
    status, found = error(gateway, *chat(model=name, max_tokens=10**9))
    assert (status, found["code"], found["param"]) == (404, "model_not_found", "model")
    assert found["message"] == f"There is no alias {name!r}, or you may not see it."


@pytest.mark.parametrize("name", ["none", "hidden"])
def test_a_model_that_is_not_there_is_no_model_when_it_is_asked_for(ai: openai.OpenAI, name: str) -> None:
    """As when it is called."""
    with pytest.raises(openai.NotFoundError) as refusal:
        ai.models.retrieve(name)
    assert (refusal.value.code, refusal.value.param) == ("model_not_found", "model")


def test_who_may_see_an_alias_and_not_call_it_is_told_so(gateway: Gateway) -> None:
    """403."""
    with pytest.raises(openai.PermissionDeniedError) as refusal:
        client(gateway, "key-of-reader").completions.create(model="text", prompt="p")
    assert refusal.value.code == "forbidden"


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS, "/v1/models", "/v1/models/text"])
@pytest.mark.parametrize("body", [b"{", b"{}" + b" " * 100_000])
def test_without_a_valid_key_nothing_else_is_told(gateway: Gateway, path: str, body: bytes) -> None:
    """401, before anything is said of the body."""
    method = "GET" if "models" in path else "POST"
    status, found = error(gateway, path, body, credential=b"Authorization: Bearer nobody\r\n", method=method)
    assert (status, found["type"], found["code"]) == (401, "authentication_error", "invalid_api_key")


def test_nothing_is_unpacked_for_strangers(gateway: Gateway) -> None:
    """Nor is it said that it could not be."""
    options: Any = {"credential": b"", "headers": b"Content-Encoding: gzip\r\n"}
    for body in (gzip.compress(b" " * 4_000_000), b"not gzip"):
        assert error(gateway, CHAT, body, **options)[0] == 401


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1?x=1", 404, "not_found"),
        ("POST", "/v1/", 404, "not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("POST", "/v1/models/a/b", 404, "not_found"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/%61", 400, "bad_request"),
    ],
)
def test_paths_that_are_not_there_are_refused_in_openais_form(
    gateway: Gateway, method: str, path: str, status: int, code: str
) -> None:
    """As clients of this API expect it."""
    found = error(gateway, path, b"{}", method=method)
    assert (found[0], found[1]["code"]) == (status, code)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(gateway: Gateway) -> None:
    """By its length at once, else as soon as it is too much; compressed, as soon as it unpacks to too much."""
    with RawClient(gateway.address) as caller:
        caller.send(
            f"POST {CHAT} HTTP/1.1\r\nHost: g\r\n".encode(),
            CREDENTIAL,
            b"Content-Length: 5000000\r\n\r\n",
            b" " * 40_000,
        )
        assert caller.reply().status == 413
        assert caller.ended()
    with RawClient(gateway.address) as caller:
        head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n".encode()
            + CREDENTIAL
            + b"\r\n"
        )
        caller.send(head, *(chunked(b"x" * 65536, last=b"") for _ in range(80)))
        assert caller.reply().status == 413
    bomb = gzip.compress(b" " * 100_000_000)
    assert error(gateway, CHAT, bomb, headers=b"Content-Encoding: gzip\r\n")[0] == 413
    assert error(gateway, CHAT, b"not gzip", headers=b"Content-Encoding: gzip\r\n")[0] == 400


def test_a_body_that_breaks_off_lets_the_gateway_go_on(gateway: Gateway) -> None:
    """The caller has gone in the middle of it."""
    with RawClient(gateway.address) as caller:
        caller.send(
            f"POST {CHAT} HTTP/1.1\r\nHost: g\r\n".encode(), CREDENTIAL, b"Content-Length: 100000\r\n\r\n"
        )
        caller.send(b"x" * 50_000)
