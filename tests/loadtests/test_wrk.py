"""What the load generator is told and what is read from its output."""

import json
from pathlib import Path

import pytest

from loadtests import wrk
from loadtests.payloads import all_payloads, json_payload
from loadtests.processes import BenchError

OUTPUT = """Running 2s test @ http://127.0.0.1:18100/v2/models/digits/infer
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   406.05us    1.02ms  23.97ms   98.48%
    Req/Sec    76.27k     3.55k   83.91k    75.00%
  151832 requests in 2.01s, 23.46MB read
Requests/sec:  75628.67
Transfer/sec:     11.68MB
BENCH {"requests":151832,"duration_us":2007600,"mean_us":406.0,"p50_us":341.0,\
"p99_us":1506.5,"max_us":23970.0,"errors":{"connect":0,"read":0,"write":0,"status":0,"timeout":0}}
"""


def test_the_result_line_gives_rate_and_latencies() -> None:
    """Requests over the measured time, and percentiles in microseconds, come from the script's own line."""
    load = wrk.parse(OUTPUT)
    assert load.requests_per_s == pytest.approx(75_628.6, abs=0.1)
    assert (load.p50_us, load.p99_us) == (341.0, 1506.5)
    assert not any(load.errors.values())


def test_output_without_a_result_is_an_error() -> None:
    """A script that failed prints no result: that must never pass for a measurement."""
    with pytest.raises(BenchError, match="no result"):
        wrk.parse("PANIC: unprotected error in call to Lua API")


def test_a_header_with_any_byte_becomes_a_lua_string(tmp_path: Path) -> None:
    """Quotes, backslashes and line ends in a header value cannot break out of the script."""
    script = wrk.write_script(tmp_path, json_payload(), {"X-API-Key": 'a"b\\c\nd'})
    assert '["X-API-Key"] = "a\\034b\\092c\\010d"' in script.read_text()


def test_only_the_small_payload_rotates_routing_keys(tmp_path: Path) -> None:
    """A copy for each routing key is made of 100 bytes, never of 16 MB."""
    scripts = {
        name: wrk.write_script(tmp_path, payload, payload.headers).read_text()
        for name, payload in all_payloads().items()
        if not payload.grpc and not payload.streams
    }
    assert {name for name, text in scripts.items() if "local keys = 1\n" in text} == {"600KB", "16MB"}


def test_payloads_have_their_sizes_and_binary_headers() -> None:
    """100 bytes of JSON; tensors whose header length and `binary_data_size` fit the body exactly."""
    payloads = all_payloads()
    assert len(payloads["json"].body) == 100
    json.loads(payloads["json"].body)
    for name, about in (("600KB", 600_000), ("16MB", 16 * 1024 * 1024)):
        payload = payloads[name]
        head = int(payload.headers["Inference-Header-Content-Length"])
        declared = json.loads(payload.body[:head])["inputs"][0]["parameters"]["binary_data_size"]
        assert head + declared == len(payload.body)
        assert abs(declared - about) < 256
