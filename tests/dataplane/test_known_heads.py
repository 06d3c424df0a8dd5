"""A head that was understood before is not parsed again: what comes of it is the same, and nothing else is taken for it."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.http.known_heads import KnownHeads
from gateway.dataplane.http.reader import RequestReader
from gateway.dataplane.http.routes import Routes
from gateway.dataplane.request_id import RequestIds
from gateway.errors import GatewayError
from gateway.settings import Inference

MIB = 1024 * 1024
HEAD = (
    b"POST /v2/models/a/infer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key\r\n"
    b"Maas-Routing-Key: user-1\r\nContent-Length: 2\r\n\r\n"
)


class Forgetful(KnownHeads):
    """Learns nothing, so that all is parsed."""

    def learn(self, *_: object) -> None:
        """Do not."""


class Caller:
    """One connection's requests, and what became of their bodies. Its heads may be known from another caller's."""

    def __init__(self, known: KnownHeads | None = None) -> None:
        self.known_heads = KnownHeads(16_384, 64 * MIB) if known is None else known
        self.requests: list[Any] = []
        self.refused_with: list[GatewayError] = []
        self.route = Routes().find
        self._reader = RequestReader(self, self, Inference(), RequestIds())  # type: ignore[arg-type]

    def send(self, *reads: bytes) -> "Caller":
        """What each read brings."""
        for data in reads:
            if not self._reader.stopped:
                self._reader.buffer()[: len(data)] = data
                self._reader.read(len(data))
        return self

    @property
    def seen(self) -> list[tuple[object, ...]]:
        """All that tells one request from another, its id and the time aside."""
        return [
            (
                request.http_11, request.keep_alive, request.target, request.head,
                request.route, request.body and request.body.complete, request.body and request.body.take(),
                None if request.refusal is None else request.refusal.detail,
            )
            for request in self.requests
        ]  # fmt: skip

    @property
    def known(self) -> int:
        """How many heads are remembered."""
        return len(self.known_heads)

    def request_arrived(self, request: Any) -> None:
        self.requests.append(request)

    def refused(self, error: GatewayError, *_: object) -> None:
        self.refused_with.append(error)

    def body_failed(self, error: GatewayError) -> None:
        self.refused_with.append(error)

    def request_ended(self) -> None: ...
    def body_wanted(self) -> None: ...
    def hold_body(self, hold: bool) -> None: ...


def with_key(value: bytes, name: bytes = b"Maas-Routing-Key") -> bytes:
    """The head with another routing key."""
    return HEAD.replace(b"Maas-Routing-Key: user-1", name + b": " + value)


def test_the_same_bytes_are_the_same_request() -> None:
    """Pipelined, cut anywhere, alone or behind one another."""
    whole = HEAD + b"{}"
    caller = Caller().send(whole, whole + whole + whole[:30], whole[30:], HEAD, b"{", b"}", whole[:-1], b"}")
    assert len(caller.requests) == 6
    assert {str(each) for each in caller.seen} == {str(caller.seen[0])}
    assert caller.seen[0][-2:] == (b"{}", None)
    assert caller.known == 1


def test_the_routing_key_may_be_another() -> None:
    """Each request has its own."""
    keys = [b"user-2", b"u", b"a,b;c=d", b"x" * 256, b"user-1"]
    caller = Caller().send(HEAD + b"{}", *(with_key(key) + b"{}" for key in keys))
    assert [request.head.routing_key for request in caller.requests] == [b"user-1", *keys]
    assert caller.known == 1


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"a b",
        b"\tx",
        b"x" * 257,
        b"\xff",
        b"a\rb",
        b"a\nX-Api-Key: b",
        b"a\x00b",
        b"a\r\nMaas-Routing-Key: b",
    ],
)
def test_what_is_no_plain_routing_key_is_parsed(value: bytes) -> None:
    """As if nothing were known."""
    reads = (HEAD + b"{}", with_key(value) + b"{}", HEAD + b"{}")
    known, parsed = Caller().send(*reads), Caller(Forgetful(16_384, 64 * MIB)).send(*reads)
    assert known.seen == parsed.seen
    assert [each.detail for each in known.refused_with] == [each.detail for each in parsed.refused_with]


def test_a_second_routing_key_is_found_however_it_is_spelled() -> None:
    """A head with one key under another spelling is known whole, and lends its rest to no head with two."""
    odd = with_key(b"user-1", b"mAAS-routing-key")
    twice = odd.replace(b"Host: x\r\n", b"Host: x\r\nMaas-Routing-Key: user-2\r\n")
    for first in (odd, HEAD, with_key(b"user-1", b"MAAS-ROUTING-KEY")):
        caller = Caller().send(first + b"{}", twice + b"{}")
        (error,) = caller.refused_with
        assert "twice" in error.detail


TRACE = b"traceparent: 00-0af7651916cd43dd8448eb211c8031%02d-b7ad6b7169203331-01\r\ntracestate: a=%d\r\n"


def test_what_clients_send_anew_each_time_may_be_another() -> None:
    """Ids, traces and lengths: each request has its own."""
    caller = Caller()
    for number in range(20):
        fields = b"X-Request-Id: id-%d\r\n" % number + TRACE % (number, number)
        body = b"x" * number * 7
        head = HEAD.replace(b"Content-Length: 2\r\n", fields + b"Content-Length: %d\r\n" % len(body))
        caller.send(head + body)
    for number, request in enumerate(caller.requests):
        assert request.request_id == f"id-{number}"
        assert request.head.trace.trace_id == f"0af7651916cd43dd8448eb211c8031{number:02d}"
        assert request.head.trace.state == b"a=%d" % number
        assert request.body.take() == b"x" * number * 7
    assert caller.known == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Content-Length: 2", b"Content-Length: 99999999999"),
        (b"Content-Length: 2", b"Content-Length: 999999999999"),
        (b"Content-Length: 2", b"Content-Length: +2"),
        (b"Content-Length: 2", b"Content-Length: 2, 2"),
        (b"Content-Length: 2", b"Content-Length: "),
        (b"Content-Length: 2", b"Content-Length: 1"),
        (b"X-Request-Id: a", b"X-Request-Id: " + b"a" * 129),
        (b"X-Request-Id: a", b"X-Request-Id: a/b"),
        (b"traceparent: b", b"traceparent: 00-0af7651916cd43dd8448eb211c803119-b7ad6b7169203331-01"),
        (b"tracestate: c", b"tracestate: c=1, d=2"),
    ],
)
def test_other_values_are_judged_as_if_nothing_were_known(before: bytes, after: bytes) -> None:
    """Refused, ignored or taken, whatever the parser and the head's rules say of them."""
    odd = b"X-Request-Id: a\r\ntraceparent: b\r\ntracestate: c\r\nInference-Header-Content-Length: 2\r\n"
    first = HEAD.replace(b"Host: x\r\n", b"Host: x\r\n" + odd)
    reads = (first + b"{}", first.replace(before, after) + b"{}", first + b"{}")
    known, parsed = Caller().send(*reads), Caller(Forgetful(16_384, 64 * MIB)).send(*reads)
    assert known.seen == parsed.seen
    assert [each.detail for each in known.refused_with] == [each.detail for each in parsed.refused_with]


@pytest.mark.parametrize("field", [b"Expect: 100-continue", b"Connection: close", b"X-Request-Id:a"])
def test_what_ends_its_connection_waits_or_is_oddly_written_is_not_remembered(field: bytes) -> None:
    """It is parsed each time."""
    assert Caller().send(HEAD.replace(b"Host: x", b"Host: x\r\n" + field) + b"{}").known == 0


def test_what_was_refused_is_not_remembered() -> None:
    """However often it comes."""
    wrong = HEAD.replace(b"/v2/models/a/infer", b"/v2/models/a/none") + b"{}"
    caller = Caller().send(wrong, wrong)
    assert len(caller.refused_with) == 2
    assert caller.known == 0


def test_an_empty_line_in_front_changes_nothing() -> None:
    """It is skipped (RFC 9112 section 2.2), and no head of its own."""
    caller = Caller().send(b"\r\n\r\n" + HEAD + b"{}", HEAD + b"{}", b"\r\n" + HEAD + b"{}")
    assert [each[-2] for each in caller.seen] == [b"{}"] * 3


def test_memory_is_bounded() -> None:
    """Callers that never repeat themselves fill nothing up, on one connection or many."""
    shared = KnownHeads(16_384, 64 * MIB)
    for number in range(2000):
        caller = Caller(shared)
        for turn in range(2 if number else 100):
            caller.send(HEAD.replace(b"Host: x", b"Host: x%d-%d" % (number, turn)) + b"{}")
        if not number:
            assert caller.known <= 32
    assert len(shared) <= 1024


def test_connections_share_what_they_know() -> None:
    """A caller's second connection costs no more memory than its first."""
    shared = KnownHeads(16_384, 64 * MIB)
    for _ in range(10):
        Caller(shared).send(HEAD + b"{}", HEAD + b"{}")
    assert len(shared) == 1


LINES = st.sampled_from(
    [b"Maas-Routing-Key: a", b"maas-routing-key: b", b"Maas-Routing-Key:c", b"X-Routing-Key: d", b"X-Request-Id: e", b"x-request-id: e2", b"X-Request-Id: e/3", b"traceparent: " + b"00-0af7651916cd43dd8448eb211c803119-b7ad6b7169203331-01", b"tracestate: a=1",
     b"Accept: */*", b"Outing-: f", b"Maas-Routing-Key: g h", b"Expect: 100-continue", b"Connection: keep-alive"]
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, good or bad."""
    body = draw(st.sampled_from([b"", b"{}", b"\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n"]))
    length = b"" if not body and draw(st.booleans()) else b"Content-Length: %d\r\n" % len(body)
    path = draw(
        st.sampled_from([b"/v2/models/a/infer", b"/v2/models/outing-/infer", b"/v2/models/a/infer?outing-"])
    )
    lines = b"".join(line + b"\r\n" for line in draw(st.lists(LINES, max_size=3)))
    return b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + lines + length + b"\r\n" + body


@given(st.lists(requests(), min_size=1, max_size=4), st.lists(st.integers(0, 400), max_size=6))
def test_known_or_parsed_is_the_same(distinct: list[bytes], cuts: list[int]) -> None:
    """Any requests, each sent twice, in any pieces."""
    stream = b"".join(distinct) * 2
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reads = [stream[begin:end] for begin, end in itertools.pairwise(places)]
    known, parsed = Caller().send(*reads), Caller(Forgetful(16_384, 64 * MIB)).send(*reads)
    assert known.seen == parsed.seen
    assert [each.detail for each in known.refused_with] == [each.detail for each in parsed.refused_with]
