"""Mask rules as people write them: what to keep, drop, hash or redact."""

from typing import Any

import click

from gateway.snapshot.document import MaskAction

_DETECTORS = ("email", "phone", "card", "iban", "ip", "national_id")
_PARTS = ("request", "reply")


def rule(action: MaskAction, text: str) -> dict[str, Any]:
    """`TENSOR`, `$.path` or `@DETECTOR`, after `request:` or `reply:` for one part; a tensor with `?` at its end may lack."""
    found: dict[str, Any] = {"action": action}
    rest = text
    for part in _PARTS:
        if text.startswith(f"{part}:"):
            found["part"], rest = part, text.removeprefix(f"{part}:")
    if not rest:
        raise click.BadParameter(f"{text!r} names nothing; write a tensor, a path such as $.text or @email")
    if rest.startswith("$"):
        found["path"] = rest
    elif rest.startswith("@"):
        if rest[1:] not in _DETECTORS:
            raise click.BadParameter(f"{text!r} is no detector; there are @{', @'.join(_DETECTORS)}")
        found["detector"] = rest[1:]
    else:
        found["tensor"] = rest.removesuffix("?")
        if rest.endswith("?"):
            found["optional"] = True
    return found


def written(found: dict[str, Any]) -> str:
    """A rule of the API as the command line takes it."""
    part = f"{found['part']}:" if found.get("part") else ""
    if found.get("detector"):
        return f"{part}@{found['detector']}"
    if found.get("path"):
        return f"{part}{found['path']}"
    return f"{part}{found['tensor']}{'?' if found.get('optional') else ''}"


def told(rules: list[dict[str, Any]]) -> str:
    """All rules in one line, by action."""
    parts = []
    for action in ("keep", "drop", "hash", "redact"):
        named = [written(each) for each in rules if each["action"] == action]
        if named:
            parts.append(f"{action} {', '.join(named)}")
    return "; ".join(parts) or "no rules: numbers are kept, text is not"
