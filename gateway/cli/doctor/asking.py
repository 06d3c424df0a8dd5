"""What the doctor asks of the control plane, beside what it finds itself."""

import os
from typing import Any

from gateway.cli.client import Control
from gateway.cli.output import Refused
from gateway.settings import Settings


def shown(settings: Settings, path: str, members: str) -> list[dict[str, Any]]:
    """The `members` of a document as the MAAS_KEY may see them; none without a key.

    That the control plane does not answer, or refuses the key, is a finding of its own.
    """
    key = os.environ.get("MAAS_KEY", "").strip()
    if not key:
        return []
    try:
        with Control(settings.control_url, key, timeout_s=5.0) as control:
            found: list[dict[str, Any]] = control.get(path)[members]
    except Refused:
        return []
    return found
