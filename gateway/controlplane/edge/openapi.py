"""Corrects the generated OpenAPI document: refusals are problem documents, whatever route they come from."""

from typing import Any

from gateway.problem import CONTENT_TYPE

PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; `problems` lists every fault of a refused change.",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "urn:maas:request: and the id in X-Request-Id"},
        "code": {"type": "string"},
        "error": {"type": "string"},
        "problems": {"type": "array", "items": {"type": "string"}},
    },
}
_REFUSED = {
    "description": "Refused or failed",
    "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """The document with one description of all refusals, and 201 beside 200 where a PUT may create."""
    document["components"].setdefault("schemas", {})["Problem"] = PROBLEM
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if not isinstance(operation, dict):
                continue
            responses = {
                status: reply for status, reply in operation["responses"].items() if status.startswith("2")
            }
            if method == "put" and path != "/api/v1/policy":
                responses["201"] = responses["200"] | {"description": "Created"}
            operation["responses"] = responses | {"default": _REFUSED}
    return document
