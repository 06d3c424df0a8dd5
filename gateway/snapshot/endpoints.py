"""Which endpoint URLs the gateway will connect to."""

from urllib.parse import urlsplit

from gateway.addresses import host_problem, split_address


def endpoint_problem(url: str) -> str | None:
    """Why `url` cannot be an endpoint, or None: only `http://HOST:PORT`, and never a cloud's metadata service."""
    return _problem(url, "http")


def grpc_problem(url: str) -> str | None:
    """Why `url` cannot be where an endpoint speaks gRPC, or None: only `grpc://HOST:PORT`, by the same rules."""
    return _problem(url, "grpc") or (None if urlsplit(url).port else "has no port; write grpc://HOST:PORT")


def _problem(url: str, scheme: str) -> str | None:
    parts = split_address(url)
    if isinstance(parts, str):
        return parts
    if parts.scheme != scheme:
        return f"has scheme {parts.scheme or 'none'!r}; write {scheme}://HOST:PORT"
    if parts.path not in ("", "/") or "?" in url or "#" in url:
        return f"has a path, query or fragment; write {scheme}://HOST:PORT only"
    return host_problem(parts.hostname or "", "[" in parts.netloc)


def split_endpoint(url: str) -> tuple[str, int]:
    """Host and port of an endpoint URL that has no problem (port 80 where none is written)."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


def grpc_address(url: str, grpc_url: str | None) -> tuple[str, int]:
    """Host and port where the endpoint at `url` speaks gRPC: at `grpc_url`, else on the port behind, as Triton does by default."""
    if grpc_url is not None:
        return split_endpoint(grpc_url)
    host, port = split_endpoint(url)
    return host, port + 1
