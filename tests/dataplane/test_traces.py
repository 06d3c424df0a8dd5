"""Traces of a real gateway, as a collector gets them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.snapshot.adapters import GenerateAdapter
from gateway.snapshot.document import ModelEntry, PoolEntry
from tests.dataplane.raw import RawClient, Reply, ask, request, until_answered
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import (
    APP,
    PINNER,
    ROOT,
    STRANGER,
    Gateway,
    alias_entry,
    changed,
    document,
    running,
    wait_for,
    with_adapters,
)
from tests.observe import collector as behaviour
from tests.observe.collector import Collector, attributes

pytestmark = pytest.mark.slow

CALLER = "b7ad6b7169203331"
ERROR = Span().status.STATUS_CODE_ERROR
_number = iter(range(1, 1_000_000))


class Setting:
    """A gateway that traces everything, between an upstream and a collector."""

    def __init__(self, gateway: Gateway, upstream: Upstream, collector: Collector) -> None:
        self.gateway, self.upstream, self.collector = gateway, upstream, collector

    def ask(self, path: str = "/v2/models/a/infer", *, flags: str = "01", **how: Any) -> tuple[Reply, str]:
        """One request within a trace of its own: the reply, and the trace's id."""
        trace_id = f"{next(_number):032x}"
        headers = f"traceparent: 00-{trace_id}-{CALLER}-{flags}\r\n".encode() + how.pop("headers", b"")
        return ask(self.gateway.address, request(path, headers=headers, **how), 20), trace_id

    def spans(self, trace_id: str, least: int = 2) -> tuple[Span, list[Span]]:
        """The gateway's own span of a trace, and those within it in the order that they began in."""

        def whole() -> bool:
            return any(span.kind == span.SPAN_KIND_SERVER for span in self.collector.of(trace_id, least))

        # The gateway's own span is the last of its trace.
        wait_for(whole, what="the gateway's own span")
        found = self.collector.of(trace_id, least)
        (server,) = [span for span in found if span.kind == span.SPAN_KIND_SERVER]
        within = [span for span in found if span is not server]
        assert all(span.parent_span_id == server.span_id for span in within)
        assert all(server.start_time_unix_nano <= span.start_time_unix_nano for span in within)
        assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in within)
        assert all(span.end_time_unix_nano <= server.end_time_unix_nano for span in within)
        return server, sorted(within, key=lambda span: span.start_time_unix_nano)

    def line(self, request_id: str | None) -> dict[str, Any]:
        """A request's line in the access log."""

        def lines() -> list[dict[str, Any]]:
            return [line for line in self.gateway.access_log() if line["request_id"] == request_id]

        wait_for(lines, what="the access log")
        return lines()[0]


def sent(talk: Talk, name: bytes) -> bytes | None:
    """A field that the upstream got."""
    found = [value for field, value in talk.fields if field.lower() == name]
    assert len(found) < 2
    return found[0] if found else None


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """One for all."""
    upstream, collector = Upstream(), Collector()
    settings = {"TRACES__ENDPOINT": collector.url, "TRACES__SAMPLE_RATIO": 1, "TRACES__MOST_PER_S": 100_000}
    folder = tmp_path_factory.mktemp("traced")
    with running(
        folder,
        with_adapters(document(upstream.url), a=GenerateAdapter()),
        INFERENCE__DEADLINE_S=3,
        TRACES__HEADERS="X-Key=a-planted-header",
        **settings,
    ) as gateway:
        until_answered(gateway.address)
        yield Setting(gateway, upstream, collector)
    upstream.close()
    collector.close()


@pytest.fixture
def traced(shared: Setting) -> Setting:
    """As good as new: with these spans all that were finished before them have arrived."""
    shared.upstream.renew()
    shared.collector.renew()
    shared.spans(shared.ask()[1])
    shared.upstream.renew()
    shared.collector.renew()
    return shared


def test_a_call_is_a_span_of_its_callers_trace(traced: Setting) -> None:
    """The caller's span is the parent of the gateway's, that of the call upstream, and that of what happens there."""
    reply, trace_id = traced.ask("/v2/models/a/infer?x=1", headers=b"tracestate: a=1,b=2\r\n")
    assert reply.status == 200
    server, within = traced.spans(trace_id)
    call = within[-1]
    assert (server.parent_span_id.hex(), server.trace_state, server.flags) == (CALLER, "a=1,b=2", 0x301)
    assert (call.kind, call.flags) == (call.SPAN_KIND_CLIENT, 0x101)
    talk = traced.upstream.talks[-1]
    assert sent(talk, b"traceparent") == f"00-{trace_id}-{call.span_id.hex()}-01".encode()
    assert sent(talk, b"tracestate") == b"a=1,b=2"
    host, port = traced.gateway.address
    endpoint = traced.upstream.url
    assert server.name == "POST /v2/models/{alias}/infer"
    assert attributes(server) == {
        "http.request.method": "POST", "http.route": "/v2/models/{alias}/infer", "url.path": "/v2/models/a/infer",
        "url.scheme": "http", "server.address": host, "server.port": port, "network.protocol.version": "1.1",
        "http.response.status_code": 200, "feature_flag.key": "a", "feature_flag.provider.name": "maas",
        "feature_flag.result.variant": "m@1", "feature_flag.result.reason": "static", "maas.alias": "a",
        "maas.model": "m", "maas.version": 1, "maas.arm": "stable", "maas.pool": "main", "maas.endpoint": endpoint,
        "maas.principal": "app:caller", "maas.operation": "infer", "maas.protocol": "http", "maas.outcome": "ok",
        "maas.request_id": reply.header("X-Request-Id"),
    }  # fmt: skip
    assert call.name == "POST"
    assert attributes(call) == {
        "http.request.method": "POST", "url.full": f"{endpoint}/v2/models/m/versions/1/infer",
        "server.address": "127.0.0.1", "server.port": traced.upstream.port, "network.protocol.version": "1.1",
        "http.response.status_code": 200, "maas.endpoint": endpoint, "maas.pool": "main", "maas.model": "m",
        "maas.version": 1,
    }  # fmt: skip
    assert (server.status.code, call.status.code) == (0, 0)
    line = traced.line(reply.header("X-Request-Id"))
    assert (line["trace_id"], line["span_id"]) == (trace_id, server.span_id.hex())
    assert abs(server.start_time_unix_nano / 1e9 - time.time()) < 60
    took_s = (server.end_time_unix_nano - server.start_time_unix_nano) / 1e9
    assert took_s == pytest.approx(line["duration_s"], abs=1e-4)


def test_a_call_of_the_openai_api_is_a_span_too(traced: Setting) -> None:
    """Of the path that was asked for; upstream it is a call of the model."""
    traced.upstream.behave = lambda talk: talk.answer(body=b'{"text_output": "x"}')
    reply, trace_id = traced.ask("/v1/completions", body=b'{"model": "a", "prompt": "p"}')
    assert reply.status == 200
    server, within = traced.spans(trace_id)
    assert server.name == "POST /v1/completions"
    found = attributes(server)
    assert (found["url.path"], found["maas.protocol"], found["maas.alias"]) == (
        "/v1/completions",
        "openai",
        "a",
    )
    assert attributes(within[-1])["url.full"] == f"{traced.upstream.url}/v2/models/m/versions/1/generate"
    refused, trace_id = traced.ask("/v1/completions", body=b"{")
    server, _ = traced.spans(trace_id, 1)
    assert (refused.status, attributes(server)["maas.outcome"]) == (400, "bad_request")


@pytest.mark.parametrize("headers", [b"", b"traceparent: 00-" + b"0" * 32 + b"-b7ad6b7169203331-01\r\n"])
def test_a_call_without_a_trace_begins_one(traced: Setting, headers: bytes) -> None:
    """A root of its own, also where the caller's context is not valid; the access log tells its id."""
    reply = ask(traced.gateway.address, request(headers=headers))
    line = traced.line(reply.header("X-Request-Id"))
    server, within = traced.spans(line["trace_id"])
    assert server.parent_span_id == b""
    assert server.flags == 0x101
    assert line["traceparent"] == ""
    expected = f"00-{line['trace_id']}-{within[-1].span_id.hex()}-01".encode()
    assert sent(traced.upstream.talks[-1], b"traceparent") == expected
    assert sent(traced.upstream.talks[-1], b"tracestate") is None


def test_a_caller_that_keeps_no_trace_is_left_alone(traced: Setting) -> None:
    """Its context passes byte for byte, and nothing is told to the collector."""
    reply, quiet = traced.ask(flags="00", headers=b"tracestate: a=1 , b=2\r\n")
    talk = traced.upstream.talks[-1]
    assert sent(talk, b"traceparent") == f"00-{quiet}-{CALLER}-00".encode()
    assert sent(talk, b"tracestate") == b"a=1 , b=2"
    assert traced.line(reply.header("X-Request-Id"))["span_id"] == ""
    _, loud = traced.ask()
    traced.spans(loud)
    assert {span.trace_id.hex() for span in traced.collector.spans} == {loud}


def test_splits_and_pinned_versions_tell_how_they_were_chosen(traced: Setting) -> None:
    """As the result of a feature flag."""
    reasons = set()
    for path in ("/v2/models/split/infer", "/v2/models/a/versions/2/infer"):
        reply, trace_id = traced.ask(path, credential=f"X-API-Key: {PINNER}\r\n".encode())
        assert reply.status == 200
        server, _ = traced.spans(trace_id)
        found = attributes(server)
        served = (reply.header("Maas-Served-By") or "").replace("/", "@")
        assert found["feature_flag.result.variant"] == served
        reasons.add((found["http.route"], found["url.path"], found["feature_flag.result.reason"]))
    assert reasons == {
        ("/v2/models/{alias}/infer", "/v2/models/split/infer", "split"),
        ("/v2/models/{alias}/versions/{version}/infer", "/v2/models/a/versions/2/infer", "targeting_match"),
    }


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_what_the_model_refuses_or_fails_is_told(traced: Setting, status: int) -> None:
    """To the caller's side only what is no fault of its own is an error; to the upstream's all are."""
    traced.upstream.behave = lambda talk: talk.answer(status, b"{}")
    _, trace_id = traced.ask()
    server, within = traced.spans(trace_id)
    call = within[-1]
    assert attributes(server)["http.response.status_code"] == status
    assert attributes(call)["http.response.status_code"] == status
    assert (call.status.code, attributes(call)["error.type"]) == (ERROR, str(status))
    failed = status >= 500
    assert server.status.code == (ERROR if failed else 0)
    assert attributes(server).get("error.type") == (str(status) if failed else None)


def test_a_refusal_is_a_span_without_a_call(traced: Setting) -> None:
    """Who may not, and what is not there."""
    reply, trace_id = traced.ask(credential=f"X-API-Key: {STRANGER}\r\n".encode())
    assert reply.status == 404
    server, within = traced.spans(trace_id, 1)
    assert not within
    found = attributes(server)
    assert (found["http.response.status_code"], found["maas.outcome"]) == (404, "not_found")
    assert found["maas.principal"] == "app:stranger"
    assert not {"maas.model", "feature_flag.key", "error.type", "maas.endpoint"} & set(found)


def test_an_upstream_that_hangs_or_breaks_is_told(traced: Setting) -> None:
    """What went wrong is the type of the error, on both spans."""
    for behave, kind, status in (
        (Talk.take_then_hang, "deadline", 504),
        (Talk.reset, "bad_gateway", 502),
    ):
        traced.upstream.behave = behave
        reply, trace_id = traced.ask()
        assert reply.status == status
        server, within = traced.spans(trace_id)
        for span in (server, within[-1]):
            assert (span.status.code, attributes(span)["error.type"]) == (ERROR, kind)
        assert attributes(server)["http.response.status_code"] == status
        assert "http.response.status_code" not in attributes(within[-1])


def test_a_caller_that_goes_is_told(traced: Setting) -> None:
    """Without a status, since it got none."""
    traced.upstream.behave = Talk.take_then_hang
    trace_id = f"{next(_number):032x}"
    with RawClient(traced.gateway.address) as client:
        client.send(request(headers=f"traceparent: 00-{trace_id}-{CALLER}-01\r\n".encode()))
        wait_for(lambda: traced.upstream.talks, what="the call upstream")
    server, within = traced.spans(trace_id)
    for span in (server, within[-1]):
        assert (span.status.code, attributes(span)["error.type"]) == (ERROR, "caller_gone")
        assert "http.response.status_code" not in attributes(span)


def test_who_has_no_credential_makes_nobody_keep_a_trace(traced: Setting) -> None:
    """A caller's word counts only with a valid one; by chance a refusal may be traced."""
    reply, unknown = traced.ask(credential=b"X-API-Key: nobody's\r\n")
    assert reply.status == 401
    line = traced.line(reply.header("X-Request-Id"))
    assert (line["trace_id"], line["span_id"]) == (unknown, "")
    chance = ask(traced.gateway.address, request(credential=b""))
    trace_id = traced.line(chance.header("X-Request-Id"))["trace_id"]
    server, _ = traced.spans(trace_id, 1)
    assert attributes(server)["maas.outcome"] == "unauthenticated"
    assert "maas.principal" not in attributes(server)
    assert unknown not in {span.trace_id.hex() for span in traced.collector.spans}


def test_no_span_tells_a_secret(traced: Setting) -> None:
    """Not the credential, the query, a payload, a header field, or what the collector's own fields hold."""
    planted = b"planted-4c1b"
    bodies: list[bytes] = []

    def behave(received: behaviour.Request) -> None:
        bodies.append(received.body)
        received.take()

    traced.collector.behave = behave
    headers = b"Maas-Routing-Key: %b\r\nX-Other: %b\r\nUser-Agent: %b\r\nCookie: %b\r\n" % ((planted,) * 4)
    for path in (f"/v2/models/a/infer?q={planted.decode()}", "/v2/models/nosuch/infer"):
        reply, trace_id = traced.ask(path, body=b'{"x": "%b"}' % planted, headers=headers)
        assert reply.status in (200, 404)
        traced.spans(trace_id, 1)
    assert bodies
    for body in bodies:
        for secret in (planted, APP.encode(), b"a-planted-header"):
            assert secret not in body
    assert "a-planted-header" not in traced.gateway.log


def test_a_version_that_was_unloaded_is_asked_for_again(tmp_path: Path) -> None:
    """Each attempt is a span of its own, and the parent of what happens on its server."""
    first, second, collector = Upstream(), Upstream(), Collector()
    missing = b'{"error":"Request for unknown model: \'m\' is not found"}'
    calls: list[Talk] = []

    def behave(talk: Talk) -> None:
        calls.append(talk)
        talk.answer(400, missing) if len(calls) == 1 else talk.answer()

    first.behave = second.behave = behave
    with running(tmp_path, document(first.url, second.url), TRACES__ENDPOINT=collector.url) as gateway:
        wait_for(lambda: gateway.log.count("is ready") == 2, 10, "both endpoints")
        setting = Setting(gateway, first, collector)
        reply, trace_id = setting.ask()
        assert reply.status == 200
        _, within = setting.spans(trace_id, 3)
        attempts = [span for span in within if span.kind == span.SPAN_KIND_CLIENT]
        assert [attributes(span).get("error.type") for span in attempts] == ["not_loaded", None]
        assert [attributes(span).get("http.request.resend_count") for span in attempts] == [None, 1]
        assert len({attributes(span)["maas.endpoint"] for span in attempts}) == 2
        parents = [f"00-{trace_id}-{span.span_id.hex()}-01".encode() for span in attempts]
        assert [sent(talk, b"traceparent") for talk in calls] == parents
        connects = [span for span in within if span.name == "connect"]
        assert len(connects) == 2
    for server in (first, second, collector):
        server.close()


def test_the_embedded_engine_is_a_span_too(tmp_path: Path) -> None:
    """Not a call over HTTP, but the time that it took."""
    found = changed(
        document(),
        aliases=(alias_entry("a", ("digits", 1, 10_000)),),
        models=(ModelEntry("digits", "vision", "main", (1,)),),
        pools=(PoolEntry("main", "embedded", ()),),
    )
    collector = Collector()
    repository = ROOT / "model_repository"
    with running(
        tmp_path, found, TRACES__ENDPOINT=collector.url, EMBEDDED__MODEL_REPOSITORY=repository
    ) as gateway:
        _, trace_id = Setting(gateway, None, collector).ask("/v2/models/a", method="GET")  # type: ignore[arg-type]
        server, within = Setting(gateway, None, collector).spans(trace_id)  # type: ignore[arg-type]
        assert server.name == "GET /v2/models/{alias}"
        assert [(span.name, span.kind) for span in within] == [("embedded engine", server.SPAN_KIND_INTERNAL)]
        assert "maas.endpoint" not in attributes(server)
    collector.close()


def test_histograms_name_traces(traced: Setting) -> None:
    """An OpenMetrics scrape has the last trace of each bucket; Prometheus' own text has no place for it."""
    _, trace_id = traced.ask()
    traced.spans(trace_id)
    url = f"http://127.0.0.1:{traced.gateway.ops_port}/metrics"
    text = httpx.get(url, headers={"Accept": "application/openmetrics-text; version=1.0.0"}, timeout=60).text
    lines = [line for line in text.splitlines() if f'# {{trace_id="{trace_id}"}}' in line]
    assert {line.partition("{")[0] for line in lines} == {
        "maas_request_duration_seconds_bucket",
        "maas_overhead_duration_seconds_bucket",
        "maas_upstream_duration_seconds_bucket",
    }
    assert trace_id not in httpx.get(url, timeout=60).text
