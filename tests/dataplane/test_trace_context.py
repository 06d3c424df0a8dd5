"""Trace context over HTTP while tracing is off: what is valid passes unchanged, what is not does not pass."""

import pytest

from tests.dataplane.raw import ask, request
from tests.dataplane.upstream import Upstream
from tests.gateway_process import Gateway, wait_for

pytestmark = pytest.mark.slow

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01".encode()


def passed(upstream: Upstream) -> list[tuple[bytes, bytes]]:
    """The fields of trace context that reached the upstream with the last call."""
    return [field for field in upstream.talks[-1].fields if field[0].lower().startswith(b"trace")]


@pytest.mark.parametrize("parent", [PARENT, PARENT[:-2] + b"00", b"cc" + PARENT[2:] + b"-more"])
@pytest.mark.parametrize("state", [b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", b" a=1 , b=2 "])
def test_a_valid_context_passes_byte_for_byte(
    gateway: Gateway, upstream: Upstream, parent: bytes, state: bytes
) -> None:
    """Whatever its flags, version and spaces, in any spelling of the names; the access log has it too."""
    headers = b"TraceParent: " + parent + b"\r\nTRACESTATE:" + state + b"\r\n"
    reply = ask(gateway.address, request(headers=headers))
    assert reply.status == 200
    assert passed(upstream) == [(b"traceparent", parent), (b"tracestate", state.strip())]
    request_id = reply.header("X-Request-Id")

    def lines() -> list[dict[str, object]]:
        return [line for line in gateway.access_log() if line["request_id"] == request_id]

    wait_for(lines, what="the access log")
    found = lines()[0]
    assert (found["traceparent"], found["trace_id"], found["span_id"]) == (parent.decode(), TRACE, "")


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"traceparent: " + PARENT + b"\r\ntraceparent: " + PARENT + b"\r\n", id="twice"),
        pytest.param(b"traceparent: ff" + PARENT[2:] + b"\r\n", id="version ff"),
        pytest.param(b"traceparent: " + PARENT.replace(TRACE.encode(), b"0" * 32) + b"\r\n", id="zeros"),
        pytest.param(b"traceparent: " + PARENT.upper() + b"\r\n", id="upper case"),
        pytest.param(b"traceparent: \xff\xfe\r\n", id="not ASCII"),
        pytest.param(b"", id="a state alone"),
    ],
)
def test_a_context_that_is_not_valid_does_not_pass(
    gateway: Gateway, upstream: Upstream, headers: bytes
) -> None:
    """The request is served as if it had none: not the parent and not the state go upstream."""
    assert ask(gateway.address, request(headers=headers + b"tracestate: a=1\r\n")).status == 200
    assert passed(upstream) == []


def test_a_state_that_is_not_valid_costs_only_itself(gateway: Gateway, upstream: Upstream) -> None:
    """The parent goes on without it."""
    headers = b"traceparent: " + PARENT + b"\r\ntracestate: No=1\r\n"
    assert ask(gateway.address, request(headers=headers)).status == 200
    assert passed(upstream) == [(b"traceparent", PARENT)]


def test_a_state_in_several_fields_goes_on_as_one(gateway: Gateway, upstream: Upstream) -> None:
    """In the order that they came in (RFC 9110 section 5.3)."""
    headers = b"tracestate: a=1\r\ntraceparent: " + PARENT + b"\r\ntracestate: b=2\r\n"
    assert ask(gateway.address, request(headers=headers)).status == 200
    assert passed(upstream) == [(b"traceparent", PARENT), (b"tracestate", b"a=1,b=2")]
