"""Errors as gRPC tells them: a status code, the detail as its message, and the problem document beside it.

The document that an HTTP caller gets as the body (RFC 9457, as JSON) stands in the trailing metadata `maas-problem-bin`: `type`,
`violated-policies`, `successor` and what else there is for programs. google.rpc.Status has no room for it but in an `Any` of
a type of our own, which no client would know.
"""

from base64 import b64encode

from gateway.errors import HTTP_STATUS, GatewayError, Kind
from gateway.problem import problem_body
from gateway.rpc.codes import Status
from gateway.types import Field

PROBLEM = b"maas-problem-bin"

CODES: dict[Kind, Status] = {
    Kind.BAD_REQUEST: Status.INVALID_ARGUMENT,
    Kind.UNAUTHENTICATED: Status.UNAUTHENTICATED,
    Kind.FORBIDDEN: Status.PERMISSION_DENIED,
    Kind.NOT_FOUND: Status.NOT_FOUND,
    Kind.METHOD_NOT_ALLOWED: Status.UNIMPLEMENTED,
    Kind.REQUEST_TIMEOUT: Status.CANCELLED,
    Kind.CONFLICT: Status.ABORTED,
    Kind.GONE: Status.FAILED_PRECONDITION,
    Kind.PRECONDITION_FAILED: Status.ABORTED,
    Kind.TOO_LARGE: Status.RESOURCE_EXHAUSTED,
    Kind.UNSUPPORTED_MEDIA: Status.INVALID_ARGUMENT,
    Kind.EXPECTATION_FAILED: Status.INVALID_ARGUMENT,
    Kind.UNPROCESSABLE: Status.INVALID_ARGUMENT,
    Kind.PRECONDITION_REQUIRED: Status.FAILED_PRECONDITION,
    Kind.QUOTA_EXCEEDED: Status.RESOURCE_EXHAUSTED,
    Kind.HEADERS_TOO_LARGE: Status.RESOURCE_EXHAUSTED,
    Kind.INTERNAL: Status.INTERNAL,
    Kind.NOT_IMPLEMENTED: Status.UNIMPLEMENTED,
    Kind.BAD_GATEWAY: Status.UNAVAILABLE,
    Kind.UNAVAILABLE: Status.UNAVAILABLE,
    Kind.DEADLINE: Status.DEADLINE_EXCEEDED,
}

_FAULTS = {Status.RESOURCE_EXHAUSTED: Kind.TOO_LARGE, Status.DEADLINE_EXCEEDED: Kind.REQUEST_TIMEOUT}

_BY_NUMBER: dict[bytes, Status] = {b"%d" % code: code for code in Status}
_BY_HTTP_STATUS = {HTTP_STATUS[kind][0]: code for kind, code in CODES.items()}


def kind_of_fault(status: Status) -> Kind:
    """What it is in our words that a caller's message has a fault of this status."""
    return _FAULTS.get(status, Kind.BAD_REQUEST)


def code_of_reply(status: int, number: bytes | None) -> Status:
    """The code of a model server's own error: its `grpc-status`, or where it has none what stands for its HTTP status."""
    if number is not None and number in _BY_NUMBER:
        return _BY_NUMBER[number]
    return _BY_HTTP_STATUS.get(status, Status.UNKNOWN)


def problem(error: GatewayError, request_id: str) -> tuple[Field, ...]:
    """The trailing metadata of an error."""
    return ((PROBLEM, b64encode(problem_body(error, request_id)[1])),)
