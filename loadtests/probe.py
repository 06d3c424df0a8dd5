"""Single requests: is a server there, and what does it answer."""

import http.client
import socket
from collections.abc import Mapping

TIMEOUT_S = 30.0
"""For one request; the largest body takes some hundredths of a second on an idle machine."""


def accepts(port: int) -> bool:
    """True if something listens on the port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        return True
    except OSError:
        return False


def answers(port: int, path: str) -> bool:
    """True if GET `path` on the port of 127.0.0.1 gives 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def infers(port: int, path: str, body: bytes, headers: Mapping[str, str]) -> bool:
    """True if a POST to `path` on the port of 127.0.0.1 gives 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        return ask(connection, path, body, headers).status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Answer:
    """Status, lower-case headers and body of one reply."""

    def __init__(self, reply: http.client.HTTPResponse) -> None:
        self.status = reply.status
        self.headers = {name.lower(): value for name, value in reply.getheaders()}
        self.body = reply.read()


def ask(connection: http.client.HTTPConnection, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """One POST on the connection. Head and body leave in two pieces, as http.client sends them."""
    connection.request("POST", path, body=body, headers=dict(headers))
    return Answer(connection.getresponse())
