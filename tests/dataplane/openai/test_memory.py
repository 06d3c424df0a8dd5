"""Large requests take their memory with them when they end, however they end."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.dataplane.openai.scene import says, streams
from tests.dataplane.raw import RawClient, ask, request
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import Gateway, wait_for

CHAT = "/v1/chat/completions"
LARGE = "a b c " * 500_000
TIMES, MOST_BYTES = 40, 100 * 1024 * 1024
"""So many bodies of 3 MB would be more."""


def answers(talk: Talk) -> None:
    """A model that says something."""
    talk.take_body()
    talk.answer(body=says("x"))


def refuses(talk: Talk) -> None:
    """One that takes no such prompt."""
    talk.take_body()
    talk.answer(400, b'{"error":"no"}')


def dies(talk: Talk) -> None:
    """One that ends before it has answered."""
    talk.take_body()
    talk.reset()


def breaks_off(talk: Talk) -> None:
    """One that ends in the middle of a stream."""
    streams(says("x"), whole=False)(talk)
    talk.reset()


def chat(**fields: Any) -> bytes:
    """A chat with a large message."""
    return json.dumps({"model": "text", "messages": [{"role": "user", "content": LARGE}]} | fields).encode()


@pytest.mark.parametrize(
    ("behave", "path", "body", "status"),
    [
        pytest.param(answers, CHAT, chat(), 200, id="answered"),
        pytest.param(answers, CHAT, chat(model="nobody"), 404, id="no such alias"),
        pytest.param(answers, CHAT, chat(n=2), 400, id="refused"),
        pytest.param(answers, CHAT, chat()[:-1], 400, id="no JSON"),
        pytest.param(refuses, CHAT, chat(), 400, id="the model refuses"),
        pytest.param(dies, CHAT, chat(), 502, id="the model dies"),
        pytest.param(breaks_off, CHAT, chat(stream=True), 200, id="a stream breaks off"),
        pytest.param(dies, "/v2/models/a/infer", chat(), 502, id="over the protocol of Triton"),
    ],
)
def test_a_large_request_is_gone_with_its_call(
    gateway: Gateway, upstream: Upstream, behave: Callable[[Talk], None], path: str, body: bytes, status: int
) -> None:
    """None waits for the garbage collector, which looks rarely."""
    upstream.behave = behave
    wanted = request(path, body)
    assert ask(gateway.address, wanted).status == status
    with gateway.memory_growth() as growth:
        for _ in range(TIMES):
            assert ask(gateway.address, wanted).status == status
            upstream.talks.clear()
        assert growth() < MOST_BYTES


def test_a_large_request_is_gone_with_its_caller(gateway: Gateway, upstream: Upstream) -> None:
    """One who leaves while the model thinks."""
    upstream.behave = lambda talk: talk.until_closed()
    wanted = request(CHAT, chat())
    with gateway.memory_growth() as growth:
        for count in range(TIMES):
            with RawClient(gateway.address) as caller:
                caller.send(wanted)
                wait_for(lambda: len(upstream.talks) > count, what="the call to arrive")  # noqa: B023
        assert growth() < MOST_BYTES
