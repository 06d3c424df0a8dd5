"""The refusals of the HTTP transport itself; each ends the connection."""

from gateway.errors import GatewayError, Kind


def malformed(error: Exception) -> GatewayError:
    """What arrived is no HTTP/1.1."""
    return GatewayError(Kind.BAD_REQUEST, f"This is no well-formed HTTP/1.1 request: {error}.", close=True)


def head_too_large() -> GatewayError:
    """The head is beyond its limits."""
    return GatewayError(
        Kind.HEADERS_TOO_LARGE, "The request's head is too large or has too many fields.", close=True
    )


def too_slow(part: str) -> GatewayError:
    """The head or the body drips in."""
    return GatewayError(Kind.REQUEST_TIMEOUT, f"The request's {part} arrives too slowly.", close=True)
