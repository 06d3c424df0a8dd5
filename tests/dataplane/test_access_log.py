"""The access log over HTTP: one line for every request, also for one that was refused as it was read."""

import re
from typing import Any

import pytest

from gateway.secret import Pseudonyms
from tests.dataplane.raw import RawClient, ask, request
from tests.gateway_process import APP, SECRET, Gateway, wait_for

pytestmark = pytest.mark.slow

KEY = "maas_AAAAAAAA_" + "a" * 49
TRACE = "0af7651916cd43dd8448eb211c80319c"
FULL = {
    "at", "request_id", "traceparent", "trace_id", "span_id", "principal", "alias", "model", "version", "arm", "protocol",
    "operation", "outcome", "status", "duration_s", "overhead_s", "queued_s", "upstream_s", "request_bytes", "reply_bytes",
}  # fmt: skip


def line_of(gateway: Gateway, request_id: str | None) -> dict[str, Any]:
    """The one line of a request, once it is there."""
    assert request_id

    def lines() -> list[dict[str, Any]]:
        return [line for line in gateway.access_log() if line["request_id"] == request_id]

    wait_for(lines, what="the access log")
    assert len(lines()) == 1
    return lines()[0]


def test_a_line_tells_who_what_and_how_long(gateway: Gateway) -> None:
    """Ids, principal, alias, target, arm, outcome, the durations and bytes."""
    reply = ask(gateway.address, request(body=b"{ }", headers=b"X-Request-Id: told-1\r\n"))
    line = line_of(gateway, "told-1")
    assert reply.header("X-Request-Id") == "told-1"
    assert set(line) == FULL
    assert (line["principal"], line["alias"], line["model"], line["version"]) == ("app:caller", "a", "m", 1)
    assert (line["arm"], line["outcome"], line["status"]) == ("stable", "ok", 200)
    assert (line["request_bytes"], line["reply_bytes"]) == (3, len(reply.body))
    assert line["duration_s"] == pytest.approx(line["overhead_s"] + line["queued_s"] + line["upstream_s"])
    assert line["upstream_s"] > 0


@pytest.mark.parametrize(
    ("data", "status", "outcome", "path"),
    [
        pytest.param(request("/nosuch?key=secret"), 404, "not_found", "/nosuch", id="no such path"),
        pytest.param(request("/v2/repository/index"), 403, "forbidden", "/v2/repository/index", id="admin"),
        pytest.param(request("/v2/models/a/infer", method="GET"), 405, "method_not_allowed", "/v2/models/a/infer", id="GET"),
        pytest.param(request("/v2/models/%61/infer"), 400, "bad_request", "/v2/models/?61/infer", id="an escape"),
        pytest.param(request("/<script>'\"\\"), 404, "not_found", "/?script????", id="odd bytes"),
        pytest.param(request(f"/v2/{KEY}/x"), 404, "not_found", "/v2/maas_AAAAAAAA_?redacted?/x", id="a key in the path"),
        pytest.param(request("/" + "a" * 5000), 404, "not_found", "/" + "a" * 127, id="a long path"),
        pytest.param(request(headers=b"Content-Length: 99999999999\r\n", length=False), 413, "too_large", "/v2/models/a/infer", id="too large"),
        pytest.param(request(headers=b"X: " + b"a" * 200_000 + b"\r\n"), 431, "headers_too_large", "/v2/models/a/infer", id="a large head"),
        pytest.param(b"GET  /v2 HTTP/1.1\r\n\r\n", 400, "bad_request", "/v2", id="no HTTP"),
        pytest.param(request(headers=b"Host: another\r\n"), 400, "bad_request", "/v2/models/a/infer", id="two hosts"),
    ],
)  # fmt: skip
def test_what_is_refused_as_it_is_read_has_a_line_too(
    gateway: Gateway, data: bytes, status: int, outcome: str, path: str
) -> None:
    """Its outcome, and of its path only so much as is safe to look at; nothing of its query, no credential."""
    reply = ask(gateway.address, data)
    assert reply.status == status
    line = line_of(gateway, reply.header("X-Request-Id"))
    assert set(line) - {"path"} == FULL
    assert (line["status"], line["outcome"], line.get("path", "")) == (status, outcome, path)
    assert (line["principal"], line["alias"], line["model"], line["version"]) == ("", "", "", 0)
    assert 0 <= line["duration_s"] < 30
    text = (gateway.folder / "logs" / "access.jsonl").read_text()
    assert KEY not in text
    assert APP not in text
    assert "secret" not in text


def test_a_refused_request_keeps_its_ids(gateway: Gateway) -> None:
    """Whoever looks for a request or a trace finds the refusal."""
    headers = f"X-Request-Id: mine-1\r\ntraceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n".encode()
    assert ask(gateway.address, request("/nosuch", headers=headers)).status == 404
    assert line_of(gateway, "mine-1")["trace_id"] == TRACE


def test_a_body_that_is_refused_under_way_has_one_line(gateway: Gateway) -> None:
    """Too large as it arrives, before there is a call or within one: one line, 413."""
    headers = b"Transfer-Encoding: chunked\r\nX-Request-Id: large-%d\r\n"
    piece = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    for index, path in enumerate(("/v2/models/a/infer", "/v2/models/a/generate")):
        with RawClient(gateway.address, 20) as client:
            client.send(request(path, b"", headers=headers % index, length=False), *[piece] * 330)
            assert client.reply().status == 413
        assert line_of(gateway, f"large-{index}")["outcome"] == "too_large"


def test_refusals_are_counted_by_code(gateway: Gateway) -> None:
    """A flood of them is seen in the metrics by its codes alone: no label has a value that callers choose."""
    import httpx

    def counted() -> float:
        text = httpx.get(f"http://127.0.0.1:{gateway.ops_port}/metrics", timeout=60).text
        found = re.search(r'^maas_requests_refused_total\{code="not_found"\} (\S+)', text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    before = counted()
    for index in range(3):
        assert ask(gateway.address, request(f"/flood/{index}")).status == 404
    assert counted() == before + 3


@pytest.mark.parametrize(
    "planted", ["078-05-1120", "DE89370400440532013000", "203.0.113.77", "4111111111111111"]
)
def test_nobody_stands_in_an_id_that_a_caller_made_up(gateway: Gateway, planted: str) -> None:
    """The reply has it back; the log has its pseudonym, the same each time."""
    for _ in range(2):
        headers = f"X-Request-Id: {planted}\r\n".encode()
        assert ask(gateway.address, request(headers=headers)).header("X-Request-Id") == planted
    pseudonym = Pseudonyms(SECRET.encode()).of(planted)

    def lines() -> int:
        return sum(line["request_id"] == pseudonym for line in gateway.access_log())

    wait_for(lambda: lines() == 2, what="the access log")
    assert planted not in str(gateway.access_log())


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/v2/models/joe.secret@example.com/infer", "[email]/infer"),
        ("/zzz/4111111111111111", "/zzz/[card]"),
    ],
)
def test_nobody_stands_in_a_path_that_is_none(gateway: Gateway, path: str, kept: str) -> None:
    """Detectors go over it as over a sample."""
    reply = ask(gateway.address, request(path))
    assert line_of(gateway, reply.header("X-Request-Id"))["path"] == kept


def test_nobody_stands_in_an_alias_that_is_none(gateway: Gateway) -> None:
    """What was looked up in vain is what a caller wrote there."""
    reply = ask(gateway.address, request("/v2/models/4111111111111111/infer"))
    assert reply.status == 404
    assert line_of(gateway, reply.header("X-Request-Id"))["alias"] == "[card]"
