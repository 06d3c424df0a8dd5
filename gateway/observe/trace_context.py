"""W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context-1/): what a caller's `traceparent` and `tracestate` say.

What is not valid counts as absent, and is not passed on as if it were valid.
"""

import re
from collections.abc import Sequence

import msgspec

_IDS_AND_FLAGS = rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_PARENT = re.compile(rb"00" + _IDS_AND_FLAGS).fullmatch
"""Sections 3.2.2.2 to 3.2.2.5."""

_LATER_PARENT = re.compile(rb"(?!00|ff)[0-9a-f]{2}" + _IDS_AND_FLAGS + rb"(?:-[!-~]{0,200})?").fullmatch
"""Later versions may say more, behind another hyphen (section 4.3)."""

_MOST_MEMBERS = 32
_MEMBER = re.compile(
    rb"(?:[a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    rb"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
).fullmatch
"""Section 3.3.1.3; a key may begin with a digit, as level 2 has it."""

_ODD = frozenset(b"13579bdf")
"""The last digit of flags whose lowest bit is set: sampled (section 3.2.2.5.1)."""

_SPACES = b" \t"


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """A caller's place in its trace: both fields as they came, empty where there is none.

    `fields` is the block that passes it on unchanged.
    """

    parent: bytes
    state: bytes
    fields: bytes

    @property
    def trace_id(self) -> str:
        """The trace's id: 32 hexadecimal digits, or empty."""
        return self.parent[3:35].decode()

    @property
    def span_id(self) -> str:
        """The id of the caller's span: 16 hexadecimal digits, or empty."""
        return self.parent[36:52].decode()

    @property
    def sampled(self) -> bool:
        """Whether the caller keeps this trace; bits of the flags that level 1 does not define count for nothing."""
        return bool(self.parent) and self.parent[54] in _ODD


NO_TRACE = TraceContext(b"", b"", b"")


def read_trace_context(parents: Sequence[bytes], states: Sequence[bytes]) -> TraceContext:
    """The context that these values of the two fields give; `NO_TRACE` without exactly one valid `traceparent`.

    A `tracestate` that is not valid costs only itself (section 3.3). Several are one list (RFC 9110 section 5.3). Spaces
    around a value are no part of it (section 5.5 there); the parser leaves those behind.
    """
    if len(parents) != 1:
        return NO_TRACE
    parent = parents[0].strip(_SPACES)
    if _PARENT(parent) is None and _LATER_PARENT(parent) is None:
        return NO_TRACE
    state = _valid_state(states) if states else b""
    fields = b"traceparent: " + parent + b"\r\n"
    if state:
        fields += b"tracestate: " + state + b"\r\n"
    return TraceContext(parent, state, fields)


def trace_fields(trace_id: str, span_id: str, state: bytes) -> bytes:
    """The block of fields that makes a span of ours, which is kept, the parent of what follows."""
    fields = f"traceparent: 00-{trace_id}-{span_id}-01\r\n".encode()
    return fields + b"tracestate: %b\r\n" % state if state else fields


def _valid_state(states: Sequence[bytes]) -> bytes:
    whole = b",".join([state.strip(_SPACES) for state in states])
    members = [member for each in whole.split(b",") if (member := each.strip(_SPACES))]
    if len(members) > _MOST_MEMBERS or not all(map(_MEMBER, members)):
        return b""
    return whole if members else b""
