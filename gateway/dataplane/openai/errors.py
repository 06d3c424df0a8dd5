"""How a `GatewayError` is worded on /v1: OpenAI's `{"error": {"message", "type", "code", "param"}}`."""

import msgspec

from gateway.errors import HTTP_STATUS, GatewayError, Kind

_TYPES = {
    Kind.UNAUTHENTICATED: "authentication_error",
    Kind.FORBIDDEN: "permission_error",
    Kind.QUOTA_EXCEEDED: "rate_limit_error",
}
_CODES = {Kind.UNAUTHENTICATED: "invalid_api_key", Kind.QUOTA_EXCEEDED: "rate_limit_exceeded"}


def error_document(error: GatewayError) -> dict[str, object]:
    """The document. `code` is OpenAI's where it has one, else the gateway's own; `param` is the parameter at fault, if one is."""
    server = HTTP_STATUS[error.kind][0] >= 500
    kind = _TYPES.get(error.kind) or ("server_error" if server else "invalid_request_error")
    code = error.members.get("code") or _CODES.get(error.kind, error.kind.value)
    return document(error.detail, kind, code, error.members.get("param"))


def name_the_model(error: GatewayError) -> None:
    """Have a NOT_FOUND about an alias say in OpenAI's words that it is the model that was not found."""
    if error.kind is Kind.NOT_FOUND:
        error.members = {"code": "model_not_found", "param": "model"} | dict(error.members)


def document(message: str, kind: str, code: object, param: object = None) -> dict[str, object]:
    """An error in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


def error_body(error: GatewayError) -> tuple[int, bytes]:
    """The HTTP status and the encoded document."""
    return HTTP_STATUS[error.kind][0], msgspec.json.encode(error_document(error))
