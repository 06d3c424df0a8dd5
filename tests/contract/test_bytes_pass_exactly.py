"""A reply through the gateway is the one that Triton gives: status and body to the byte, headers but the declared ones."""

import gzip
import http.client
import json
import time
import zlib
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pytest

from gateway.upstream.tritonserver import TritonServer
from tests.contract.conftest import Served
from tests.patience import in_time

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DECLARED = {"maas-served-by", "x-request-id"}
IMAGE = [[float(i % 17) for i in range(64)]]


class Asked(msgspec.Struct, frozen=True):
    """One request, on a model or its alias."""

    name: str
    model: str
    suffix: str = "/infer"
    body: bytes | list[bytes] | None = b""
    headers: dict[str, str] = {}


class Answered(NamedTuple):
    """Its reply; header names in lower case, sorted."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def infer(data: object, **extra: object) -> bytes:
    """A JSON request on `digits`."""
    inputs = [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": data}]
    return json.dumps({"inputs": inputs, **extra}).encode()


def binary(name: str, datatype: str, values: np.ndarray, **extra: object) -> tuple[bytes, dict[str, str]]:
    """A request with one binary input, and the header that says where it begins."""
    raw = values.tobytes()
    one = {
        "name": name,
        "shape": values.shape,
        "datatype": datatype,
        "parameters": {"binary_data_size": len(raw)},
    }
    text = json.dumps({"inputs": [one], **extra}).encode()
    return text + raw, {"Inference-Header-Content-Length": str(len(text))}


def corpus() -> Iterator[Asked]:
    """Requests good and bad, in every form."""
    good = infer(IMAGE)
    yield Asked("JSON", "digits", body=good)
    yield Asked(
        "JSON with id and parameters", "digits", body=infer(IMAGE, id="ä7", parameters={"priority": 1})
    )
    yield Asked("binary reply", "digits", body=infer(IMAGE, parameters={"binary_data_output": True}))
    picked = [{"name": "probabilities", "parameters": {"classification": 3}}]
    yield Asked("classes", "digits", body=infer(IMAGE, outputs=picked))
    values = np.arange(150_000, dtype=np.float32).reshape(1, -1)
    body, headers = binary("INPUT0", "FP32", values, parameters={"binary_data_output": True})
    yield Asked("600 KB", "identity_fp32", body=body, headers=headers)
    yield Asked(
        "600 KB in JSON", "identity_fp32", body=body, headers=headers | {"Accept-Encoding": "identity"}
    )
    pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
    yield Asked("600 KB in chunks", "identity_fp32", body=pieces, headers=headers)
    for coding, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        yield Asked(f"{coding} request", "digits", body=pack(good), headers={"Content-Encoding": coding})
        yield Asked(f"{coding} reply", "digits", body=good, headers={"Accept-Encoding": coding})
        long = {**headers, "Content-Encoding": coding, "Accept-Encoding": coding}
        yield Asked(f"{coding} 600 KB", "identity_fp32", body=pack(body), headers=long)
    yield Asked(
        "two codings to choose from", "digits", body=good, headers={"Accept-Encoding": "deflate, gzip;q=0.5"}
    )
    yield Asked("generate", "digits", "/generate", json.dumps({"image": IMAGE[0]}).encode())
    yield Asked("generate, wrong", "digits", "/generate", b'{"picture": 1}')
    yield Asked("stream", "repeat", "/generate_stream", b'{"text": "hi", "times": 5}')
    yield Asked(
        "stream that fails", "repeat", "/generate_stream", b'{"text": "hi", "times": 5, "fail_at": 2}'
    )
    yield Asked("stream, wrong", "repeat", "/generate_stream", b"{}")
    yield Asked("configuration", "digits", "/config", None)
    yield Asked("readiness", "digits", "/ready", None)
    for name, wrong in (
        ("nothing", b""),
        ("no JSON", b"{"),
        ("a list", b"[]"),
        ("no inputs", b"{}"),
        ("a wrong number of elements", infer([1.0])),
        ("a word for a number", infer(["seven"])),
        ("an unknown output", infer(IMAGE, outputs=[{"name": "guess"}])),
        ("broken text", b'{"inputs": "\xff\xfe"}'),
    ):
        yield Asked(name, "digits", body=wrong)
    yield Asked("a binary part too short", "identity_fp32", body=body[:-4], headers=headers)
    yield Asked("a binary part too long", "identity_fp32", body=body + b"1234", headers=headers)


def ask(url: str, model: str, asked: Asked, headers: dict[str, str]) -> Answered:
    """Send it, with no header but what is named."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    method = "GET" if asked.body is None else "POST"
    connection.putrequest(method, f"/v2/models/{model}/versions/1{asked.suffix}", skip_accept_encoding=True)
    for name, value in (asked.headers | headers).items():
        connection.putheader(name, value)
    chunked = isinstance(asked.body, list)
    if asked.body is not None:
        length = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(asked.body)))
        connection.putheader(*length)
    connection.endheaders(
        iter(asked.body) if isinstance(asked.body, list) else asked.body, encode_chunked=chunked
    )
    reply = connection.getresponse()
    found = sorted((name.lower(), value) for name, value in reply.getheaders())
    answered = Answered(reply.status, found, reply.read())
    connection.close()
    return answered


def passed_on(answered: Answered) -> list[tuple[str, str]]:
    """The headers that must be equal. How a body is framed is each connection's own affair (RFC 9112 section 6.1):
    what Triton sends in chunks may go on in one piece; a length that Triton names stays.
    """
    framing = {"transfer-encoding"} if ("transfer-encoding", "chunked") in answered.headers else set()
    found = [one for one in answered.headers if one[0] not in DECLARED | framing]
    return [one for one in found if one != ("content-length", str(len(answered.body)))]


@pytest.mark.parametrize("asked", [pytest.param(one, id=one.name.replace(" ", "-")) for one in corpus()])
def test_a_reply_is_tritons_own(on_triton: Served, triton: TritonServer, asked: Asked) -> None:
    """Status, body and headers are equal to those of a direct call, the two declared headers apart."""
    theirs = ask(triton.http_url, asked.model, asked, {})
    ours = ask(on_triton.gateway.inference_url, f"{asked.model}-live", asked, on_triton.app.headers)
    assert (ours.status, ours.body) == (theirs.status, theirs.body)
    assert passed_on(ours) == passed_on(theirs)
    served_by = f"{asked.model}/1"
    assert dict(ours.headers)["maas-served-by"] == served_by
    assert len([name for name, _ in ours.headers if name in DECLARED]) == len(DECLARED)


def test_the_callers_request_id_comes_back(served: Served) -> None:
    """`X-Request-Id` of a request stands on its reply; without one the gateway gives each reply another."""
    with served.gateway.caller(served.app) as http:
        reply = http.get("/v2/models/digits-live", headers={"X-Request-Id": "call-7"})
        assert reply.headers["X-Request-Id"] == "call-7"
        ids = {http.get("/v2/models/digits-live").headers["X-Request-Id"] for _ in range(5)}
        assert len(ids) == 5


def test_events_pass_as_they_are_made(on_triton: Served) -> None:
    """Each event of a stream reaches the caller before the model makes the next one."""
    times, delay_s = 4, 0.3
    wish = {"text": "tick", "times": times, "delay_ms": int(delay_s * 1000)}

    def latest() -> float:
        """By how much the latest of the events came after the first moment at which the model can have made it."""
        arrived = []
        events = []
        with on_triton.gateway.caller(on_triton.app) as http:
            began = time.monotonic()
            with http.stream("POST", "/v2/models/repeat-live/generate_stream", json=wish) as reply:
                assert reply.status_code == 200
                assert reply.headers["Content-Type"].startswith("text/event-stream")
                for line in reply.iter_lines():
                    if line:
                        arrived.append(time.monotonic() - began)
                        events.append(json.loads(line.removeprefix("data: ")))
        assert [event["index"] for event in events] == list(range(times))
        assert {event["text"] for event in events} == {"tick"}
        return max(at - number * delay_s for number, at in enumerate(arrived, start=1))

    in_time(latest, delay_s)


def test_a_caller_that_goes_ends_its_call(on_triton: Served) -> None:
    """A caller that hangs up in the middle of a stream leaves nothing under way, and the next one is served."""
    wish = {"text": "tick", "times": 600, "delay_ms": 100}
    with on_triton.gateway.caller(on_triton.app) as http:
        with http.stream("POST", "/v2/models/repeat-live/generate_stream", json=wish) as reply:
            next(reply.iter_lines())
        began = time.monotonic()
        # Two such models run at once: had the call gone on, a third would wait for its minute.
        for _ in range(3):
            short = http.post("/v2/models/repeat-live/generate_stream", json={"text": "x", "times": 1})
            assert short.status_code == 200
        assert time.monotonic() - began < 20


def test_generate_on_either_engine(served: Served) -> None:
    """`generate` takes a model's inputs by name and answers with its outputs by name; its stream is one event."""
    with served.gateway.caller(served.app) as http:
        whole = http.post("/v2/models/digits-live/versions/1/generate", json={"image": IMAGE[0]})
        assert whole.status_code == 200
        assert len(whole.json()["probabilities"]) == 10
        stream = http.post("/v2/models/digits-live/versions/1/generate_stream", json={"image": IMAGE[0]})
    assert stream.text.startswith("data: ")
    event = json.loads(stream.text.removeprefix("data: "))
    assert event["probabilities"] == pytest.approx(whole.json()["probabilities"], rel=1e-5)


def test_a_connection_carries_many_calls(on_triton: Served) -> None:
    """Calls that succeed, that Triton refuses and that the gateway refuses pass over one connection, one after another."""
    connection = http.client.HTTPConnection(on_triton.gateway.inference, timeout=30)
    connection.connect()
    first = connection.sock.getsockname()
    calls = [
        ("POST", "/v2/models/digits-live/infer", infer(IMAGE), 200),
        ("POST", "/v2/models/digits-live/infer", infer(IMAGE, outputs=[{"name": "guess"}]), 400),
        ("GET", "/v2/models/nobody-live", None, 404),
        ("GET", "/v2/models/digits-live/versions/01", None, 400),
        ("GET", "/v2/health/ready", None, 200),
    ]
    for method, path, body, status in calls * 5:
        connection.request(method, path, body, on_triton.app.headers)
        reply = connection.getresponse()
        reply.read()
        assert reply.status == status
        assert connection.sock is not None, f"the connection ended after {method} {path}"
        assert connection.sock.getsockname() == first
    connection.close()
