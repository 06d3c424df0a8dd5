"""Which operation a request's target names. Paths are matched raw, byte for byte: nothing is decoded or tidied up."""

import re

import msgspec

from gateway.dataplane.resolve import read_version
from gateway.errors import GatewayError, Kind
from gateway.types import NAME_PATTERN, OPERATIONS, Operation

_NAME = re.compile(NAME_PATTERN)

_SERVER_PATHS = {b"/v2": "server", b"/v2/health/live": "live", b"/v2/health/ready": "ready"}
_OPENAI_PATHS = {
    b"/v1/models": "metadata",
    b"/v1/chat/completions": "generate",
    b"/v1/completions": "generate",
    b"/v1/embeddings": "infer",
}
OPENAI = "v1/"
"""What the pages of the OpenAI API begin with."""

_ADMIN = re.compile(
    rb"/v2/(?:repository|systemsharedmemory|cudasharedmemory|logging|trace)(?:/.*)?"
    rb"|/v2/models/[^/]+(?:/versions/[^/]+)?/(?:trace|load|unload|systemsharedmemory|cudasharedmemory)(?:/.*)?",
    re.DOTALL,
)
_REMEMBERED_MOST = 10_000


class Route(msgspec.Struct, frozen=True):
    """An alias's operation, or, where there is a `page`, that: one of the server's own, or of the OpenAI API, whose
    requests name their alias in the body.

    `head_only`: a load balancer asks with HEAD whether the page is there.
    """

    page: str
    operation: Operation
    alias: str
    version: int | None
    head_only: bool = False


class Routes:
    """Finds routes and remembers them, so that a path in use costs one look-up."""

    def __init__(self) -> None:
        self._known: dict[bytes, Route] = {}

    def find(self, path: bytes, method: bytes) -> Route:
        """The route of `path`. Raises BAD_REQUEST, FORBIDDEN, NOT_FOUND or METHOD_NOT_ALLOWED."""
        route = self._known.get(path)
        if route is None:
            route = _parse(path)
            if len(self._known) >= _REMEMBERED_MOST:
                self._known.clear()
            self._known[path] = route
        if route.page and method == b"HEAD" and not route.page.startswith(OPENAI):
            return msgspec.structs.replace(route, head_only=True)
        if route.operation.method != method:
            allow = route.operation.method.decode()
            raise GatewayError(Kind.METHOD_NOT_ALLOWED, f"This path takes {allow} only.", allow=allow)
        return route


def _parse(path: bytes) -> Route:
    if b"%" in path:
        raise GatewayError(Kind.BAD_REQUEST, "The path has a percent escape; no name here needs one.")
    if not path.startswith(b"/"):
        raise GatewayError(Kind.BAD_REQUEST, "The request target must be a path that starts with '/'.")
    page = _SERVER_PATHS.get(path)
    if page is not None:
        return Route(page, OPERATIONS["metadata"], "", None)
    if path in _OPENAI_PATHS:
        return Route(path[1:].decode(), OPERATIONS[_OPENAI_PATHS[path]], "", None)
    if _ADMIN.fullmatch(path):
        raise GatewayError(
            Kind.FORBIDDEN, "The gateway passes on no repository, shared-memory, logging or trace call."
        )
    steps = path.decode("latin-1").split("/")
    if len(steps) == 4 and steps[:3] == ["", "v1", "models"] and _NAME.fullmatch(steps[3]):
        return Route(OPENAI + "model", OPERATIONS["metadata"], steps[3], None)
    if len(steps) < 4 or steps[:3] != ["", "v2", "models"] or not _NAME.fullmatch(steps[3]):
        raise _no_such_path()
    alias, rest = steps[3], steps[4:]
    version = None
    if rest and rest[0] == "versions":
        if len(rest) < 2:
            raise _no_such_path()
        version, rest = read_version(rest[1]), rest[2:]
    operation = OPERATIONS.get(rest[0] if rest else "metadata")
    if operation is None or len(rest) > 1 or rest == ["metadata"]:
        raise _no_such_path()
    return Route("", operation, alias, version)


def _no_such_path() -> GatewayError:
    return GatewayError(
        Kind.NOT_FOUND, "There is no such path; there are /v2, see GET /v2, and /v1, see GET /v1/models."
    )
