"""Streams: pieces as they arrive, an end where it must be, and errors that are told inside."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.dataplane.openai.scene import asked, lines, pieces, says, stream_to, streams
from tests.dataplane.raw import RawClient, ask, request
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import APP, Gateway

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
BODY = b'{"model": "text", "prompt": "p", "stream": true, "max_tokens": 50}'


def texts(stream: Any) -> list[str]:
    """The pieces of a completion's stream."""
    return [event.choices[0].text for event in stream if event.choices and event.choices[0].text]


def test_a_chat_is_streamed_piece_by_piece(ai: openai.OpenAI, upstream: Upstream) -> None:
    """Role first, then the pieces, why it ended, and the usage where it was asked for."""
    upstream.behave = streams(*pieces("Hel", "lo", "."))
    stream = ai.chat.completions.create(
        model="text", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    *events, last = list(stream)
    (talk,) = upstream.talks
    assert talk.path == b"/v2/models/m/versions/1/generate_stream"
    assert asked(talk)["stream"] is True
    assert events[0].choices[0].delta.role == "assistant"
    assert [event.choices[0].delta.content for event in events] == ["", "Hel", "lo", ".", None]
    assert [event.choices[0].finish_reason for event in events] == [None] * 4 + ["stop"]
    assert {(event.object, event.model, event.usage) for event in events} == {
        ("chat.completion.chunk", "text", None)
    }
    assert len({event.id for event in events}) == 1
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (7, 3, 10)


def test_a_stream_has_its_form_and_the_fields_of_every_reply(gateway: Gateway, upstream: Upstream) -> None:
    """It ends in [DONE], and has no usage that was not asked for."""
    upstream.behave = streams(*pieces("a", "b"))
    reply = ask(gateway.address, request("/v1/completions", BODY))
    assert reply.header("Content-Type") == "text/event-stream; charset=utf-8"
    assert reply.header("Maas-Served-By") == "m/1"
    assert reply.header("X-Request-Id")
    *found, last = lines(reply.body)
    assert last == "[DONE]"
    assert [event["choices"][0]["text"] for event in found] == ["a", "b", ""]
    assert not any("usage" in event for event in found)


def test_the_asyncio_client_streams_too(gateway: Gateway, upstream: Upstream) -> None:
    """The published client's other face."""
    upstream.behave = streams(*pieces("a", "b"))
    host, port = gateway.address

    async def chat() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=f"http://{host}:{port}/v1", api_key=APP) as ai:
            stream = await ai.chat.completions.create(model="text", messages=MESSAGES, stream=True)
            return [event.choices[0].delta.content async for event in stream]

    assert asyncio.run(chat()) == ["", "a", "b", None]


def test_a_piece_passes_as_soon_as_it_is_there(ai: openai.OpenAI, upstream: Upstream) -> None:
    """The model sends the next one only when the caller has the last one."""
    had = threading.Semaphore(0)

    def paced() -> Iterator[bytes]:
        for number, event in enumerate(pieces("a", "b", "c")):
            assert not number or had.acquire(timeout=60)
            yield event

    upstream.behave = lambda talk: stream_to(talk, paced())
    found = []
    for event in ai.completions.create(model="text", prompt="p", stream=True):
        if event.choices[0].text:
            found.append(event.choices[0].text)
            had.release()
    assert found == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("sent", "wish", "text", "reason"),
    [
        (("ab", "c|", "|d", "e"), {"stop": ["||"]}, "abc", "stop"),
        (("ab", "c|", "d", "e"), {"stop": ["||"]}, "abc|de", "stop"),
        (("a", "b", "c|"), {"stop": ["||"]}, "abc|", "stop"),
        (("a", "b", "c", "d"), {"max_tokens": 3}, "abc", "length"),
        (("a", "b", "c"), {"max_tokens": 3}, "abc", "stop"),
    ],
)
def test_a_stream_is_cut_where_the_model_goes_on(
    ai: openai.OpenAI, upstream: Upstream, sent: tuple[str, ...], wish: dict[str, Any], text: str, reason: str
) -> None:
    """A stop that spans pieces does not pass, what only began like one does; and there are no more tokens than were asked for."""
    upstream.behave = streams(*pieces(*sent))
    stream: Any = ai.completions.create(model="text", prompt="p", stream=True, **wish)
    found = list(stream)
    assert "".join(event.choices[0].text for event in found) == text
    assert found[-1].choices[0].finish_reason == reason


def test_a_model_whose_answer_is_long_enough_is_told_to_stop(ai: openai.OpenAI, upstream: Upstream) -> None:
    """The call is cancelled: a model that would go on for ever computes nothing for nobody."""
    cancelled = threading.Event()

    def behave(talk: Talk) -> None:
        streams(*pieces("a", "b", "stop here", "x"), whole=False)(talk)
        if talk.until_closed():
            cancelled.set()

    upstream.behave = behave
    stream = ai.completions.create(model="text", prompt="p", stream=True, stop="stop")
    assert texts(stream) == ["a", "b"]
    assert cancelled.wait(60)


def test_a_model_sees_that_its_caller_has_gone(ai: openai.OpenAI, upstream: Upstream) -> None:
    """The upstream call is cancelled."""
    cancelled = threading.Event()

    def behave(talk: Talk) -> None:
        streams(*pieces("a", "b"), whole=False)(talk)
        if talk.until_closed():
            cancelled.set()

    upstream.behave = behave
    stream = ai.completions.create(model="text", prompt="p", stream=True)
    assert next(stream).choices[0].text == "a"
    stream.close()
    assert cancelled.wait(60)


def test_a_caller_who_does_not_read_holds_the_model_back(gateway: Gateway, upstream: Upstream) -> None:
    """Of a stream without end, only what buffers hold is taken from the model."""
    sent = 0
    stuck = threading.Event()

    def behave(talk: Talk) -> None:
        nonlocal sent
        talk.take_body()
        talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        talk.sock.settimeout(2.0)
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        data = b"data: " + says("x" * 10_000) + b"\n\n"
        try:
            while sent < 100_000_000:
                talk.send(b"%x\r\n%b\r\n" % (len(data), data))
                sent += len(data)
        except TimeoutError:
            stuck.set()

    upstream.behave = behave
    endless = BODY.replace(b'"text"', b'"metered"').replace(b"50", b"4000")
    with RawClient(gateway.address, receive_buffer=65536) as caller:
        caller.send(request("/v1/completions", endless))
        assert stuck.wait(30)
    assert sent < 40_000_000


def test_an_error_before_the_first_piece_has_a_status_of_its_own(
    ai: openai.OpenAI, upstream: Upstream
) -> None:
    """The model's server refuses, or its first event is an error."""
    upstream.behave = lambda talk: talk.answer(400, b'{"error":"no such voice"}')
    with pytest.raises(openai.BadRequestError, match="no such voice"):
        ai.completions.create(model="text", prompt="p", stream=True)
    upstream.behave = streams(b'{"error":"out of memory"}')
    with pytest.raises(openai.InternalServerError, match="out of memory") as fault:
        ai.completions.create(model="text", prompt="p", stream=True)
    assert fault.value.status_code == 502


@pytest.mark.parametrize("fault", [b'{"error":"out of memory"}', b"no JSON", b"[]"])
def test_an_error_in_a_stream_is_its_last_event(gateway: Gateway, upstream: Upstream, fault: bytes) -> None:
    """What came before it has passed; there is no [DONE], and the caller's connection goes on."""
    began = threading.Semaphore(0)

    def breaking() -> Iterator[bytes]:
        yield from pieces("a", "b")
        assert began.acquire(timeout=60)
        yield fault

    upstream.behave = lambda talk: stream_to(talk, breaking())
    with RawClient(gateway.address) as caller:
        for _ in range(2):
            caller.send(request("/v1/completions", BODY))
            assert caller.head()[0] == 200
            began.release()
            told = b""
            while not told.endswith(b"\r\n0\r\n\r\n"):
                told += caller.read(1)
            assert b"[DONE]" not in told
            assert told.index(b'"text":"b"') < told.index(b'event: error\ndata: {"error":{"message":')


def test_openais_client_raises_the_error_in_a_stream(ai: openai.OpenAI, upstream: Upstream) -> None:
    """With its words, after the pieces before it."""
    had = threading.Semaphore(0)

    def breaking() -> Iterator[bytes]:
        yield from pieces("a")
        assert had.acquire(timeout=60)
        yield b'{"error":"out of memory"}'

    upstream.behave = lambda talk: stream_to(talk, breaking())
    stream = ai.completions.create(model="text", prompt="p", stream=True)
    assert next(stream).choices[0].text == "a"
    had.release()
    with pytest.raises(openai.APIError, match="out of memory") as error:
        next(stream)
    assert error.value.type == "server_error"
