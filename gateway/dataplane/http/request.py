"""One request as its reader hands it over."""

import msgspec

from gateway.dataplane.http.body import IncomingBody
from gateway.dataplane.http.head import Head
from gateway.dataplane.http.routes import Route
from gateway.errors import GatewayError


class Request(msgspec.Struct, eq=False):
    """Its head, route and body, or why it was refused while it was read. `target` is the request target as it came."""

    http_11: bool
    keep_alive: bool
    target: bytes
    request_id: str
    refusal: GatewayError | None = None
    route: Route | None = None
    head: Head | None = None
    body: IncomingBody | None = None
