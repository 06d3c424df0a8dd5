"""Quotas of tokens: reserved by what a request may use, put right by what it has used, and told in OpenAI's fields too."""

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.dataplane.openai.scene import TOKENS, adapted, client, pieces, says, streams
from tests.dataplane.raw import until_answered
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import Gateway, running, wait_for
from tests.patience import PATIENT_S

PROMPT = "p" * 40
"""Ten tokens, by the estimate."""


@pytest.fixture(params=["in process", "in Redis"])
def gateway(
    request: pytest.FixtureRequest, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """One whose counters are new, wherever it keeps them. A stream may last four seconds, so that one can be seen to run
    out of time.
    """
    settings: dict[str, object] = {"INFERENCE__MAX_DEADLINE_S": 4, "INFERENCE__DEADLINE_S": 4}
    in_redis = request.param == "in Redis"
    if in_redis:
        settings |= {"QUOTA__REDIS_URL": request.getfixturevalue("own_redis").url, "QUOTA__WAIT_S": PATIENT_S}
    with running(tmp_path_factory.mktemp("metered"), adapted(upstream.url), **settings) as found:
        until_answered(found.address)
        if in_redis:
            wait_for(lambda: found.metric("maas_quota_store_connected") == 1, what="the store")
        yield found


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Upstream:
    """The model's server, as good as new."""
    shared_upstream.renew()
    return shared_upstream


def complete(gateway: Gateway, **fields: Any) -> dict[str, str]:
    """The rate limits that one completion is told, in OpenAI's fields."""
    asked: Any = {"model": "metered", "prompt": PROMPT, "max_tokens": 100} | fields
    reply = client(gateway).completions.with_raw_response.create(**asked)
    return {name[12:]: value for name, value in reply.headers.items() if name.startswith("x-ratelimit-")}


def left(gateway: Gateway) -> int:
    """The tokens that are left before the next request is admitted, as that tells: it holds 1 + 1."""
    return int(complete(gateway, prompt="p", max_tokens=1)["remaining-tokens"]) + 2


def test_what_a_request_may_use_is_held_and_what_it_used_is_counted(
    gateway: Gateway, upstream: Upstream
) -> None:
    """The prompt and `max_tokens` first; then what the model tells."""
    upstream.behave = lambda talk: talk.answer(body=says("x", prompt_tokens=30, completion_tokens=20))
    told = complete(gateway)
    assert (told["limit-tokens"], told["remaining-tokens"]) == (str(TOKENS), str(TOKENS - 110))
    assert (told["limit-requests"], told["remaining-requests"]) == ("100", "99")
    assert told["reset-tokens"].removesuffix("s").isdigit()
    upstream.behave = lambda talk: talk.answer(body=says(""))
    assert left(gateway) in (TOKENS - 50, TOKENS - 49)


def test_a_request_that_may_use_more_than_there_ever_is_holds_all_there_is(
    gateway: Gateway, upstream: Upstream
) -> None:
    """It is admitted: it may well use less."""
    upstream.behave = lambda talk: talk.answer(body=says("x", prompt_tokens=1, completion_tokens=1))
    assert complete(gateway, max_tokens=4_000)["remaining-tokens"] == "0"


def test_what_is_over_the_quota_is_refused_in_openais_form(gateway: Gateway, upstream: Upstream) -> None:
    """429, which the client knows, with all that says when to come back."""
    upstream.behave = lambda talk: talk.answer(body=says("x", prompt_tokens=900, completion_tokens=100))
    complete(gateway)
    with pytest.raises(openai.RateLimitError) as refusal:
        complete(gateway)
    fields = refusal.value.response.headers
    assert refusal.value.code == "rate_limit_exceeded"
    assert int(fields["Retry-After"]) >= 1
    assert fields["RateLimit"].startswith('"metered/tokens";r=')
    assert fields["RateLimit-Policy"]
    assert (fields["x-ratelimit-limit-tokens"], fields["x-ratelimit-reset-tokens"][-1]) == (str(TOKENS), "s")


def test_a_refused_request_has_used_nothing(gateway: Gateway, upstream: Upstream) -> None:
    """Neither one that the gateway refuses nor one that the model does."""
    upstream.behave = lambda talk: talk.answer(400, b'{"error":"no"}')
    for fields in ({"max_tokens": 10**9}, {}):
        with pytest.raises(openai.BadRequestError):
            complete(gateway, **fields)
    upstream.behave = lambda talk: talk.answer(body=says(""))
    assert left(gateway) == TOKENS


def dies(talk: Talk) -> None:
    """Three pieces, and the end of the server."""
    streams(*list(pieces("a", "b", "c", "d"))[:3], whole=False)(talk)
    talk.reset()


def hangs(talk: Talk) -> None:
    """Three pieces, and nothing more."""
    streams(*list(pieces("a", "b", "c", "d"))[:3], whole=False)(talk)
    talk.until_closed()


def reads_on(gateway: Gateway) -> None:
    """A caller who stays until the end, which is an error."""
    stream = client(gateway).completions.create(model="metered", prompt=PROMPT, max_tokens=100, stream=True)
    texts: list[str] = []
    with pytest.raises(openai.APIError):
        texts.extend(event.choices[0].text for event in stream)
    assert texts == ["a", "b", "c"]


def goes(gateway: Gateway) -> None:
    """A caller who leaves after the third piece."""
    stream = client(gateway).completions.create(model="metered", prompt=PROMPT, max_tokens=100, stream=True)
    assert [next(stream).choices[0].text for _ in range(3)] == ["a", "b", "c"]
    stream.close()


@pytest.mark.parametrize(
    ("model", "caller", "outcome"),
    [
        pytest.param(dies, reads_on, "bad_gateway", id="the server dies"),
        pytest.param(hangs, goes, "caller_gone", id="the caller goes"),
        pytest.param(hangs, reads_on, "deadline", id="the time is up"),
    ],
)
def test_a_stream_that_breaks_off_counts_what_it_has_used(
    gateway: Gateway,
    upstream: Upstream,
    model: Callable[[Talk], None],
    caller: Callable[[Gateway], None],
    outcome: str,
) -> None:
    """Seven tokens of the prompt and three of the answer, as the model told until then."""
    upstream.behave = model
    caller(gateway)
    wait_for(lambda: [each["outcome"] for each in gateway.access_log()][-1:] == [outcome], 10, "the line")
    upstream.behave = lambda talk: talk.answer(body=says(""))
    assert left(gateway) in (TOKENS - 10, TOKENS - 9)
