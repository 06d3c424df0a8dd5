"""The image's health check: asks the gateway of this container whether it lives. Exits with 1 when it does not."""

import http.client
import os
import sys
from pathlib import Path

from gateway.settings import Settings, load_settings

_LIMIT_S = 3.0
_ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound


def address(settings: Settings) -> tuple[str, int]:
    """Where health is told: at the ops port of role data, else at the control port."""
    if settings.role == "data":
        host, port = settings.inference.host, settings.inference.ops_port
    else:
        host, port = settings.control.host, settings.control.port
    return _ALL_ADDRESSES.get(host, host), port


def lives(host: str, port: int) -> bool:
    """Whether `/health/live` says 200."""
    connection = http.client.HTTPConnection(host, port, timeout=_LIMIT_S)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    config = os.environ.get("MAAS_CONFIG")
    sys.exit(not lives(*address(load_settings(Path(config) if config else None))))
