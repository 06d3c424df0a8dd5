"""Writes one reply: Triton's own as it comes, with the gateway's declared fields, or a problem document."""

import asyncio
from http import HTTPStatus

from gateway.dataplane.call import Trail
from gateway.dataplane.openai.errors import error_body
from gateway.errors import GatewayError, Kind
from gateway.problem import CONTENT_TYPE, problem_body, retry_after
from gateway.upstream.exchange import Headers, ReplySource
from gateway.upstream.write_through import socket_of, write_through

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
# What the gateway alone says. A server that announces its own end does not announce the alias's.
_OURS = frozenset({b"maas-served-by", b"x-request-id", b"deprecation", b"sunset"})


# Servers repeat themselves: what a head becomes is found without going through its fields again.
_known_heads: dict[tuple[int, Headers], bytes] = {}
_MOST_KNOWN, _LONGEST_KNOWN_BYTES = 256, 2048


def _upstreams_part(status: int, headers: Headers) -> bytes:
    """The status line and those fields that are the upstream's to say."""
    parts = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
    for name, value in headers:
        if name.lower() not in _OURS:
            parts += (name, b": ", value, b"\r\n")
    whole = b"".join(parts)
    if len(whole) <= _LONGEST_KNOWN_BYTES:
        if len(_known_heads) >= _MOST_KNOWN:
            _known_heads.clear()
        _known_heads[status, headers] = whole
    return whole


class Reply:
    """The reply to one request. `close` says that the connection ends with it; `started` that it cannot be replaced."""

    __slots__ = (
        "_chunked",
        "_fd",
        "_transport",
        "close",
        "http_11",
        "request_id",
        "source",
        "started",
        "trail",
    )

    def __init__(self, transport: asyncio.Transport, request_id: str, http_11: bool, close: bool) -> None:
        self._transport = transport
        self.http_11 = http_11
        self._chunked = False
        self._fd = -1
        self.request_id = request_id
        self.close = close or not http_11
        self.started = False
        self.trail: Trail | None = None
        self.source: ReplySource | None = None

    # --- from the upstream ---

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A reply that is complete."""
        parts = self._head(status, headers)
        parts.append(b"Content-Length: %d\r\n\r\n" % len(body))
        parts.append(body)
        self._write(b"".join(parts))

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        """The head of a reply whose body follows."""
        self.source = source
        if length is None and not self.http_11:
            self.close = True
        self._fd = socket_of(self._transport)
        parts = self._head(status, headers)
        if length is not None:
            parts.append(b"Content-Length: %d\r\n\r\n" % length)
        elif self.http_11:
            self._chunked = True
            parts.append(b"Transfer-Encoding: chunked\r\n\r\n")
        else:
            parts.append(b"\r\n")
        self._write(b"".join(parts))

    def reply_data(self, data: bytes | memoryview) -> None:
        """The next bytes of the body; a view is only lent for the call."""
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), bytes(data))
        write_through(self._transport, self._fd, data)

    def reply_end(self) -> None:
        """The reply is complete."""
        if self._chunked:
            self._write(b"0\r\n\r\n")
        self.source = None

    # --- from the gateway ---

    def document(
        self, status: int, body: bytes, content_type: str = "application/json", *, head_only: bool = False
    ) -> None:
        """A reply of the gateway's own; of a HEAD request's only the head."""
        parts = self._head(status, ((b"Content-Type", content_type.encode()),))
        parts.append(b"Content-Length: %d\r\n\r\n" % len(body))
        if not head_only:
            parts.append(body)
        self._write(b"".join(parts))

    def problem(self, error: GatewayError, target: bytes) -> None:
        """Answer with `error`, in the words of the API of the request's `target`; once a reply has started, all that can be
        said is the end of the connection.
        """
        self.close = self.close or error.close
        if self.started:
            self.close = True
            self._transport.abort()
            return
        if target.startswith(b"/v1/") or target.partition(b"?")[0] == b"/v1":
            (status, body), content_type = error_body(error), "application/json"
        else:
            (status, body), content_type = problem_body(error, self.request_id), CONTENT_TYPE
        headers = [(b"Content-Type", content_type.encode())]
        after = retry_after(error)
        if after is not None:
            headers.append((b"Retry-After", after.encode()))
        if error.allow is not None:
            headers.append((b"Allow", error.allow.encode()))
        if error.kind is Kind.UNAUTHENTICATED:
            headers.append((b"WWW-Authenticate", b'Bearer realm="maas"'))
        self.reply_whole(status, tuple(headers), body)

    def _write(self, data: bytes) -> None:
        # The caller may have gone in this very turn of the loop; the transport refuses bytes then.
        if not self._transport.is_closing():
            self._transport.write(data)

    def _head(self, status: int, headers: Headers) -> list[bytes]:
        self.started = True
        parts = [_known_heads.get((status, headers)) or _upstreams_part(status, headers)]
        trail = self.trail
        if trail is not None:
            if trail.target is not None and trail.exchange is not None:
                parts += (b"Maas-Served-By: ", trail.target.served_by, b"\r\n")
            for name, value in trail.fields:
                parts += (name, b": ", value, b"\r\n")
        parts += (b"X-Request-Id: ", self.request_id.encode(), b"\r\n")
        if self.close:
            parts.append(b"Connection: close\r\n")
        return parts
