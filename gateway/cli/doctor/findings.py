"""What the doctor finds."""

from typing import Literal

import msgspec

Severity = Literal["ok", "warning", "broken"]


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at: how it is, and for all that is not ok what to do about it."""

    severity: Severity
    check: str
    found: str
    todo: str = ""


def ok(check: str, found: str) -> Finding:
    """As it should be."""
    return Finding("ok", check, found)


def warning(check: str, found: str, todo: str) -> Finding:
    """Works, and will not under some load, after some time, or without some other part."""
    return Finding("warning", check, found, todo)


def broken(check: str, found: str, todo: str) -> Finding:
    """Keeps somebody from being served now, or exposes a secret."""
    return Finding("broken", check, found, todo)
