"""Binds a port before anybody serves on it."""

import os
import socket
from collections.abc import Sequence
from typing import Any


def bind(host: str, port: int, setting: str) -> list[socket.socket]:
    """Sockets bound to the port (0: a free one) on every address of `host`, not blocking.

    Raises `OSError` that names the `setting`.
    """
    bound: list[socket.socket] = []
    number = port
    try:
        for family, kind, protocol, _, address in _addresses(host, port):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError:
                continue  # a kernel without this family of addresses
            bound.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], number, *address[2:]))
            number = sock.getsockname()[1]
    except OSError as error:
        for sock in bound:
            sock.close()
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise OSError(error.errno, f"{setting} {port} on {host}: {reason}") from error
    return bound


def is_bound(sockets: Sequence[socket.socket], host: str, port: int) -> bool:
    """Whether these sockets, and there are any, are what `bind` makes of host and port (not 0)."""
    if not port:
        return False
    try:
        wanted = {address[:2] for *_, address in _addresses(host, port)}
    except OSError:
        return False
    return bool(sockets) and all(sock.getsockname()[:2] in wanted for sock in sockets)


def _addresses(host: str, port: int) -> list[Any]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys(found))
