"""Errors as gRPC tells them: a status code, the detail as its message, and the problem document beside it.

The document that an HTTP caller gets as the body (RFC 9457, as JSON) stands in the trailing metadata `maas-problem-bin`: `type`,
`violated-policies`, `successor` and what else there is for programs. google.rpc.Status has no room for it but in an `Any` of
a type of our own, which no client would know.
"""

import grpc

from gateway.errors import HTTP_STATUS, GatewayError, Kind
from gateway.problem import problem_body

PROBLEM = "maas-problem-bin"

CODES: dict[Kind, grpc.StatusCode] = {
    Kind.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.METHOD_NOT_ALLOWED: grpc.StatusCode.UNIMPLEMENTED,
    Kind.REQUEST_TIMEOUT: grpc.StatusCode.CANCELLED,
    Kind.CONFLICT: grpc.StatusCode.ABORTED,
    Kind.GONE: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.PRECONDITION_FAILED: grpc.StatusCode.ABORTED,
    Kind.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.UNSUPPORTED_MEDIA: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.EXPECTATION_FAILED: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNPROCESSABLE: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.PRECONDITION_REQUIRED: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.QUOTA_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.HEADERS_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.INTERNAL: grpc.StatusCode.INTERNAL,
    Kind.NOT_IMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    Kind.BAD_GATEWAY: grpc.StatusCode.UNAVAILABLE,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Kind.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
}

_BY_NUMBER: dict[bytes, grpc.StatusCode] = {b"%d" % code.value[0]: code for code in grpc.StatusCode}
_BY_HTTP_STATUS = {HTTP_STATUS[kind][0]: code for kind, code in CODES.items()}


def code_of_reply(status: int, number: bytes | None) -> grpc.StatusCode:
    """The code of a model server's own error: its `grpc-status`, or where it has none what stands for its HTTP status."""
    if number is not None and number in _BY_NUMBER:
        return _BY_NUMBER[number]
    return _BY_HTTP_STATUS.get(status, grpc.StatusCode.UNKNOWN)


def problem(error: GatewayError, request_id: str) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata of an error."""
    return ((PROBLEM, problem_body(error, request_id)[1]),)
