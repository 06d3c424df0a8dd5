"""Heads that were understood before: clients repeat theirs, and the same bytes mean the same.

What is matched here was parsed by llhttp and judged by `head` when it first came. Only the values of some fields may
differ, those that clients send anew each time: they are judged as `head` does, and where there is any doubt, nothing
matches and the parser is asked.
"""

from collections.abc import Iterable

import msgspec

from gateway.dataplane.http.head import REQUEST_ID, Fields, Head
from gateway.dataplane.http.routes import Route
from gateway.observe.trace_context import NO_TRACE, read_trace_context

_LONGEST_BYTES = 2048
_MOST, _MOST_TRIED, _MOST_LEARNT = 1024, 4, 32
_LENGTH, _ROUTING_KEY, _REQUEST_ID, _TRACEPARENT, _TRACESTATE = range(5)
_VARYING = {
    b"content-length": _LENGTH,
    b"maas-routing-key": _ROUTING_KEY,
    b"x-request-id": _REQUEST_ID,
    b"traceparent": _TRACEPARENT,
    b"tracestate": _TRACESTATE,
}
_PLAIN = bytes(range(ord("!"), ord("~") + 1))
"""No space, and nothing that ends a line: a value of these is what it is wherever it stands."""

_MOST_DIGITS = 11


class KnownHead(msgspec.Struct, frozen=True, gc=False):
    """A head of HTTP/1.1 that leads to a route and ends no connection; its body has a length.

    It begins with `begin`; before each of the `chunks` stands the value of a varying field, of these `kinds`. `head` is what
    it was with the first ones.
    """

    begin: bytes
    chunks: tuple[bytes, ...]
    kinds: tuple[int, ...]
    target: bytes
    route: Route
    head: Head

    def read(self, data: bytearray, start: int, end: int, max_body_bytes: int) -> tuple[Head, int] | None:
        """The head that stands at `start`, and where it ends, before `end`; None where it is another or not all of it is here."""
        if not data.startswith(self.begin, start, end):
            return None
        at = start + len(self.begin)
        values = []
        for chunk in self.chunks:
            until = data.find(chunk, at, end)
            if until < 0:
                return None
            values.append(bytes(data[at:until]))
            at = until + len(chunk)
        head = self._judged(values, max_body_bytes)
        return None if head is None else (head, at)

    def _judged(self, values: list[bytes], max_body_bytes: int) -> Head | None:
        """The head with these values, if each is one that `read_head` takes as it is."""
        head = self.head
        length, routing_key, request_id = head.length, None, None
        parent: tuple[bytes, ...] = ()
        state: tuple[bytes, ...] = ()
        for kind, value in zip(self.kinds, values):  # noqa: B905 - equally long, and checking costs
            if kind == _LENGTH:
                if len(value) > _MOST_DIGITS or not value.isdigit():
                    return None
                length = int(value)
                if length > max_body_bytes or (head.json_bytes or 0) > length:
                    return None
            elif not value or value.translate(None, _PLAIN):
                return None
            elif kind == _ROUTING_KEY:
                routing_key = value
            elif kind == _TRACEPARENT:
                parent = (value,)
            elif kind == _TRACESTATE:
                state = (value,)
            elif REQUEST_ID(value):
                request_id = value.decode()
            else:
                return None
        trace = read_trace_context(parent, state) if parent else NO_TRACE
        return Head(
            head.credentials, routing_key, request_id, trace, head.headers, length, False, head.content_encoding,
            head.json_bytes, head.criticality,
        )  # fmt: skip


class KnownHeads:
    """What the connections of one listener know, so that those of one caller share it. It holds credentials, in memory alone."""

    def __init__(self, max_header_bytes: int, max_body_bytes: int) -> None:
        self.longest_bytes = min(_LONGEST_BYTES, max_header_bytes)
        self.max_body_bytes = max_body_bytes
        self._known: dict[tuple[bytes, ...], KnownHead] = {}

    def learn(self, raw: bytes, fields: Fields, target: bytes, route: Route, head: Head) -> KnownHead | None:
        """These bytes turned out to mean this; None where that cannot be told of others like them."""
        if head.length is None or head.expects_continue:
            return None
        cut = _cut(raw, fields)
        if cut is None:
            return None
        chunks, kinds = cut
        known = self._known.get(chunks)
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[chunks] = KnownHead(chunks[0], chunks[1:], kinds, target, route, head)
        return known

    def __len__(self) -> int:
        return len(self._known)


class HeadMemory:
    """The heads that one connection has sent of late. One whose heads are always others soon learns no more."""

    __slots__ = ("_all", "_known", "_may_learn", "_raw")

    def __init__(self, known: KnownHeads) -> None:
        self._all = known
        self._known: tuple[KnownHead, ...] = ()
        self._may_learn = _MOST_LEARNT
        self._raw = b""

    def find(self, data: bytearray, start: int, end: int) -> tuple[KnownHead, Head, int] | None:
        """The known head that stands at `start`, what it says, and where it ends, before `end`."""
        shared = self._all
        end = min(start + shared.longest_bytes, end)
        for known in self._known:
            found = known.read(data, start, end, shared.max_body_bytes)
            if found is not None:
                return known, *found
        return None

    def watch(self, data: bytearray, start: int, end: int) -> None:
        """The parser is given what begins at `start`: keep the head, if it can be learned."""
        self._raw = b""
        # Behind an empty line, which the parser skips, the head would not end here.
        if self._may_learn and start < end and data[start] >= ord("A"):
            until = data.find(b"\r\n\r\n", start, min(start + self._all.longest_bytes, end))
            if until >= 0:
                self._raw = bytes(data[start : until + 4])

    def learn(self, fields: Fields, target: bytes, route: Route, head: Head) -> None:
        """What the parser found in the head that it was given last, of HTTP/1.1 and on a connection that goes on."""
        raw, self._raw = self._raw, b""
        if raw:
            self._may_learn -= 1
            known = self._all.learn(raw, fields, target, route, head)
            if known is not None:
                self._known = (known, *self._known[: _MOST_TRIED - 1])


def _cut(
    raw: bytes, fields: Iterable[tuple[bytes, bytes]]
) -> tuple[tuple[bytes, ...], tuple[int, ...]] | None:
    """The head without the values that vary, and their kinds; None for a head that is not written plainly."""
    request_line, *lines = raw.split(b"\r\n")[:-2]
    chunks, kinds = [request_line], []
    pairs = list(fields)
    if len(lines) != len(pairs):
        return None
    for line, (name, value) in zip(lines, pairs, strict=True):
        kind = _VARYING.get(name.lower())
        if kind is None:
            chunks[-1] += b"\r\n" + line
            continue
        if kind in kinds or line != name + b": " + value or not value or value.translate(None, _PLAIN):
            return None
        kinds.append(kind)
        chunks[-1] += b"\r\n" + name + b": "
        chunks.append(b"")
    chunks[-1] += b"\r\n\r\n"
    return tuple(chunks), tuple(kinds)
