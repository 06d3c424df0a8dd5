"""Where the state of a sequence is kept: everybody comes to the same place, and nobody moves without need."""

import asyncio
import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, Kind
from gateway.settings import Upstream
from gateway.types import Target
from gateway.upstream.balance import TritonPool
from gateway.upstream.endpoint import Endpoint
from gateway.upstream.exchange import Exchange
from gateway.upstream.state import StateGone

TARGET = Target("m", 1, 10_000, "stable", "main", b"/v2/models/m/versions/1", b"m/1")
URLS = [f"http://10.0.0.{number}:8000" for number in range(1, 6)]


def pool(*urls: str) -> TritonPool:
    """Ready endpoints that have the version."""
    endpoints = tuple(Endpoint("main", url, Upstream()) for url in urls)
    for endpoint in endpoints:
        endpoint.ready, endpoint.versions = True, frozenset({("m", 1)})
    return TritonPool(endpoints, Upstream())


def key(number: int) -> bytes:
    return hashlib.blake2b(b"%d" % number, digest_size=16).digest()


@given(st.permutations(URLS), st.sampled_from(URLS), st.integers(0, 10_000))
def test_only_what_was_at_an_endpoint_moves_when_it_goes(urls: list[str], gone: str, number: int) -> None:
    """In whatever order the endpoints stand; and only to the new one when one comes."""
    before = pool(*URLS).place(TARGET, key(number))
    assert pool(*urls).place(TARGET, key(number)) == before
    after = pool(*(url for url in urls if url != gone)).place(TARGET, key(number))
    assert (after == before) or before == Endpoint("main", gone, Upstream()).digest


def test_sequences_are_spread_over_the_endpoints() -> None:
    """2 000 over five: each gets 400, with a standard deviation of 18."""
    whole = pool(*URLS)
    counts = Counter(whole.place(TARGET, key(number)) for number in range(2_000))
    assert len(counts) == 5
    assert all(310 < count < 490 for count in counts.values())


def test_one_that_does_not_have_the_version_is_no_place() -> None:
    """Nor one that is not ready; where there is none, that is said."""
    some = pool(*URLS[:2])
    first, second = some.endpoints
    first.ready = False
    assert {some.place(TARGET, key(number)) for number in range(20)} == {second.digest}
    second.versions = frozenset()
    some.changed()
    with pytest.raises(GatewayError) as refused:
        some.place(TARGET, key(1))
    assert refused.value.kind is Kind.UNAVAILABLE


def test_who_asks_for_a_place_that_is_none_is_told_why() -> None:
    """Before anything is sent."""
    some = pool(URLS[0])
    (endpoint,) = some.endpoints

    def asked(place: bytes) -> str:
        exchange = Exchange(None, b"", b"", None, None, 0.0, None)  # type: ignore[arg-type]
        try:
            asyncio.run(some.run_at(place, exchange, TARGET, grpc=False))
        except StateGone as gone:
            return gone.reason
        except GatewayError as refused:
            return refused.kind.value
        raise AssertionError("it was sent")

    assert asked(b"another!") == "endpoint"
    endpoint.versions = frozenset()
    assert asked(endpoint.digest) == "unloaded"
    endpoint.ready = False
    assert asked(endpoint.digest) == "unavailable"
