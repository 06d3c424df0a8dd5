"""W3C Trace Context: what is a context and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.trace_context import NO_TRACE, read_trace_context, trace_fields

TRACE = b"0af7651916cd43dd8448eb211c80319c"
SPAN = b"b7ad6b7169203331"
PARENT = b"00-" + TRACE + b"-" + SPAN + b"-01"


@pytest.mark.parametrize(
    ("parent", "sampled"),
    [
        (PARENT, True),
        (PARENT[:-2] + b"00", False),
        pytest.param(PARENT[:-2] + b"03", True, id="a flag of level 2 beside it"),
        pytest.param(PARENT[:-2] + b"fe", False, id="all flags but this one"),
        pytest.param(b"cc" + PARENT[2:], True, id="a later version"),
        pytest.param(b"cc" + PARENT[2:] + b"-what-comes", True, id="a later version that says more"),
    ],
)
def test_a_valid_parent_is_understood(parent: bytes, sampled: bool) -> None:
    """Ids and the one flag of level 1; of later versions what this one knows (sections 3.2 and 4.3)."""
    context = read_trace_context([parent], [b"a=1"])
    assert (context.trace_id, context.span_id, context.sampled) == (TRACE.decode(), SPAN.decode(), sampled)
    assert context.fields == b"traceparent: " + parent + b"\r\ntracestate: a=1\r\n"
    assert read_trace_context([b" \t" + parent + b" "], [b"a=1 "]) == context


@pytest.mark.parametrize(
    "parents",
    [
        [],
        [b""],
        [PARENT, PARENT],
        [PARENT, b"x"],
        [b"ff" + PARENT[2:]],
        [b"0" + PARENT[2:]],
        [PARENT + b"-more"],
        [PARENT + b"-"],
        [b"cc" + PARENT[2:] + b"what"],
        [b"cc" + PARENT[2:] + b"-" + b"a" * 1000],
        [PARENT.upper()],
        [PARENT.replace(TRACE, b"0" * 32)],
        [PARENT.replace(SPAN, b"0" * 16)],
        [PARENT.replace(TRACE, TRACE[:-1])],
        [PARENT.replace(SPAN, SPAN + b"0")],
        [PARENT[:-1]],
        [PARENT[:-3]],
        [PARENT[:-2] + b"0x"],
        [PARENT.replace(b"-", b"_")],
        [PARENT + b", " + PARENT],
        [PARENT + b"\x00"],
        [b"\xff" * 55],
    ],
)
def test_what_is_no_parent_counts_as_absent(parents: list[bytes]) -> None:
    """Wrong version, ids, flags or length, or more than one: no context, and the state goes with it."""
    assert read_trace_context(parents, [b"a=1"]) is NO_TRACE
    assert (NO_TRACE.fields, NO_TRACE.trace_id, NO_TRACE.sampled) == (b"", "", False)


@pytest.mark.parametrize(
    ("states", "passed"),
    [
        ([], b""),
        ([b""], b""),
        ([b" , ,\t"], b""),
        ([b"foo=1"], b"foo=1"),
        ([b"foo=1 , bar=2,"], b"foo=1 , bar=2,"),
        ([b"foo=1", b"bar=2"], b"foo=1,bar=2"),
        ([b"a-_*/1=x y!"], b"a-_*/1=x y!"),
        ([b"fw529a3039@dt=FfffffeC"], b"fw529a3039@dt=FfffffeC"),
        ([b"a" * 256 + b"=" + b"1" * 256], b"a" * 256 + b"=" + b"1" * 256),
        ([b",".join(b"k%d=1" % i for i in range(32))], b",".join(b"k%d=1" % i for i in range(32))),
        ([b",".join(b"k%d=1" % i for i in range(33))], b""),
        ([b"k%d=1" % i for i in range(33)], b""),
        ([b"foo"], b""),
        ([b"foo="], b""),
        ([b"=1"], b""),
        ([b"Foo=1"], b""),
        ([b"foo =1"], b""),
        ([b"foo=1=2"], b""),
        ([b"foo=\x80"], b""),
        ([b"foo=1\x00"], b""),
        ([b"a@b@c=1"], b""),
        ([b"@dt=1"], b""),
        ([b"a@" + b"b" * 15 + b"=1"], b""),
        ([b"a" * 257 + b"=1"], b""),
        ([b"a=" + b"1" * 257], b""),
        ([b"good=1", b"B\xffd"], b""),
    ],
)
def test_a_state_is_passed_on_whole_or_not_at_all(states: list[bytes], passed: bytes) -> None:
    """Its list as it came, several fields joined; one that is not valid costs only itself, not the parent."""
    context = read_trace_context([PARENT], states)
    assert context.state == passed
    assert context.parent == PARENT
    assert (b"tracestate" in context.fields) == bool(passed)


@given(st.lists(st.binary(max_size=80), max_size=3), st.lists(st.binary(max_size=80), max_size=3))
def test_any_bytes_are_a_context_or_none(parents: list[bytes], states: list[bytes]) -> None:
    """Nothing fails, and no line break passes."""
    assert b"\n" not in read_trace_context(parents, states).fields.replace(b"\r\n", b"")
    assert b"\n" not in read_trace_context([PARENT], states).fields.replace(b"\r\n", b"")


def test_the_fields_of_a_span_are_a_context() -> None:
    """What the gateway sends for a span of its own is valid, sampled, and keeps the caller's state."""
    fields = trace_fields(TRACE.decode(), SPAN.decode(), b"foo=1")
    assert fields == b"traceparent: " + PARENT + b"\r\ntracestate: foo=1\r\n"
    assert trace_fields(TRACE.decode(), SPAN.decode(), b"") == b"traceparent: " + PARENT + b"\r\n"
