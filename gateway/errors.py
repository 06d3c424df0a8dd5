"""The gateway's one error type.

An error says what went wrong (`Kind`), whose fault it was (`Source`), and when a retry makes sense.
Transports translate it once, at their edge, by the tables in this module (HTTP) or their own (gRPC).
"""

import enum
from collections.abc import Mapping, Sequence


class Kind(enum.Enum):
    """What went wrong. The value is a stable code that appears in problem documents and metrics."""

    BAD_REQUEST = "bad_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    CONFLICT = "conflict"
    GONE = "gone"
    PRECONDITION_FAILED = "precondition_failed"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA = "unsupported_media"
    EXPECTATION_FAILED = "expectation_failed"
    UNPROCESSABLE = "unprocessable"
    PRECONDITION_REQUIRED = "precondition_required"
    QUOTA_EXCEEDED = "quota_exceeded"
    HEADERS_TOO_LARGE = "headers_too_large"
    INTERNAL = "internal"
    NOT_IMPLEMENTED = "not_implemented"
    BAD_GATEWAY = "bad_gateway"
    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"


class Source(enum.Enum):
    """Whose fault an error is; only the gateway's and the upstream's count against objectives."""

    CALLER = "caller"
    GATEWAY = "gateway"
    UPSTREAM = "upstream"


HTTP_STATUS: dict[Kind, tuple[int, str]] = {
    Kind.BAD_REQUEST: (400, "Bad Request"),
    Kind.UNAUTHENTICATED: (401, "Unauthorized"),
    Kind.FORBIDDEN: (403, "Forbidden"),
    Kind.NOT_FOUND: (404, "Not Found"),
    Kind.METHOD_NOT_ALLOWED: (405, "Method Not Allowed"),
    Kind.REQUEST_TIMEOUT: (408, "Request Timeout"),
    Kind.CONFLICT: (409, "Conflict"),
    Kind.GONE: (410, "Gone"),
    Kind.PRECONDITION_FAILED: (412, "Precondition Failed"),
    Kind.TOO_LARGE: (413, "Content Too Large"),
    Kind.UNSUPPORTED_MEDIA: (415, "Unsupported Media Type"),
    Kind.EXPECTATION_FAILED: (417, "Expectation Failed"),
    Kind.UNPROCESSABLE: (422, "Unprocessable Content"),
    Kind.PRECONDITION_REQUIRED: (428, "Precondition Required"),
    Kind.QUOTA_EXCEEDED: (429, "Too Many Requests"),
    Kind.HEADERS_TOO_LARGE: (431, "Request Header Fields Too Large"),
    Kind.INTERNAL: (500, "Internal Server Error"),
    Kind.NOT_IMPLEMENTED: (501, "Not Implemented"),
    Kind.BAD_GATEWAY: (502, "Bad Gateway"),
    Kind.UNAVAILABLE: (503, "Service Unavailable"),
    Kind.DEADLINE: (504, "Gateway Timeout"),
}
"""HTTP status and reason phrase of each kind (RFC 9110 section 15, RFC 6585 for 428, 429 and 431)."""


class GatewayError(Exception):
    """A refusal or failure with everything that a transport needs to answer it.

    `detail` is one sentence for the caller that says what to do next; it never holds a credential or a payload.
    `retry_after_s` is the earliest useful retry, in seconds. `problems` lists every fault of a refused change. `close` ends
    the connection with the answer. `allow` is the method that a path does take (METHOD_NOT_ALLOWED). `type_uri` is the
    problem type where there is one, `members` are what it adds to the problem document. `fields` are header fields that
    the pipeline tells with the answer.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        source: Source = Source.CALLER,
        retry_after_s: float | None = None,
        problems: tuple[str, ...] = (),
        close: bool = False,
        allow: str | None = None,
        type_uri: str = "about:blank",
        members: Mapping[str, object] | None = None,
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.source = source
        self.retry_after_s = retry_after_s
        self.problems = problems
        self.close = close
        self.allow = allow
        self.type_uri = type_uri
        self.members = members or {}
        self.fields = fields

    def let_go(self) -> None:
        """Forget where it was raised and what it came of: those frames hold the request, and what keeps the error would keep
        that, until the garbage collector runs. To be called once it is answered.
        """
        self.with_traceback(None)
        self.__cause__ = self.__context__ = None


def internal_fault() -> GatewayError:
    """What a caller is told of a fault of the gateway's own."""
    return GatewayError(
        Kind.INTERNAL,
        "The gateway failed on this request; its operators find it by the request id.",
        source=Source.GATEWAY,
        close=True,
    )


_MOST_IN_DETAIL = 3
"""A sentence; `problems` has all of them."""


def unprocessable(what: str, problems: Sequence[str]) -> GatewayError:
    """The refusal of a change with every fault found in it; `what` says, without a full stop, what cannot be done."""
    detail = f"{what}: {'; '.join(problems[:_MOST_IN_DETAIL])}"
    return GatewayError(Kind.UNPROCESSABLE, detail, problems=tuple(problems))
