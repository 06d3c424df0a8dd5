"""Problem documents (RFC 9457): how both planes word a `GatewayError` over HTTP."""

import math

import msgspec

from gateway.errors import HTTP_STATUS, GatewayError

CONTENT_TYPE = "application/problem+json"

_MOST_CHARACTERS = 1000
"""Over gRPC the document stands in metadata, of which clients take some kilobytes and refuse a reply with more."""


def problem_document(error: GatewayError, instance: str) -> dict[str, object]:
    """The members `type`, `title`, `status`, `detail`, `instance`, `code`, and `error`, which Triton's clients show.

    An error's own members come behind them. `instance` is the request id's URN, so that a caller's report can be found in the access log.
    """
    status, title = HTTP_STATUS[error.kind]
    document: dict[str, object] = {
        "type": error.type_uri,
        "title": title,
        "status": status,
        "detail": shortened(error.detail),
        "instance": instance,
        "code": error.kind.value,
        "error": shortened(error.detail),
    }
    if error.problems:
        document["problems"] = list(error.problems)
    for name, value in error.members.items():
        document[name] = shortened(value) if isinstance(value, str) else value
    return document


def shortened(words: str) -> str:
    """The words, or as much of them as an error may say."""
    return words if len(words) <= _MOST_CHARACTERS else words[: _MOST_CHARACTERS - 1] + "…"


def problem_body(error: GatewayError, request_id: str) -> tuple[int, bytes]:
    """The HTTP status and the encoded document for `error`."""
    document = problem_document(error, f"urn:maas:request:{request_id}")
    return HTTP_STATUS[error.kind][0], msgspec.json.encode(document)


def retry_after(error: GatewayError) -> str | None:
    """The `Retry-After` value in whole seconds, rounded up and at least 1 (RFC 9110 section 10.2.3)."""
    return None if error.retry_after_s is None else str(max(1, math.ceil(error.retry_after_s)))
